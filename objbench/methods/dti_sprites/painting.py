"""Sprites of DTI-Sprites, transformed and put into the image."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from torch import Tensor

from objbench.methods.dti_sprites.transforms import TransformName, soft_clamp, transform


class Predicted(NamedTuple):
    """What the networks say about images; all float32."""

    sprites: list[tuple[TransformName, Tensor]]  # transformations with numbers (B,L,K,*), in their order
    color: Tensor  # (B,L,6)
    position: Tensor  # (B,L,3)
    hides: Tensor  # (B,L,L)
    background: Tensor  # (B,3,H,W)

    def of_layer(self, layer: int) -> Predicted:
        """What is said about one layer alone, as L = 1; what hides it and the background stay whole."""
        one = slice(layer, layer + 1)
        sprites = [(name, numbers[:, one]) for name, numbers in self.sprites]
        return self._replace(sprites=sprites, color=self.color[:, one], position=self.position[:, one])


def paint(
    sprites: Tensor,
    transforms: Sequence[tuple[TransformName, Tensor]],
    predicted: Predicted,
    noise: Tensor | None,
    size: tuple[int, int],
) -> tuple[Tensor, Tensor]:
    """Sprites, transformed and put into the image.

    Args:
        sprites: (B,L,n,C,s,s): colours, masks (not clamped yet if there is noise), and with noise a plane of ones.
        transforms: of the sprites, in their order, with numbers (B,L,n,*).
        predicted: for color and position, which all sprites of a layer share.
        noise: on the masks, where the sprite is, (...,1,H,W); None for no noise.
        size: (H,W).

    Returns:
        Colours (B,L,n,3,H,W) and masks (B,L,n,1,H,W).
    """
    batch, layers, count, channels, height, width = sprites.shape
    painted = sprites.flatten(0, 2)
    for name, numbers in transforms:
        painted = transform(name, painted, numbers.flatten(0, 2), (height, width))
    shared: list[tuple[TransformName, Tensor]] = [
        ("color", predicted.color),
        ("position", predicted.position),
    ]
    for name, numbers in shared:
        repeated = numbers[:, :, None].expand(-1, -1, count, -1).flatten(0, 2)
        painted = transform(name, painted, repeated, size)
    painted = painted.view(batch, layers, count, channels, *size)
    masks = painted[:, :, :, 3:4]
    if noise is not None:
        masks = soft_clamp(masks + painted[:, :, :, 4:] * noise)
    return painted[:, :, :, :3], masks
