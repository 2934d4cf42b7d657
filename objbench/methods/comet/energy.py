"""COMET's energies: one network says how badly an image fits a latent, and images go down its gradient."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import silu

from objbench.methods.comet.encoder import halving, same_size
from objbench.methods.parts.position import coordinate_grid

FIRST_DEVIATION = 1e-5  # of the weights of each block's second convolution


class ConditionalBlock(nn.Module):
    """A residual block whose two inner convolutions are scaled and shifted channel by channel, as the latent says."""

    def __init__(self, inputs: int, outputs: int, latent: int) -> None:
        super().__init__()
        self.first, self.second = same_size(inputs, inputs), same_size(inputs, inputs)
        self.last = same_size(inputs, outputs)
        self.first_gains, self.second_gains = (nn.Linear(latent, 2 * inputs) for _ in range(2))
        self.pool = halving()
        nn.init.normal_(self.second.weight, std=FIRST_DEVIATION)

    def forward(self, maps: Tensor, latents: Tensor) -> Tensor:
        """Maps (N,C,H,W) and latents (N*S,Z), the S of an image one after another, to maps (N*S,C',H/2,W/2)."""
        repeats = len(latents) // len(maps)
        hidden = self.first(maps)  # does not see the latent: once for all of an image
        if repeats > 1:
            hidden, maps = (each.repeat_interleave(repeats, 0) for each in (hidden, maps))
        hidden = _silu(_modulated(hidden, self.first_gains(latents)))
        hidden = _silu(_modulated(self.second(hidden), self.second_gains(latents)))
        pooled: Tensor = self.pool(_silu(self.last(maps + hidden)))
        return pooled


def _silu(maps: Tensor) -> Tensor:
    """At least in float32: its second derivative, which training needs, is made of sigmoids."""
    return silu(maps.to(torch.promote_types(maps.dtype, torch.float32)))


def _modulated(maps: Tensor, gains: Tensor) -> Tensor:
    """gain * maps + bias, of maps (B,C,H,W) and gains (B,2C): first the C gains, then the C biases."""
    gain, bias = gains[:, :, None, None].chunk(2, dim=1)
    return gain * maps + bias


class Energy(nn.Module):
    """E(x; z) of an image and a latent.

    Args:
        size: (H,W) of the images.
        channels: of the maps; half of them see the image, half the coordinates. The last block doubles them.
        blocks: conditional residual blocks, each of which halves the map.
        latent: Z, dimensions of a latent.
    """

    def __init__(self, size: tuple[int, int], channels: int, blocks: int, latent: int) -> None:
        super().__init__()
        half = channels // 2
        self.look, self.place = same_size(3, half), same_size(2, channels - half)
        self.coordinates: Tensor  # (2,H,W), in [0,1]
        self.register_buffer("coordinates", (coordinate_grid(*size) + 1) / 2, persistent=False)
        self.pool = halving()
        outputs = [channels] * (blocks - 1) + [2 * channels]
        self.blocks = nn.ModuleList(ConditionalBlock(channels, wide, latent) for wide in outputs)
        self.weigh = nn.Linear(2 * channels, 1, bias=False)  # a constant of the energy moves no image

    def forward(self, images: Tensor, latents: Tensor) -> Tensor:
        """The energies (N,S) of images (N,3,H,W), each with S latents (N,S,Z)."""
        place = _silu(self.place(self.coordinates[None])).expand(len(images), -1, -1, -1)
        maps = self.pool(torch.cat([_silu(self.look(images)), place], dim=1))
        for block in self.blocks:
            maps = block(maps, latents.flatten(0, 1))
        energies: Tensor = self.weigh(maps.mean((2, 3)))
        return energies.view(latents.shape[:2])

    def gradient(self, images: Tensor, latents: Tensor, *, learn: bool = False) -> Tensor:
        """The gradient (N,3,H,W) of the sum of each image's energies by the image.

        Gradients are enabled for it whatever the caller has, and an inference mode is left.

        Args:
            images: (N,3,H,W); no gradient flows to them.
            latents: (N,S,Z).
            learn: whether the result can be differentiated by the latents and the network's parameters. If not, no
                graph is left of it.
        """
        with torch.inference_mode(False), torch.enable_grad():
            images = images.detach().clone().requires_grad_()
            if not learn:
                latents = (
                    latents.detach().clone()
                )  # what an inference mode made cannot be kept for a backward pass
            seen = images.view_as(images)  # counters of operations hook what a module sees: it may be no leaf
            total = self(seen, latents).float().sum()
            (gradient,) = torch.autograd.grad(total, images, create_graph=learn)
        return gradient

    def descend(
        self, images: Tensor, latents: Tensor, steps: int, step_size: float, *, learn: bool = False
    ) -> Tensor:
        """Images after some steps down the sum of their energies, each cut to [0,1].

        Args:
            images: (N,3,H,W), the first ones.
            latents: (N,S,Z).
            steps: at least 1.
            step_size: factor of the gradient.
            learn: whether the last step can be differentiated by latents and parameters; those before never can.
        """
        for step in range(steps):
            gradient = self.gradient(images, latents, learn=learn and step == steps - 1)
            images = (images - step_size * gradient).clamp(0, 1)
        return images
