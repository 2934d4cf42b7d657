"""SPACE's foreground: a box for each cell of a grid, with presence, depth and a VAE of what is in it.

Names follow the paper: z_pres, z_scale and z_shift (together z_where), z_depth, z_what.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn

from objbench.methods.parts.compositing import Glimpses, Weighing, canvases, composite, weights
from objbench.methods.parts.conv_stack import Layer, conv_stack
from objbench.methods.parts.gaussian import Gaussian, plain_softplus
from objbench.methods.parts.mixture import gaussian
from objbench.methods.parts.presence import bernoulli_kl, bounded_logits, relaxed_bernoulli
from objbench.methods.parts.spatial_transformer import cell_centres, extract
from objbench.methods.space.layers import Convolutions, Upscalings, convolutions, side_after, upscalings
from objbench.spec.explain import refusal

Size = tuple[int, int]
Noise = Callable[..., Tensor]  # numbers per image -> standard normal numbers (B,*shape)

IMPORTANCE = 100.0
FRAME = 1000 / 1024  # value of the boundary's frame in a present box
OVERLAP_SIGMA = 0.7
WEIGHING = Weighing(softmax=True)
EPS = 1e-9  # added to the size of a box before it divides
HEADS = (1, 4, 4, 2)  # channels: presence, then mean and deviation of scale, shift and depth


class Cells(NamedTuple):
    """What the posterior says of the N cells of each image, row by row; all float32."""

    presence: Tensor  # (B,N), logits
    scale: Gaussian  # (B,N,2), before the sigmoid
    shift: Gaussian  # (B,N,2), before the tanh
    depth: Gaussian  # (B,N,1)


class Objects(NamedTuple):
    """Samples of the N objects of each image, decoded; all float32."""

    presence: Tensor  # (B,N), in [0,1]
    where: Tensor  # (B,N,4), boxes (sx, sy, tx, ty)
    depth: Tensor  # (B,N,1), smaller is nearer
    what: Tensor  # (B,N,Z)
    rgb: Tensor  # (B,N,3,g,g), glimpses in [0,1]
    alpha: Tensor  # (B,N,1,g,g), times presence

    def glimpses(self, summed: Tensor | None = None) -> Glimpses:
        """What the boxes hold; `summed` (B,N,C,g,g) is placed beside it."""
        importance = IMPORTANCE * self.alpha * torch.sigmoid(-self.depth)[..., None, None]
        return Glimpses(self.alpha * self.rgb, self.alpha, importance, summed)


class Picture(NamedTuple):
    """All objects of a batch of images as one picture."""

    colours: Tensor  # (B,3,H,W), weighted by importance, multiplied by alpha
    alpha: Tensor  # (B,1,H,W)
    overlap: Tensor  # (B,1,H,W), of alpha and the frames of boxes


class Planes(NamedTuple):
    """The objects of a batch of images, each in its own plane (B,N,C,H,W)."""

    masks: Tensor  # C = 1, alpha times presence, whatever lies above
    composited: Tensor  # C = 1, times the weight in the picture; they sum to Picture.alpha
    components: Tensor  # C = 3, colours; black outside of the box


class CellEncoder(nn.Module):
    """Images (B,3,H,W) to the posterior of the cells: convolutions, lateral convolutions, one 1x1 head for all latents.

    Args:
        size: (H,W).
        settings: of the convolutions; what they leave of the image is the grid.

    Attributes:
        cells: (rows, columns).
    """

    def __init__(self, size: Size, settings: Convolutions) -> None:
        super().__init__()
        layers = convolutions("model.encoder", settings)
        self.cells = _grid(size, layers)
        width, groups = settings.channels[-1], settings.groups[-1]
        self.encoder = conv_stack(3, layers)
        self.lateral = conv_stack(width, [Layer(width, groups=groups)] * 2)
        self.merge = conv_stack(2 * width, [Layer(width, groups=groups)])
        self.heads = nn.Conv2d(width, sum(HEADS), 1)

    def forward(self, images: Tensor) -> Cells:
        features = self.encoder(images)
        features = self.merge(torch.cat([features, self.lateral(features)], dim=1))
        presence, *latents = self.heads(features).float().flatten(2).mT.split(HEADS, dim=2)
        logits = bounded_logits(presence.squeeze(2))
        return Cells(logits, *(Gaussian.of(raw, plain_softplus) for raw in latents))


class GlimpseVAE(nn.Module):
    """What is in a box: glimpses (...,3,g,g) to z_what (...,Z), and z_what to colours and alpha.

    Args:
        side: g.
        latent: Z.
        encoder: of its convolutions; the last has no padding and leaves one place.
        decoder: from one place to the glimpse.
    """

    def __init__(self, side: int, latent: int, encoder: Convolutions, decoder: Upscalings) -> None:
        super().__init__()
        layers = convolutions("model.glimpse_encoder", encoder)
        layers[-1] = layers[-1]._replace(padding=0)
        if side_after(side, layers) != 1:
            expected = f"layers that leave one place of a glimpse of {side}x{side} (the last has no padding)"
            raise refusal("model.glimpse_encoder", expected, f"{side_after(side, layers)} in a row")
        if math.prod(decoder.upscales) != side:
            expected = f"factors with a product of {side}, the side of a glimpse"
            raise refusal("model.glimpse_decoder.upscales", expected, decoder.upscales)
        self.encoder = conv_stack(3, layers)
        self.posterior = nn.Linear(encoder.channels[-1], 2 * latent)
        painted = [*upscalings("model.glimpse_decoder", decoder), Layer(4)]
        self.decoder = conv_stack(latent, painted, linear_output=True)

    def encode(self, glimpses: Tensor) -> Gaussian:
        """The posterior (B,N,Z) of glimpses (B,N,3,g,g)."""
        features = self.encoder(glimpses.flatten(0, 1)).flatten(1)
        return Gaussian.of(self.posterior(features).unflatten(0, glimpses.shape[:2]), plain_softplus)

    def decode(self, what: Tensor) -> tuple[Tensor, Tensor]:
        """Colours (B,N,3,g,g) and alpha (B,N,1,g,g), in [0,1], of z_what (B,N,Z)."""
        painted = self.decoder(what.flatten(0, 1)[:, :, None, None]).float()
        rgb, alpha = painted.sigmoid().unflatten(0, what.shape[:2]).split([3, 1], dim=2)
        return rgb, alpha


class Foreground(nn.Module):
    """The posterior of the objects, samples of it, the divergence from the priors, and the picture.

    Args:
        size: (H,W) of the images.
        encoder: of the cells.
        vae: of the glimpses.
        glimpse: side of a glimpse.
        frame: width of the frame of a box in the boundary loss, in pixels of a glimpse.
        chunk: boxes whose canvases are in memory at once; None for all.
    """

    def __init__(
        self,
        size: Size,
        encoder: CellEncoder,
        vae: GlimpseVAE,
        *,
        glimpse: int,
        frame: int,
        chunk: int | None,
    ) -> None:
        super().__init__()
        self.size, self.encoder, self.vae, self.glimpse, self.chunk = size, encoder, vae, glimpse, chunk
        self.frame: Tensor  # (1,g,g)
        self.register_buffer("frame", box_frame(glimpse, frame), persistent=False)

    def forward(self, images: Tensor, noise: Noise, temperature: Tensor) -> tuple[Cells, Gaussian, Objects]:
        """The posterior of the cells and of z_what (B,N,Z), and a sample of both, decoded."""
        cells: Cells = self.encoder(images)
        count = cells.presence.shape[1]
        presence = relaxed_bernoulli(cells.presence, noise(count), temperature)
        scale = cells.scale.sample(noise(count, 2)).sigmoid()
        centre = cell_centres(cells.shift.sample(noise(count, 2)).tanh(), self.encoder.cells)
        where, depth = torch.cat([scale, centre], dim=2), cells.depth.sample(noise(count, 1))
        posterior = self.vae.encode(extract(images, where, (self.glimpse, self.glimpse)))
        what = posterior.sample(noise(*posterior.mean.shape[1:]))
        rgb, alpha = self.vae.decode(what)
        alpha = alpha * presence[..., None, None, None]
        return cells, posterior, Objects(presence, where, depth, what, rgb, alpha)

    def picture(self, objects: Objects) -> Picture:
        """The objects mixed by a softmax of their importance."""
        frames = FRAME * objects.presence[..., None, None, None] * self.frame
        mixed = composite(
            objects.glimpses(frames), objects.where, self.size, WEIGHING, eps=EPS, chunk=self.chunk
        )
        return Picture(mixed.colours, mixed.alpha, mixed.summed * mixed.alpha)

    def planes(self, objects: Objects) -> Planes:
        """Each object by itself."""
        placed = canvases(objects.glimpses(objects.rgb), objects.where, self.size, EPS)
        assert placed.summed is not None
        return Planes(placed.alpha, weights(placed.importance, WEIGHING) * placed.alpha, placed.summed)


def divergence(cells: Cells, what: Gaussian, presence: Tensor, size_prior: Gaussian) -> Tensor:
    """KL divergence (B,) of the posterior from the priors, summed over all cells, present or not.

    Args:
        cells: of the cells.
        what: z_what (B,N,Z), whose prior is standard normal, as are those of depth and shift.
        presence: prior probability ().
        size_prior: of the scale before the sigmoid, broadcasting against (B,N,2).
    """
    prior_logits = torch.logit(presence)
    boxes = bernoulli_kl(cells.presence, prior_logits) + cells.scale.kl_to(size_prior)
    inside = cells.shift.kl_to_standard() + cells.depth.kl_to_standard() + what.kl_to_standard()
    return (boxes + inside).sum(1)


def box_frame(side: int, width: int) -> Tensor:
    """(1,side,side): 1 on a frame of `width` pixels, 0 inside."""
    frame = torch.ones(1, side, side)
    frame[:, width : side - width, width : side - width] = 0
    return frame


def boundary_loss(overlap: Tensor) -> Tensor:
    """The loss (B,) of alpha that lies on the frames of boxes, (B,1,H,W): large objects shall not be split."""
    return -gaussian(torch.zeros_like(overlap), overlap, OVERLAP_SIGMA, normalised=True).flatten(1).sum(1)


def _grid(size: Size, layers: list[Layer]) -> Size:
    """(rows, columns) of the cells; refuses layers that do not halve the image evenly."""
    factor = math.prod(layer.stride for layer in layers)
    rows, columns = (side_after(side, layers) for side in size)
    if (rows * factor, columns * factor) != size:
        expected = (
            f"layers that divide {size[0]}x{size[1]} pixels evenly into cells (an even kernel needs a stride)"
        )
        raise refusal("model.encoder", expected, f"{rows}x{columns} cells with strides of {factor} together")
    return rows, columns
