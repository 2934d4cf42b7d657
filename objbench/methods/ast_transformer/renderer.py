"""The renderer of AST: each object painted in its box, and all of them mixed with the background by strength."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from objbench.methods.ast_transformer.background import norm_and_celu
from objbench.methods.ast_transformer.encoder import Objects
from objbench.methods.parts.spatial_transformer import paste

ALPHA_EPS = 1e-5  # added to every object's alpha


class Picture(NamedTuple):
    """Background and K objects as planes; plane 0 is the background.

    Attributes:
        log_masks: (B,K+1,S,S), logarithms of masks that sum to one.
        layers: (B,K+1,3,S,S), the colours of each plane, 0 outside an object's box.
    """

    log_masks: Tensor
    layers: Tensor

    @property
    def colours(self) -> Tensor:
        """The image (B,3,S,S)."""
        return (self.log_masks.exp()[:, :, None] * self.layers).sum(1)


class Renderer(nn.Module):
    """Objects and a background to a picture.

    A mask is the share of exp(activation) * alpha among those of all objects, and exp(b) for the background.

    Args:
        what: D, the size of an object's look.
        channels: of the layers before the last, from the look to the glimpse: first 2x2 pixels, then twice as many
            with each layer.
        background_activation: b at first.
    """

    def __init__(self, what: int, channels: Sequence[int], background_activation: float) -> None:
        super().__init__()
        self.paint = nn.Sequential()
        for index, width in enumerate(channels):
            before, kernel = (channels[index - 1], 4) if index else (what, 2)
            stride, padding = (2, 1) if index else (1, 0)
            grow = nn.ConvTranspose2d(before, width, kernel, stride, padding, bias=False)
            self.paint.extend([grow, *norm_and_celu(width)])
        self.paint.append(nn.ConvTranspose2d(channels[-1], 4, 4, stride=2, padding=1))
        self.background_activation = nn.Parameter(torch.tensor(background_activation))

    def forward(self, objects: Objects, background: Tensor) -> Picture:
        """The picture of objects on backgrounds (B,3,S,S)."""
        batch, count = objects.activation.shape
        size = (background.shape[2], background.shape[3])
        glimpses = self.paint(objects.what.flatten(0, 1)[:, :, None, None]).float().sigmoid()
        placed = paste(glimpses.unflatten(0, (batch, count)), objects.where, size)
        strength = objects.activation[..., None, None] + (placed[:, :, 3] + ALPHA_EPS).log()
        behind = self.background_activation.expand(batch, 1, *size)
        log_masks = torch.cat([behind, strength], dim=1).log_softmax(1)
        return Picture(log_masks, torch.cat([background[:, None], placed[:, :, :3]], dim=1))
