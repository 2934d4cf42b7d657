"""The number of floating-point operations of objmae: two per multiplication in matrix products and attentions."""

from __future__ import annotations

from objmae.model import CHANNELS, Autoencoder


def forward_flops(model: Autoencoder, kept: int) -> int:
    """Operations of the forward pass for one image of which the encoder sees `kept` patches.

    Equal to the count of torch.utils.flop_counter; neither has norms, softmaxes and losses, which are some percent
    more.
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
    """Operations of forward and backward pass for one image: each product has two products in its gradient."""
    return 3 * forward_flops(model, kept)


def _block(tokens: int, width: int, mlp_ratio: int) -> int:
    """Multiplications of a transformer layer: four projections, the MLP, the attention scores and weighted means."""
    return tokens * (4 + 2 * mlp_ratio) * width**2 + 2 * tokens**2 * width
