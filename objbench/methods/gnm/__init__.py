"""GNM, Generative Neurosymbolic Machines (Jiang and Ahn, NeurIPS 2020): a box of its own for each cell of a grid, and one
latent for the whole scene from which all boxes can be drawn.

An encoder turns an image into a map of 4x4 cells. Each cell has an object, maybe present, with a box, a depth and a look;
these latents come straight from the cell's features, no glimpse of the image is taken. StructDRAW draws a map of the same
shape from a few global latents; the same head that reads the posterior of the cells off the features reads their prior
off this map. Fixed priors say besides what an object is, as far as it is present. A VAE of ten dimensions paints the
background.

Model, loss and curricula are those of the ClevrTex benchmark, which trained the published row (`clevrtex`). Choices and
deviations; values are in benchmarks.yaml:
- Nothing but the reference description was at hand. Where it is silent: LSTM gates have no extra bias, maps are flattened
  channel first, a deviation is softplus plus 1e-5 (of plain softplus the square can become 0 in float32).
- The curricula count steps of `curriculum.nominal_steps`; a shorter training goes through all of them faster.
- Presence has the Gumbel noise of normal numbers, see `parts.presence`, and its divergence works on logits, which
  needs no epsilon.
- Images of 64x64 have an encoder with one halving less and a background decoder with one upscaling of 2 instead of 4.
  Tetrominoes lie on a black canvas of 64x64, which loses nothing; everything is cropped to 35x35 before it is scored.
  The likelihood counts the canvas.
- With `model.background_start: median` the background begins with the median colour of the training images, not with
  grey; Tetrominoes has it, and a prior of presence that begins with a half. In trials with small models on black, objects
  otherwise learned to paint the black and left the colours to the background, or all of them disappeared at once.
- The benchmark renders each scene a second time from the prior, for pictures; this is left out.
- With `model.resolution` it works on smaller images: its input is the means of rectangles, its output is enlarged
  again (the variant `demo`).
- `segment` samples all latents, as the benchmark does: presence is soft (temperature 0.5) at test time too. Its masks
  are the benchmark's: alpha times presence of each cell, boxes that overlap do not hide each other, and before them the
  background, 1 - sum, which is negative where they overlap. The masks that really multiply the pixels are
  `composited`.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn
from torch.optim import Optimizer, RMSprop

from objbench.methods.base import LearningRate, Losses, Method, Progress, Segmentation, Stage
from objbench.methods.gnm.latents import WHERE, CellHead, Cells, FixedPriors, boxes_of
from objbench.methods.gnm.scene import Painter, Scene
from objbench.methods.gnm.struct_draw import Drawing, StructDRAW, normed_perceptron
from objbench.methods.parts.background_start import BackgroundStart, begin_background
from objbench.methods.parts.box_segmentation import box_segmentation
from objbench.methods.parts.canvas import Canvas, CanvasSide
from objbench.methods.parts.conv_stack import Layer, conv_stack, demand_side
from objbench.methods.parts.curriculum import Clock, Ramp
from objbench.methods.parts.gaussian import Gaussian, plain_softplus
from objbench.methods.parts.mixture import gaussian
from objbench.methods.parts.presence import relaxed_bernoulli
from objbench.methods.parts.resolution import Resolution, Side
from objbench.methods.parts.schedule import ConstantRate
from objbench.spec.explain import refusal
from objbench.spec.settings import Count, CountOrZero, Counts, Group, Positive

PRESENCE_CEILING = 0.99


class Model(Group):
    """The encoder, the latents and the decoders."""

    resolution: Side
    canvas: CanvasSide
    encoder_channels: Counts = Field(
        description="of the encoder, one per halving of the image; what is left is the grid of cells"
    )
    what: Count = Field(description="dimensions of the look of an object")
    glimpse_channels: Counts = Field(
        description="of the decoder of an object, one per doubling, before the last doubling, to RGB and alpha"
    )
    steps: Count = Field(description="steps in which StructDRAW draws the prior of the cells")
    step_latent: Count = Field(description="dimensions of the global latent of each step")
    hidden: Counts = Field(description="widths of StructDRAW's networks of prior and posterior")
    step_hidden: Counts = Field(description="widths of StructDRAW's network from a latent to a map")
    background: Count = Field(description="dimensions of the background")
    background_hidden: Counts = Field(description="widths of the network of the background's posterior")
    background_prior_hidden: Counts = Field(description="widths of the network of the background's prior")
    background_channels: Counts = Field(
        description="of the background's decoder, one per upscaling; a 3x3 convolution to RGB comes last"
    )
    background_upscales: Counts = Field(
        description="of the background's decoder, from one place to the image: their product is its side"
    )
    background_start: BackgroundStart

    @model_validator(mode="after")
    def _as_many(self) -> Model:
        upscales, channels = self.background_upscales, self.background_channels
        if len(upscales) != len(channels):
            expected = f"{len(channels)} numbers, as many as model.background_channels"
            raise refusal("model.background_upscales", expected, upscales)
        return self


class Loss(Group):
    """The likelihood, and the fixed prior of a box's size."""

    sigma: Positive = Field(description="standard deviation of a pixel")
    size_mean: float = Field(
        description="prior mean of a box's size, before a sigmoid makes it a part of the image's side"
    )
    size_deviation: Positive = Field(
        description="prior standard deviation of a box's size, before the sigmoid"
    )


class Curriculum(Group):
    """What changes during the training, in steps of a training of `nominal_steps`."""

    nominal_steps: Count = Field(description="length of the training whose steps the curriculum counts")
    forced_steps: CountOrZero = Field(
        description="so many steps, after the first, the background shows through a tenth: objects have to explain the image"
    )
    temperature: Ramp
    presence: Ramp
    beta_global: Ramp
    beta_where: Ramp
    beta_background: Ramp


class Posterior(NamedTuple):
    """Distributions inferred from a batch of images, and their learned priors."""

    drawing: Drawing  # StructDRAW's
    cells: Cells
    cells_prior: Cells
    background: Gaussian  # (B,Z)
    background_prior: Gaussian  # (B,Z)


class GNM(Method):
    """Objects as boxes of a grid of cells, whose joint prior StructDRAW draws, and a background."""

    class Settings(Method.Settings):
        """The keys of its block in benchmarks.yaml."""

        model: Model
        loss: Loss
        curriculum: Curriculum
        optimizer: ConstantRate

    settings: Settings

    def __init__(self, image_shape: tuple[int, int, int], slots: int, settings: Settings) -> None:
        super().__init__(image_shape, slots, settings)
        model = settings.model
        self.resolution = Resolution(image_shape, model.resolution)
        self.canvas = Canvas(self.resolution.size, model.canvas)
        self.cells = _grid(self.canvas.size, model)
        channels, flat = model.encoder_channels[-1], model.encoder_channels[-1] * math.prod(self.cells)
        self.encoder = _encoder(model.encoder_channels)
        self.draw = StructDRAW(
            channels,
            self.cells,
            model.step_latent,
            model.steps,
            hidden=model.hidden,
            decoder_hidden=model.step_hidden,
        )
        self.head = CellHead(channels, model.what)
        self.priors = FixedPriors(settings.loss.size_mean, settings.loss.size_deviation)
        self.background_posterior = normed_perceptron(flat, *model.background_hidden, 2 * model.background)
        self.background_prior = normed_perceptron(
            model.steps * model.step_latent, *model.background_prior_hidden, 2 * model.background
        )
        upscalings = list(zip(model.background_channels, model.background_upscales, strict=True))
        self.painter = Painter(model.what, model.glimpse_channels, model.background, upscalings)
        self.clock = Clock(settings.curriculum.nominal_steps)

    def setup(self, images: Tensor, stage: Stage) -> None:
        """Begin the curriculum, and the background with its first colour."""
        self.clock.restart()
        begin_background(self.painter.background[-1], images, self.settings.model.background_start)

    def optimizers(self, stage: Stage) -> list[tuple[Optimizer, LearningRate]]:
        """One RMSprop at a constant rate."""
        schedule = self.settings.optimizer
        return [(RMSprop(self.parameters(), schedule.learning_rate), schedule)]

    def capture_key(self, progress: Progress) -> tuple[()]:
        """Every step does the same work; the curriculum is in tensors."""
        return ()

    def training_loss(self, images: Tensor, progress: Progress) -> Losses:
        """Negative log-likelihood, divergences from the learned priors, and weighted ones from the fixed priors."""
        images = self.canvas.put(self.resolution.downsample(images))
        step, curriculum = self.clock.step, self.settings.curriculum
        forced = (step > 0) & (step < curriculum.forced_steps)
        found = self._infer(images)
        scene = self._sample(images, found, step, forced)
        error = -gaussian(images, scene.render(forced), self.settings.loss.sigma, normalised=True)
        learned = found.cells.kl_to(found.cells_prior) + found.background.kl_to(found.background_prior)
        whole = found.drawing.posterior.kl_to(found.drawing.prior).sum(1)
        fixed = self.priors.kl(
            found.cells, scene.presence, curriculum.presence.at(step), curriculum.beta_where.at(step)
        )
        plain = found.background.kl_to_standard()
        parts = {
            "reconstruction": error.flatten(1).sum(1).mean(),
            "kl": learned.mean(),
            "kl_global": whole.mean(),
            "kl_fixed": fixed.mean(),
            "kl_background": plain.mean(),
            "objects": scene.presence.detach().sum(1).mean(),
        }
        total = parts["reconstruction"] + parts["kl"] + parts["kl_fixed"]
        total = total + curriculum.beta_global.at(step) * parts["kl_global"]
        return Losses(total + curriculum.beta_background.at(step) * parts["kl_background"], parts)

    def after_step(self, progress: Progress, losses: Losses, optimizers: list[Optimizer]) -> None:
        """Go on in the curriculum."""
        self.clock.advance(progress)

    def segment(self, images: Tensor, progress: Progress | None = None) -> Segmentation:
        """The background, then the cells row by row; all latents are samples."""
        images = self.canvas.put(self.resolution.downsample(images))
        step = self.clock.at(progress)
        scene = self._sample(images, self._infer(images), step, torch.zeros_like(step, dtype=torch.bool))
        return box_segmentation(scene.planes(), scene, self.canvas, self.resolution)

    def _infer(self, images: Tensor) -> Posterior:
        features = self.encoder(images).float()
        model = self.settings.model
        drawing = self.draw(features, self.normal(images, model.steps, model.step_latent))
        return Posterior(
            drawing,
            cells=self.head(features),
            cells_prior=self.head(drawing.canvas),
            background=Gaussian.of(self.background_posterior(features.flatten(1)), plain_softplus),
            background_prior=Gaussian.of(self.background_prior(drawing.latents.flatten(1)), plain_softplus),
        )

    def _sample(self, images: Tensor, found: Posterior, step: Tensor, forced: Tensor) -> Scene:
        """A sample of the posterior at a nominal step (); `forced`, bool (): whether objects have to explain the image."""
        cells, count = found.cells, math.prod(self.cells)
        temperature = self.settings.curriculum.temperature.at(step)
        presence = relaxed_bernoulli(cells.presence, self.normal(images, count), temperature)
        presence = torch.where(forced, presence.clamp(max=PRESENCE_CEILING), presence)
        where = boxes_of(cells.where.sample(self.normal(images, count, WHERE)), self.cells)
        depth = cells.depth.sample(self.normal(images, count, 1))
        what = cells.what.sample(self.normal(images, *cells.what.mean.shape[1:]))
        background = found.background.sample(self.normal(images, found.background.mean.shape[1]))
        scene: Scene = self.painter(presence, where, depth, what, background)
        return scene


def _grid(size: tuple[int, int], model: Model) -> tuple[int, int]:
    """(rows, columns) of the cells; refuses networks that do not fit the images."""
    demand_side("model.background_upscales", model.background_upscales, size)
    side, halvings = size[0], len(model.encoder_channels)
    if side % 2**halvings:
        expected = f"fewer halvings (images of {side}x{side} do not halve evenly so often)"
        raise refusal("model.encoder_channels", expected, model.encoder_channels)
    return side // 2**halvings, side // 2**halvings


def _encoder(channels: list[int]) -> nn.Sequential:
    """Each scale: a 4x4 convolution of stride 2, then, but for the last, a 3x3 one."""
    layers = [layer for width in channels for layer in (Layer(width, kernel=4, stride=2), Layer(width))]
    return conv_stack(3, layers[:-1])
