"""SPACE (Lin et al., ICLR 2020): boxes on a grid of cells for small objects, a mixture of components for the rest.

Each cell of a grid has an object, maybe present, with a box, a depth and a VAE of the glimpse in the box; a softmax of
importance mixes the boxes at each pixel. The background is a small GENESIS. The image is a mixture of the two, and alpha
on the frames of boxes is punished for a while, so that no object is split among cells.

The default has the settings that the object-centric library tuned for each dataset, `clevrtex` those behind the published
row of the ClevrTex benchmark. Choices and deviations; values are in benchmarks.yaml:
- Nothing but the reference description was at hand. Where it is silent: the prior of the first mask is read off the
  learned first state of its LSTM; deviations of the foreground are softplus plus 1e-5 (of plain softplus the square can
  become 0 in float32); the mask of the last component, which stick-breaking does not need, is not decoded; the 1x1
  convolution that begins the decoders of glimpses and masks counts as one of the published layers.
- The likelihood is a mixture of foreground and background, so the reconstruction is the mean of this mixture. The
  colours of the foreground are already multiplied by alpha there, as published, and are darker for it at edges.
- Tetrominoes lie on a black canvas of 40x40, which loses nothing, and has cells of 8x8 pixels as the library's images
  that are cropped to 32x32 do; everything is cropped to 35x35 before it is scored. The likelihood counts the canvas.
- The curricula count steps of `curriculum.nominal_steps`; a shorter training goes through all of them faster. Without
  progress `segment` uses their last values.
- Presence has logistic noise made of normal numbers, see `parts.presence`; its divergence works on logits, which needs
  no epsilon.
- The form for one background component, with a strong decoder, and the option that holds alpha fixed at first, which is
  off in the published recipes for 3D scenes, are left out.
- With `model.background.start: median` the components of the background begin with the median colour of the training
  images, not with grey: on black, boxes otherwise became the black around what should be found (`demo` has it).
- With `model.resolution` it works on smaller images: its input is the means of rectangles, its output is enlarged
  again (the variant `demo`).
- `segment` samples all latents, as the benchmark does: presence is soft at test time too (in `clevrtex` at temperature
  2.5, which leaves even empty cells some presence). Its masks are the benchmark's: alpha times presence of each cell,
  boxes that overlap do not hide each other, and before them the background as one plane, 1 - sum, which is negative
  where they overlap. The masks `composited` are the weights of the colours in the foreground, alpha times the softmax
  of importance, beside what they leave to the background; they sum to one.
"""

from __future__ import annotations

import math
from functools import partial

import torch
from pydantic import Field
from torch import Tensor
from torch.optim import Adam, Optimizer, RMSprop

from objbench.methods.base import LearningRate, Losses, Method, Progress, Segmentation, Stage
from objbench.methods.parts.background_start import begin_background
from objbench.methods.parts.box_segmentation import BoxPlanes, box_segmentation
from objbench.methods.parts.canvas import Canvas, CanvasSide
from objbench.methods.parts.curriculum import Clock, Ramp
from objbench.methods.parts.gaussian import Gaussian
from objbench.methods.parts.mixture import gaussian, mix
from objbench.methods.parts.resolution import Resolution, Side
from objbench.methods.space.background import Backdrop, Background, BackgroundModel
from objbench.methods.space.foreground import (
    CellEncoder,
    Foreground,
    GlimpseVAE,
    Picture,
    boundary_loss,
    divergence,
)
from objbench.methods.space.layers import Convolutions, Upscalings
from objbench.spec.settings import Count, Group, Positive, PositiveOrZero

ALPHA_EPS = 1e-5


class Model(Group):
    """The networks of foreground and background."""

    resolution: Side
    canvas: CanvasSide
    encoder: Convolutions
    what: Count = Field(description="dimensions of the look of an object")
    glimpse: Count = Field(description="side of a glimpse, in pixels")
    glimpse_encoder: Convolutions
    glimpse_decoder: Upscalings
    background: BackgroundModel
    chunk: Count | None = Field(
        description="boxes whose canvases are in memory at once, in both passes; null: all, which is faster; changes no result"
    )


class Loss(Group):
    """The likelihood, the prior of a box's size, and the boundary loss."""

    foreground_sigma: Positive = Field(description="standard deviation of a pixel of the foreground")
    background_sigma: Positive = Field(description="standard deviation of a pixel of the background")
    size_deviation: Positive = Field(
        description="prior standard deviation of a box's size, before a sigmoid makes it a part of the image's side"
    )
    frame: Count = Field(
        description="width of the frame of a box on which alpha is punished, in pixels of a glimpse"
    )


class Curriculum(Group):
    """What changes during the training, in steps of a training of `nominal_steps`."""

    nominal_steps: Count = Field(description="length of the training whose steps the curriculum counts")
    presence: Ramp
    size: Ramp
    temperature: Ramp
    boundary_steps: Count | None = Field(
        description="so many steps alpha on the frames of boxes is punished; null: throughout"
    )


class Optimization(Group):
    """RMSprop for the foreground, Adam for the background; their gradients are clipped together."""

    foreground_rate: PositiveOrZero = Field(description="learning rate of RMSprop")
    background_rate: PositiveOrZero = Field(description="learning rate of Adam")


class SPACE(Method):
    """Spatially Parallel Attention and Component Extraction."""

    class Settings(Method.Settings):
        """The keys of its block in benchmarks.yaml."""

        model: Model
        loss: Loss
        curriculum: Curriculum
        optimizer: Optimization

    settings: Settings

    def __init__(self, image_shape: tuple[int, int, int], slots: int, settings: Settings) -> None:
        super().__init__(image_shape, slots, settings)
        model = settings.model
        self.resolution = Resolution(image_shape, model.resolution)
        self.canvas = Canvas(self.resolution.size, model.canvas)
        size = self.canvas.size
        self.foreground = Foreground(
            size,
            CellEncoder(size, model.encoder),
            GlimpseVAE(model.glimpse, model.what, model.glimpse_encoder, model.glimpse_decoder),
            glimpse=model.glimpse,
            frame=settings.loss.frame,
            chunk=model.chunk,
        )
        self.background = Background(size, model.background)
        self.clock = Clock(settings.curriculum.nominal_steps)

    def setup(self, images: Tensor, stage: Stage) -> None:
        """Begin the curriculum, and the components of the background with their first colour."""
        self.clock.restart()
        model = self.settings.model.background
        begin_background(self.background.vae.decoder.layers[-1], images, model.start)

    def optimizers(self, stage: Stage) -> list[tuple[Optimizer, LearningRate]]:
        """RMSprop and Adam, both at a constant rate."""
        rates = self.settings.optimizer
        return [
            (RMSprop(self.foreground.parameters(), rates.foreground_rate), lambda _: rates.foreground_rate),
            (Adam(self.background.parameters(), rates.background_rate), lambda _: rates.background_rate),
        ]

    def capture_key(self, progress: Progress) -> tuple[()]:
        """Every step does the same work; the curriculum is in tensors."""
        return ()

    def training_loss(self, images: Tensor, progress: Progress) -> Losses:
        """Negative log-likelihood, both divergences, and the boundary loss: per image, then their mean."""
        images = self.canvas.put(self.resolution.downsample(images))
        step, curriculum = self.clock.step, self.settings.curriculum
        cells, what, objects = self.foreground(
            images, partial(self.normal, images), curriculum.temperature.at(step)
        )
        picture, backdrop = self.foreground.picture(objects), self._backdrop(images)
        size = curriculum.size.at(step)
        size_prior = Gaussian(size, torch.full_like(size, self.settings.loss.size_deviation))
        punished = step < (curriculum.boundary_steps or math.inf)
        parts = {
            "reconstruction": -self._likelihood(images, picture, backdrop).mean(),
            "kl_foreground": divergence(cells, what, curriculum.presence.at(step), size_prior).mean(),
            "kl_background": backdrop.kl.mean(),
            "boundary": torch.where(punished, boundary_loss(picture.overlap).mean(), 0.0),
        }
        total = torch.stack(list(parts.values())).sum()
        return Losses(total, {**parts, "objects": objects.presence.detach().sum(1).mean()})

    def after_step(self, progress: Progress, losses: Losses, optimizers: list[Optimizer]) -> None:
        """Go on in the curriculum."""
        self.clock.advance(progress)

    def segment(self, images: Tensor, progress: Progress | None = None) -> Segmentation:
        """The background, then the cells row by row; all latents are samples."""
        images = self.canvas.put(self.resolution.downsample(images))
        temperature = self.settings.curriculum.temperature.at(self.clock.at(progress))
        _, _, objects = self.foreground(images, partial(self.normal, images), temperature)
        picture, backdrop = self.foreground.picture(objects), self._backdrop(images)
        planes, behind = self.foreground.planes(objects), backdrop.picture
        left = 1 - picture.alpha
        scene = BoxPlanes(
            masks=torch.cat([1 - planes.masks.sum(1, keepdim=True), planes.masks], dim=1),
            composited=torch.cat([left[:, None], planes.composited], dim=1),
            components=torch.cat([behind[:, None], planes.components], dim=1),
            picture=(picture.alpha * picture.colours + left * behind)[:, None],
        )
        return box_segmentation(scene, objects, self.canvas, self.resolution)

    def _backdrop(self, images: Tensor) -> Backdrop:
        model = self.settings.model.background
        mask_noise = self.normal(images, model.components, model.mask_latent)
        noise = self.normal(images, model.components, model.latent)
        backdrop: Backdrop = self.background(images, mask_noise, noise)
        return backdrop

    def _likelihood(self, images: Tensor, picture: Picture, backdrop: Backdrop) -> Tensor:
        """Log-likelihood (B,) of images (B,3,H,W): each channel of each pixel a mixture of foreground and background."""
        loss = self.settings.loss
        behind = mix(
            gaussian(images[:, None], backdrop.components, loss.background_sigma, normalised=True),
            backdrop.log_masks,
        )
        before = gaussian(images, picture.colours, loss.foreground_sigma, normalised=True)
        shares = torch.stack([picture.alpha, 1 - picture.alpha], dim=1)
        return mix(torch.stack([before, behind], dim=1), (shares + ALPHA_EPS).log()).flatten(1).sum(1)
