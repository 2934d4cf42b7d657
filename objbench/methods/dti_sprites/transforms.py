"""Transformations of sprites that DTI-Sprites predicts: of colours, and of places by sampling.

A transformation is a few numbers, all zero at the start, where each but the position is the identity. Images are (N,C,h,w),
the first three channels colours; the others (masks) keep their values. Sampling is bilinear with `align_corners=False`:
-1 and 1 are the outer edges of the outer pixels. Everything is at least in float32.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import grid_sample, relu

from objbench.methods.parts.precision import widened

TransformName = Literal["color", "similarity", "affine", "projective", "position"]
SMALLEST = 1e-8  # of the number by which a projection divides


class Placing(NamedTuple):
    """How the places of a transformation follow from its numbers.

    Attributes:
        numbers: how many it has.
        matrix: the homographies (N,3,3) of numbers (N,*), from places of the output to those of the input.
    """

    numbers: int
    matrix: Callable[[Tensor], Tensor]


def soft_clamp(values: Tensor) -> Tensor:
    """`values` clamped to [0,1], with a slope of 0.01 outside so that gradients do not vanish.

    >>> [round(value, 4) for value in soft_clamp(torch.tensor([-1.0, 0.25, 3.0])).tolist()]
    [-0.01, 0.25, 1.02]
    """
    inside = values.clamp(0, 1)
    return inside + 0.01 * (values - inside)


def numbers_of(name: TransformName) -> int:
    """How many numbers a transformation has."""
    return 6 if name == "color" else PLACINGS[name].numbers


def transform(
    name: TransformName, images: Tensor, numbers: Tensor, size: tuple[int, int], padding: str = "zeros"
) -> Tensor:
    """Transformed images.

    Args:
        name: which transformation.
        images: (N,C,h,w).
        numbers: (N,`numbers_of(name)`).
        size: (H,W) of the result; colours keep the size.
        padding: what is outside of images: "zeros" or "border".

    Returns:
        (N,C,H,W).
    """
    if name == "color":
        return recolor(images, numbers)
    return sample(images, PLACINGS[name].matrix(widened(numbers)), size, padding)


def recolor(images: Tensor, numbers: Tensor) -> Tensor:
    """Each colour c becomes (1 + w) c + b, softly clamped; numbers (N,6) are three w and three b."""
    w, b = widened(numbers)[..., None, None].chunk(2, dim=1)
    colours = soft_clamp((1 + w) * images[:, :3] + b)
    return torch.cat([colours, images[:, 3:]], dim=1)


def sample(images: Tensor, matrices: Tensor, size: tuple[int, int], padding: str = "zeros") -> Tensor:
    """Images (N,C,h,w) at the places that homographies (N,3,3) make of the centres of the pixels of `size`."""
    height, width = size
    y, x = (torch.arange(1, 2 * n, 2, device=matrices.device, dtype=matrices.dtype) / n - 1 for n in size)
    # Products by hand: in a matrix product of TF32 or bfloat16 a coordinate would be off by a part of a pixel.
    across, down = x.expand(height, width), y[:, None].expand(height, width)
    rows = matrices[..., None, None]
    places = [rows[:, i, 0] * across + rows[:, i, 1] * down + rows[:, i, 2] for i in range(3)]
    far = torch.where(places[2].abs() > SMALLEST, places[2], torch.ones_like(places[2]))
    grid = torch.stack([places[0] / far, places[1] / far], dim=-1)
    with torch.autocast(images.device.type, enabled=False):
        return grid_sample(widened(images), grid, mode="bilinear", padding_mode=padding, align_corners=False)


class Regressors(nn.Module):
    """Many perceptrons of the same shape that see the same features, in one product per layer.

    Features -> `hidden` -> `hidden` -> numbers, with ReLU between. The last layers begin at zero, the others as those of
    `nn.Linear`. In bfloat16 the last layer stays float32.

    Args:
        features: F, length of the features.
        hidden: width of the two hidden layers.
        numbers: of each output.
        groups: shape of the group of perceptrons, such as (L,K).
    """

    def __init__(self, features: int, hidden: int, numbers: int, groups: tuple[int, ...]) -> None:
        super().__init__()
        self.groups = groups
        widths = (features, hidden, hidden, numbers)
        self.weights = nn.ParameterList()
        self.biases = nn.ParameterList()
        for before, after in pairwise(widths):
            bound = 1 / math.sqrt(before)
            self.weights.append(torch.empty(*groups, before, after).uniform_(-bound, bound))
            self.biases.append(torch.empty(*groups, after).uniform_(-bound, bound))
        nn.init.zeros_(self.weights[-1])
        nn.init.zeros_(self.biases[-1])

    def forward(self, features: Tensor) -> Tensor:
        """Numbers (B,*groups,numbers) of features (B,F)."""
        first, second, last = (weight.flatten(0, len(self.groups) - 1) for weight in self.weights)
        biases = [bias.flatten(0, len(self.groups) - 1)[:, None] for bias in self.biases]
        seen = relu(torch.einsum("bf,gfh->gbh", features, first) + biases[0])
        seen = relu(torch.einsum("gbf,gfh->gbh", seen, second) + biases[1])
        with torch.autocast(features.device.type, enabled=False):
            numbers = torch.einsum("gbf,gfn->gbn", widened(seen), last) + biases[2]
        return torch.unflatten(numbers.transpose(0, 1), 1, self.groups)


def _position(numbers: Tensor) -> Tensor:
    """(s,tx,ty) -> [[1 + e^s, 0, tx], [0, 1 + e^s, ty]]: at the start, half of the canvas; never all of it."""
    s, tx, ty = numbers.unbind(-1)
    scale, zero = 1 + s.exp(), torch.zeros_like(s)
    return _matrix(scale, zero, tx, zero, scale, ty)


def _similarity(numbers: Tensor) -> Tensor:
    a, b, tx, ty = numbers.unbind(-1)
    return _matrix(1 + a, -b, tx, b, 1 + a, ty)


def _affine(numbers: Tensor) -> Tensor:
    a, b, tx, c, d, ty = numbers.unbind(-1)
    return _matrix(1 + a, b, tx, c, 1 + d, ty)


def _projective(numbers: Tensor) -> Tensor:
    return torch.eye(3, device=numbers.device, dtype=numbers.dtype) + torch.unflatten(numbers, -1, (3, 3))


def _matrix(*rows: Tensor) -> Tensor:
    """The six numbers of the first two rows, and (0,0,1)."""
    zero, one = torch.zeros_like(rows[0]), torch.ones_like(rows[0])
    return torch.unflatten(torch.stack([*rows, zero, zero, one], dim=-1), -1, (3, 3))


PLACINGS = {
    "position": Placing(3, _position),
    "similarity": Placing(4, _similarity),
    "affine": Placing(6, _affine),
    "projective": Placing(9, _projective),
}
