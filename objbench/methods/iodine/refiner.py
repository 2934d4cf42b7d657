"""IODINE's explanation of images, and the network that refines it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import adaptive_avg_pool2d

from objbench.methods.iodine.leave_one_out import slot_differences
from objbench.methods.parts.iterative_inference import DetachedNorm, Gradients
from objbench.methods.parts.mixture import HALF_LOG_TWO_PI, gaussian, logistic

Memory = tuple[Tensor, Tensor] | None  # of an LSTM; None before the first update
NO_SLOT = 1e-6  # density of a pixel that belongs to no slot, where shares in it are counted


@dataclass(frozen=True)
class Likelihood:
    """log p(x | slots), up to a constant: the density of a component, and where the components are mixed.

    Attributes:
        distribution: logistic or gaussian.
        scale: width of the distribution, in image units.
        mixing: pixel, one mixture for the three channels together, or channel, one for each.
    """

    distribution: str
    scale: float
    mixing: str

    def densities(self, images: Tensor, means: Tensor) -> Tensor:
        """Log-densities (B,K,C,H,W) of the components: C is 1 where whole pixels are mixed, else 3."""
        if self.distribution == "logistic":
            found = logistic(images[:, None], means, self.scale)
        else:
            found = gaussian(images[:, None], means, self.scale, normalised=False)
        return found.sum(2, keepdim=True) if self.mixing == "pixel" else found

    def shares(self, densities: Tensor) -> Tensor:
        """Share (B,K,1,H,W) of each slot in a pixel, masks left aside: p_k / (sum_j p_j + 1e-6), 0 where none fits.

        Args:
            densities: log-densities (B,K,C,H,W), as `densities` gives them.
        """
        pixels = densities.sum(2, keepdim=True)
        if self.distribution == "gaussian":
            pixels = pixels - 3 * HALF_LOG_TWO_PI
        total = pixels.logsumexp(1, keepdim=True)
        return (pixels - torch.logaddexp(total, torch.full_like(total, math.log(NO_SLOT)))).exp()


class Explanation(NamedTuple):
    """What latents decode to, and how well it explains the images: an Attempt of `iterative_inference`."""

    latents: Tensor  # (B,K,2Z): means and unconstrained variances
    components: Tensor  # (B,K,3,H,W)
    logits: Tensor  # (B,K,1,H,W) of the masks
    log_masks: Tensor  # (B,K,1,H,W)
    varied: Tensor  # (B,K,1,H,W), logits or log_masks: the refiner sees the gradient by these
    densities: Tensor  # (B,K,C,H,W), of the pixels in each component
    likelihood: Tensor  # (B,1,H,W), log, of each pixel times the pixels of the image that it stands for
    divergence: Tensor  # (B,), KL of the latents

    @property
    def error(self) -> Tensor:
        """Negative log-likelihood (B,) of the images."""
        return -self.likelihood.flatten(1).sum(1)

    @property
    def loss(self) -> Tensor:
        """The negative evidence lower bound (B,)."""
        return self.error + self.divergence

    @property
    def watched(self) -> tuple[Tensor, Tensor, Tensor]:
        """The refiner sees the gradients with respect to latents, components and masks."""
        return self.latents, self.components, self.varied


class ChannelNorm(DetachedNorm):
    """`DetachedNorm` over all of (C,H,W) with one scale and shift per channel, as Sonnet has it."""

    def __init__(self, shape: tuple[int, int, int]) -> None:
        super().__init__(shape, elementwise_affine=False)
        self.scale = nn.Parameter(torch.ones(shape[0], 1, 1))
        self.shift = nn.Parameter(torch.zeros(shape[0], 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        """The normalised x (...,C,H,W)."""
        return super().forward(x) * self.scale + self.shift


class Refiner(nn.Module):
    """The network that changes the latents of an explanation, slot by slot."""

    def __init__(
        self,
        latent: int,
        coordinates: Tensor,
        channels: list[int],
        kernel: int,
        hidden: list[int],
        memory: int,
        likelihood: Likelihood,
        *,
        elu_last: bool,
        logarithms: bool,
        per_element: bool,
    ) -> None:
        super().__init__()
        self.likelihood, self.logarithms = likelihood, logarithms
        self.coordinates: Tensor  # (P,H,W)
        self.register_buffer("coordinates", coordinates, persistent=False)
        height, width = coordinates.shape[1:]
        norm = DetachedNorm if per_element else ChannelNorm
        self.latent_norm = DetachedNorm(2 * latent)
        self.component_norm = norm((3, height, width))
        self.mask_norm, self.likelihood_norm, self.difference_norm = (
            norm((1, height, width)) for _ in range(3)
        )
        self.convolutions = nn.Sequential()
        width = 15 + len(coordinates)
        for outputs in channels:
            self.convolutions.append(nn.Conv2d(width, outputs, kernel, stride=2, padding=kernel // 2))
            self.convolutions.append(nn.ELU())
            width = outputs
        self.mlp = nn.Sequential()
        for layer, outputs in enumerate(hidden, start=1):
            self.mlp.append(nn.Linear(width, outputs))
            if elu_last or layer < len(hidden):
                self.mlp.append(nn.ELU())
            width = outputs
        width += 4 * latent
        self.lstm = nn.LSTMCell(width, memory) if memory else None
        self.change = nn.Linear(memory or width, 2 * latent)

    def forward(
        self, images: Tensor, found: Explanation, gradients: Gradients, memory: Memory
    ) -> tuple[Tensor, Memory]:
        """The next latents (B,K,2Z) of images (B,3,H,W), and the two states (B*K,D) of the LSTM."""
        latents = found.latents
        maps = torch.cat(self._maps(images, found, gradients), dim=2)
        pooled = adaptive_avg_pool2d(self.convolutions(maps.flatten(0, 1)), 1).flatten(1)
        flat = torch.cat((latents, self.latent_norm(gradients[0])), dim=2).flatten(0, 1)
        features = torch.cat((self.mlp(pooled), flat), dim=1)
        if self.lstm is not None:
            with torch.autocast(features.device.type, enabled=False):
                memory = self.lstm(features.float(), memory)
            features = memory[0]
        change: Tensor = self.change(features)
        return latents + change.view_as(latents), memory

    def _maps(self, images: Tensor, found: Explanation, gradients: Gradients) -> list[Tensor]:
        """The inputs of the refiner that are maps, (B,K,*,H,W) each."""
        slots = found.logits.shape[1]
        difference = slot_differences(found.densities, found.log_masks)

        def of_all(shared: Tensor) -> Tensor:  # (B or nothing,C,H,W): the same for all slots of an image
            return shared.expand(len(images), *shared.shape[-3:])[:, None].expand(-1, slots, -1, -1, -1)

        if self.logarithms:
            masks, shares = found.log_masks, found.densities.sum(2, keepdim=True).log_softmax(1)
        else:
            masks, shares = found.log_masks.exp(), self.likelihood.shares(found.densities)
        return [
            of_all(images),
            found.components,
            found.logits,
            masks,
            shares,
            self.component_norm(gradients[1]),
            self.mask_norm(gradients[2]),
            of_all(self.likelihood_norm(found.likelihood)),
            self.difference_norm(difference),
            of_all(self.coordinates),
        ]
