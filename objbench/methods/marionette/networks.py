"""The networks of MarioNette: encoders of partial convolutions, dictionaries of pictures, and the choice from them."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn.functional import layer_norm

from objbench.methods.marionette.partial_conv import PartialConv
from objbench.methods.parts.precision import widened

GROUPS = 8  # of every group norm
WIDENING = 8  # of a dictionary's decoder


class Encoder(nn.Module):
    """Square maps (B,C,H,H) -> codes (B,heads,h,h,D), float32: blocks that halve the size, then convolutions side by side.

    Args:
        inputs: C.
        side: H.
        width: D, a multiple of 8.
        smallest: h; it has to be reached by halving H, rounded up.
        heads: convolutions after the last block.

    A code is normalised over its dimensions, without weights.
    """

    def __init__(self, inputs: int, side: int, width: int, *, smallest: int, heads: int = 1) -> None:
        super().__init__()
        self.blocks = nn.Sequential()
        while side > smallest:
            for channels, stride in ((inputs, 1), (width, 2)):
                self.blocks.append(PartialConv(channels, width, (side, side), stride))
                self.blocks.append(nn.GroupNorm(GROUPS, width))
                self.blocks.append(nn.LeakyReLU())
            inputs, side = width, -(-side // 2)
        self.heads = nn.ModuleList(PartialConv(width, width, (side, side)) for _ in range(heads))

    def forward(self, images: Tensor) -> Tensor:
        """(B,C,H,H) -> (B,heads,h,h,D)."""
        maps = self.blocks(images)
        codes = torch.stack([head(maps) for head in self.heads], dim=1)
        return normalised(codes.movedim(2, -1))


class Dictionary(nn.Module):
    """Pictures that are decoded from learned codes.

    Args:
        entries: N, pictures.
        width: D, dimensions of a code.
        shape: (C,h,w) of a picture.
    """

    def __init__(self, entries: int, width: int, shape: tuple[int, int, int]) -> None:
        super().__init__()
        self.shape = shape
        self.latents = nn.Parameter(torch.randn(entries, width))
        wide = WIDENING * width
        self.decoder = nn.Sequential(
            *(nn.Linear(width, wide), nn.GroupNorm(GROUPS, wide), nn.ReLU()),
            nn.Linear(wide, math.prod(shape)),
        )

    def codes(self) -> Tensor:
        """(N,D), float32."""
        return normalised(self.latents)

    def pictures(self) -> Tensor:
        """(N,C,h,w), float32 in [0,1]."""
        return torch.unflatten(self.decoder(self.codes()).float().sigmoid(), 1, self.shape)

    def mixed(self, weights: Tensor) -> Tensor:
        """Sums of the pictures (...,C,h,w), with weights (...,N)."""
        pictures = self.pictures().flatten(1)
        with torch.autocast(weights.device.type, enabled=False):
            return torch.unflatten(weights @ pictures, -1, self.shape)


class Choice(nn.Module):
    """How much each picture of a dictionary is meant by a code: weights that sum to one."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.project = nn.Linear(width, width)

    def forward(self, codes: Tensor, entries: Tensor) -> Tensor:
        """Codes (...,D) and the codes (N,D) of a dictionary -> (...,N), float32; there is no temperature."""
        queries = normalised(self.project(codes))
        with torch.autocast(codes.device.type, enabled=False):
            return (queries @ entries.mT / math.sqrt(entries.shape[1])).softmax(-1)


class Head(nn.Module):
    """Codes (N,D) -> (N,outputs), float32."""

    def __init__(self, width: int, outputs: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            *(nn.Linear(width, width), nn.GroupNorm(GROUPS, width), nn.LeakyReLU()),
            nn.Linear(width, outputs),
        )

    def forward(self, codes: Tensor) -> Tensor:
        """(N,D) -> (N,outputs)."""
        found: Tensor = self.layers(codes)
        return found.float()


def normalised(codes: Tensor) -> Tensor:
    """Codes (...,D) of mean 0 and variance 1 over D, at least in float32."""
    codes = widened(codes)
    return layer_norm(codes, codes.shape[-1:])
