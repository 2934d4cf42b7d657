"""How many floating-point operations objmae does: two per multiplication of its matrix products and attentions."""

from __future__ import annotations

from objmae.model import CHANNELS, Autoencoder


def forward_flops(model: Autoencoder, kept: int) -> int:
    """Of the forward pass for one image of which the encoder sees `kept` patches.

    Equal to what torch.utils.flop_counter counts; norms, softmaxes and the losses, some percent more, are in neither.
    """
    c, n, N, K = model.settings, kept, model.patches, model.slots
    D, d = c.width, c.decoder_width
    pixels = c.patch**2
    multiplications = (
        n * pixels * CHANNELS * D
        + c.depth * _block(K + n, D, c.mlp_ratio)
        + 2 * n * K * D  # scores and means of the object function
        + K * D * d  # its slots for the decoder; their log-attention enters as a multiple of one vector
        + c.decoder_depth * K * _block(N, d, c.mlp_ratio)
        + K * N * d * pixels * (CHANNELS + 1)
    )
    return 2 * multiplications


def training_flops(model: Autoencoder, kept: int) -> int:
    """Of the forward and the backward pass for one image: a gradient takes two products where its value took one."""
    return 3 * forward_flops(model, kept)


def _block(tokens: int, width: int, mlp_ratio: int) -> int:
    """Multiplications of a transformer layer: four projections' worth, the MLP, scores and their weighted means."""
    return tokens * (4 + 2 * mlp_ratio) * width**2 + 2 * tokens**2 * width
