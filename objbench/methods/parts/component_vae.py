"""The VAE of components that GENESIS has, and SPACE's background: of what each mask shows, with a prior from its latent.

Engelcke et al., "GENESIS: Generative Scene Inference and Sampling with Object-Centric Latent Representations", ICLR 2020.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from objbench.methods.parts.broadcast import Conv, SpatialBroadcastDecoder
from objbench.methods.parts.gaussian import Gaussian
from objbench.methods.parts.halvings import halvings, places
from objbench.methods.parts.perceptron import perceptron
from objbench.methods.parts.position import coordinate_grid

Law = Callable[[Tensor], Gaussian]  # outputs (...,2Z) of a network -> the law (...,Z)


class ComponentVAE(nn.Module):
    """q(z|x,m_k), p(z|z of the mask) and p(x|z) of the components, shared by all slots.

    Args:
        size: (H,W) of the images.
        mask_latent: dimensions of the latent of a mask.
        latent: Z.
        encoder_channels: of the encoder, one per 3x3 convolution of stride 2.
        encoder_hidden: widths of its hidden layers after the convolutions.
        prior_hidden: width of both hidden layers of the prior.
        decoder_channels: of the broadcast decoder, one per 3x3 convolution before the last, which is 1x1.
        posterior: the law that the encoder's outputs stand for.
        prior: the law that the prior's outputs stand for.
        norm: of the convolutions, from their number of channels; None for no norm.
    """

    def __init__(
        self,
        size: tuple[int, int],
        mask_latent: int,
        latent: int,
        *,
        encoder_channels: Sequence[int],
        encoder_hidden: Sequence[int],
        prior_hidden: int,
        decoder_channels: Sequence[int],
        posterior: Law,
        prior: Law,
        norm: Callable[[int], nn.Module] | None = None,
    ) -> None:
        super().__init__()
        self.posterior_law, self.prior_law = posterior, prior
        flat = places(size, len(encoder_channels)) * encoder_channels[-1]
        self.encoder = nn.Sequential(
            *halvings(4, encoder_channels, nn.ELU, norm),
            *perceptron(flat, *encoder_hidden, 2 * latent, activation=nn.ELU),
        )
        self.prior = perceptron(mask_latent, prior_hidden, prior_hidden, 2 * latent, activation=nn.ELU)
        valid = [Conv(channels, 3, padding=0) for channels in decoder_channels]
        self.decoder = SpatialBroadcastDecoder(
            latent, size, [*valid, Conv(3, 1)], planes=coordinate_grid, activation=nn.ELU, norm=norm
        )

    def encode(self, images: Tensor, log_masks: Tensor) -> Gaussian:
        """The posterior (B,K,Z) of images (B,3,H,W), each seen beside one of its log-masks (B,K,1,H,W)."""
        repeated = images[:, None].expand(-1, log_masks.shape[1], -1, -1, -1)
        raw = self.encoder(torch.cat([log_masks, repeated], dim=2).flatten(0, 1))
        return self.posterior_law(raw.unflatten(0, log_masks.shape[:2]))

    def prior_of(self, mask_latents: Tensor) -> Gaussian:
        """The prior (B,K,Z) given the latents of the masks."""
        return self.prior_law(self.prior(mask_latents))

    def decode(self, latents: Tensor) -> Tensor:
        """Components (B,K,3,H,W) in [0,1] of latents (B,K,Z)."""
        painted: Tensor = self.decoder(latents.flatten(0, 1)).float().sigmoid()
        return torch.unflatten(painted, 0, latents.shape[:2])
