"""What GNM's latents look like: the objects' glimpses, the background, and the picture that they make together."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from objbench.methods.parts.box_segmentation import BoxPlanes
from objbench.methods.parts.compositing import Glimpses, Weighing, canvases, composite, weights
from objbench.methods.parts.conv_stack import Layer, conv_stack
from objbench.methods.parts.spatial_transformer import paste

EPS = 1e-15
WEIGHING = Weighing(eps=EPS)
FORCED_ALPHA = 0.9


class Scene(NamedTuple):
    """Samples of the latents of N objects and of the background, decoded; all float32."""

    presence: Tensor  # (B,N), in [0,1]
    where: Tensor  # (B,N,4), boxes (sx, sy, tx, ty)
    depth: Tensor  # (B,N,1), smaller is nearer
    what: Tensor  # (B,N,Z)
    rgb: Tensor  # (B,N,3,g,g), glimpses in [0,1]
    alpha: Tensor  # (B,N,1,g,g), times presence
    background: Tensor  # (B,3,H,W), in [0,1]

    @property
    def glimpses(self) -> Glimpses:
        """What the boxes hold. Importance is alpha times sigmoid(-depth)."""
        importance = self.alpha * (-self.depth).sigmoid()[..., None, None]
        return Glimpses(self.alpha * self.rgb, self.alpha, importance, summed=self.alpha)

    def render(self, forced: Tensor) -> Tensor:
        """The image (B,3,H,W): objects mixed by importance, over as much background as the sum of their alphas leaves.

        `forced`, bool (): a tenth of the background is left everywhere, whatever the objects.
        """
        objects = composite(self.glimpses, self.where, _size(self.background), WEIGHING, eps=EPS)
        alpha = torch.where(forced, FORCED_ALPHA, straight_clamp(objects.summed))
        return objects.colours + (1 - alpha) * self.background

    def planes(self) -> BoxPlanes:
        """The scene as one plane for the background and one for each object; its picture is that of `render`."""
        size = _size(self.background)
        placed = canvases(self.glimpses, self.where, size, EPS)
        total = placed.alpha.sum(1, keepdim=True)
        share, left = weights(placed.importance, WEIGHING), 1 - straight_clamp(total)
        background = self.background[:, None]
        components = paste(self.rgb, self.where, size, EPS)
        return BoxPlanes(
            masks=torch.cat([1 - total, placed.alpha], dim=1),
            composited=torch.cat([left, share * placed.alpha], dim=1),
            components=torch.cat([background, components], dim=1),
            picture=(share * placed.colours).sum(1, keepdim=True) + left * background,
        )


class Painter(nn.Module):
    """The decoders of objects and of the background.

    Args:
        what: Z, dimensions of the look of an object.
        glimpse_channels: of its decoder, one per doubling but the last, which gives RGB and alpha.
        background: dimensions of the background.
        background_layers: (channels, upscale) of its decoder, before a last 3x3 convolution to RGB.
    """

    def __init__(
        self,
        what: int,
        glimpse_channels: Sequence[int],
        background: int,
        background_layers: Sequence[tuple[int, int]],
    ) -> None:
        super().__init__()
        doublings = [Layer(width, upscale=2) for width in (*glimpse_channels, 4)]
        self.glimpse = conv_stack(what, doublings, linear_output=True)
        upscalings = [Layer(width, kernel=1, upscale=upscale) for width, upscale in background_layers]
        self.background = conv_stack(background, [*upscalings, Layer(3)], linear_output=True)

    def forward(
        self, presence: Tensor, where: Tensor, depth: Tensor, what: Tensor, background: Tensor
    ) -> Scene:
        """The scene of samples of the latents; background (B,Z')."""
        painted = self.glimpse(what.flatten(0, 1)[:, :, None, None]).float()
        rgb, alpha = painted.unflatten(0, what.shape[:2]).sigmoid().split([3, 1], dim=2)
        canvas = self.background(background[:, :, None, None]).float().sigmoid()
        return Scene(presence, where, depth, what, rgb, alpha * presence[..., None, None, None], canvas)


def straight_clamp(alpha: Tensor) -> Tensor:
    """`alpha` within [0,1], to 1e-15 where float32 has that; gradients ignore the bounds."""
    return alpha + (alpha.clamp(EPS, 1 - EPS) - alpha).detach()


def _size(images: Tensor) -> tuple[int, int]:
    return images.shape[-2], images.shape[-1]
