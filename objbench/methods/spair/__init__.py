"""SPAIR* (Karazija, Laina and Rupprecht, NeurIPS 2021, after Crawford and Pineau, AAAI 2019): boxes found cell by cell.

An encoder turns an image into features of a grid of cells. Each cell has a box, a look, a depth and maybe an object,
inferred one cell after another, each given its neighbours before it. A prior on the number of objects makes every further
object cost something. The star stands for the background: a VAE of very few dimensions, instead of a plain colour.

Model, loss and schedules are those of the ClevrTex benchmark. Choices and deviations; values are in benchmarks.yaml:
- Nothing but the reference description was at hand. Where it is silent: the network of the look sees what the network of
  the box passes on, the network of presence what that of depth does, and all of them the box in units of cell and anchor.
- The cells of a wavefront (equal 2 row + column) are inferred at once: ten rounds for 4x4 cells instead of sixteen, with
  the same numbers.
- The count prior is looked up for all cells at once, see `count_prior.py`; the original updates it cell by cell, and
  clamps each sum. Its direction is the benchmark's: at first no objects are expected, in the end any number.
- A deviation is softplus plus 1e-5. Presence works on logits: only the prior's probabilities are clamped.
- The plateau of the learning rate counts evaluations (`recipe.evaluations`), not epochs.
- The schedules count steps of `curriculum.nominal_steps`; a shorter training goes through all of them faster.
- multi-dSprites and Tetrominoes have no published settings. The encoder is the large one with other strides (cells of 16
  and 12 pixels); Tetrominoes lie on a black canvas of 36x36, which loses nothing, and are cropped again.
- With `model.resolution` it works on smaller images: its input is the means of rectangles, its output is enlarged
  again (the variant `demo`).
- With `model.background_start: median` the background begins with the median colour of the training images, not with
  grey: on black, objects otherwise became the black around what should be found (`demo` has it).
- The small encoder, the training wheels and the likelihood of the original SPAIR are left out.
- `segment` samples all latents, as the benchmark does, with presence rounded to 0 or 1 (in training it is soft). Its
  masks are the benchmark's: alpha times presence of each cell, boxes that overlap do not hide each other, and before them
  the background, 1 - sum, which is negative where they overlap. Those that really multiply the pixels are `composited`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import NamedTuple

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn
from torch.optim import Adam, Optimizer

from objbench.methods.base import LearningRate, Losses, Method, Progress, Segmentation, Stage
from objbench.methods.parts.background_start import BackgroundStart, begin_background
from objbench.methods.parts.box_segmentation import BoxPlanes, box_segmentation
from objbench.methods.parts.broadcast import Conv, SpatialBroadcastDecoder
from objbench.methods.parts.canvas import Canvas, CanvasSide
from objbench.methods.parts.compositing import Glimpses, Weighing, canvases, composite, weights
from objbench.methods.parts.conv_stack import Layer, conv_stack
from objbench.methods.parts.curriculum import Clock, Ramp
from objbench.methods.parts.gaussian import Gaussian, plain_softplus
from objbench.methods.parts.mixture import gaussian
from objbench.methods.parts.perceptron import perceptron
from objbench.methods.parts.plateau import Plateau, PlateauDecay
from objbench.methods.parts.position import coordinate_grid
from objbench.methods.parts.presence import bernoulli_kl
from objbench.methods.parts.resolution import Resolution, Side
from objbench.methods.parts.spatial_transformer import paste
from objbench.methods.spair.cells import CellByCell, Objects
from objbench.methods.spair.count_prior import CountPrior
from objbench.spec.explain import refusal
from objbench.spec.settings import Count, Counts, Group, Positive, PositiveOrZero

WEIGHING = Weighing(floor=0.01)


class Model(Group):
    """The encoder, the cells, the decoders and the background."""

    resolution: Side
    canvas: CanvasSide
    channels: Counts = Field(description="of the encoder, one per 3x3 convolution")
    strides: Counts = Field(
        description="of the encoder, one per 3x3 convolution: a cell is their product wide"
    )
    groups: Counts = Field(description="of the encoder's group norms, one per 3x3 convolution")
    features: Count = Field(description="of a cell, and numbers that a network passes on to the next")
    feature_groups: Count = Field(description="of the group norm of the features")
    anchor: Count = Field(description="side of the largest box, in pixels")
    glimpse: Count = Field(
        description="side of what is seen of a box, and of what is painted in it, in pixels"
    )
    what: Count = Field(description="dimensions of the look of an object")
    hidden: Counts = Field(description="widths of the networks of boxes, depth and presence")
    look_hidden: Counts = Field(description="widths of the network of looks")
    decoder_channels: Counts = Field(description="of the decoder of objects, one per 3x3 convolution")
    background: Count = Field(description="dimensions of the background")
    background_channels: Counts = Field(
        description="of the background's encoder, one per 3x3 convolution of stride 2"
    )
    background_hidden: Count = Field(description="width of the network after the background's encoder")
    background_decoder_channels: Counts = Field(
        description="of the background's decoder, one per 3x3 convolution"
    )
    background_start: BackgroundStart

    @model_validator(mode="after")
    def _fits(self) -> Model:
        for name in ("strides", "groups"):
            if len(getattr(self, name)) != len(self.channels):
                expected = f"{len(self.channels)} numbers, as many as model.channels"
                raise refusal(f"model.{name}", expected, getattr(self, name))
        pairs = [*zip(self.channels, self.groups, strict=True), (self.features, self.feature_groups)]
        if any(channels % groups for channels, groups in pairs):
            expected = f"divisors of {[channels for channels, _ in pairs]}"
            raise refusal("model.groups and model.feature_groups", expected, [groups for _, groups in pairs])
        return self


class Loss(Group):
    """The weights of the divergences, and the prior of a box's size."""

    temperature: Positive = Field(description="of the relaxed presence")
    beta: PositiveOrZero = Field(description="weight of the divergences of the objects")
    background_beta: PositiveOrZero = Field(description="weight of the divergence of the background")
    size_mean: float = Field(
        description="prior mean of a box's size, before a sigmoid makes it a part of the anchor"
    )
    size_deviation: Positive = Field(
        description="prior standard deviation of a box's size, before the sigmoid"
    )
    background_deviation: Positive = Field(description="prior standard deviation of the background's latent")


class Curriculum(Group):
    """What changes during the training, in steps of a training of `nominal_steps`."""

    nominal_steps: Count = Field(description="length of the training whose steps the curriculum counts")
    sigma: Ramp
    rho: Ramp


class Scene(NamedTuple):
    """The objects and the background, decoded; all float32."""

    objects: Objects
    glimpses: Glimpses  # (B,N,*,g,g)
    background: Tensor  # (B,3,H,W), in [0,1]


class SPAIR(Method):
    """Objects as boxes of a grid of cells, found one after another, and a background."""

    class Settings(Method.Settings):
        """The keys of its block in benchmarks.yaml."""

        model: Model
        loss: Loss
        curriculum: Curriculum
        optimizer: PlateauDecay

    settings: Settings

    def __init__(self, image_shape: tuple[int, int, int], slots: int, settings: Settings) -> None:
        super().__init__(image_shape, slots, settings)
        model, loss = settings.model, settings.loss
        self.resolution = Resolution(image_shape, model.resolution)
        self.canvas = Canvas(self.resolution.size, model.canvas)
        size = self.canvas.size
        self.cells = _grid(size, model.strides)
        numbers = zip(model.channels, model.strides, model.groups, strict=True)
        layers = [Layer(channels, 3, stride, groups=groups) for channels, stride, groups in numbers]
        self.encoder = conv_stack(3, [*layers, Layer(model.features, 1, groups=model.feature_groups)])
        self.find = CellByCell(
            model.features,
            self.cells,
            side=(1 / self.cells[1], 1 / self.cells[0]),
            anchor=(model.anchor / size[1], model.anchor / size[0]),
            glimpse=model.glimpse,
            what=model.what,
            hidden=model.hidden,
            look_hidden=model.look_hidden,
            passed=model.features,
        )
        self.paint = _decoder(model.what, (model.glimpse, model.glimpse), model.decoder_channels, 4)
        self.background = Background(size, model)
        self.count = CountPrior(math.prod(self.cells))
        self.where_mean: Tensor  # (4,)
        self.where_deviation: Tensor  # (4,)
        for name, of_size, of_place in (
            ("where_mean", loss.size_mean, 0.0),
            ("where_deviation", loss.size_deviation, 1.0),
        ):
            values = torch.tensor([of_size, of_size, of_place, of_place])
            self.register_buffer(name, values, persistent=False)
        self.clock = Clock(settings.curriculum.nominal_steps)
        self.plateau = Plateau(settings.optimizer)

    def setup(self, images: Tensor, stage: Stage) -> None:
        """Begin the curriculum, and the background with its first colour."""
        self.clock.restart()
        begin_background(self.background.paint.layers[-1], images, self.settings.model.background_start)

    def optimizers(self, stage: Stage) -> list[tuple[Optimizer, LearningRate]]:
        """One Adam, whose rate falls at a plateau."""
        rate = self.settings.optimizer.learning_rate
        return [(Adam(self.parameters(), rate, fused=True), self.plateau.learning_rate)]

    def capture_key(self, progress: Progress) -> tuple[()]:
        """Every step does the same work; the curriculum is in tensors."""
        return ()

    def training_loss(self, images: Tensor, progress: Progress) -> Losses:
        """Negative log-likelihood, and weighted divergences: of absent objects too."""
        images = self.canvas.put(self.resolution.downsample(images))
        loss, curriculum = self.settings.loss, self.settings.curriculum
        posterior = self.background(images)
        scene = self._scene(images, posterior, hard=False)
        found = scene.objects
        sigma = curriculum.sigma.at(self.clock.step)
        error = -gaussian(images, self._render(scene), sigma, normalised=True).flatten(1).sum(1)
        prior = self.count(found.presence, curriculum.rho.at(self.clock.step))
        divergences = {
            "kl_where": found.where_posterior.kl_to(Gaussian(self.where_mean, self.where_deviation)).sum(1),
            "kl_what": found.what_posterior.kl_to_standard().sum(1),
            "kl_depth": found.depth_posterior.kl_to_standard().sum(1),
            "kl_presence": bernoulli_kl(found.logits, prior).sum(1),
        }
        wide = torch.full_like(posterior.mean, loss.background_deviation)
        background = posterior.kl_to(Gaussian(torch.zeros_like(wide), wide)).mean()
        parts = {"reconstruction": error.mean()} | {name: kl.mean() for name, kl in divergences.items()}
        objects = torch.stack([parts[name] for name in divergences]).sum()
        total = parts["reconstruction"] + loss.beta * objects + loss.background_beta * background
        parts |= {
            "kl_background": background,
            "objects": found.presence.detach().round().sum(1).mean(),
        }
        return Losses(total, parts)

    def after_step(self, progress: Progress, losses: Losses, optimizers: list[Optimizer]) -> None:
        """Go on in the curriculum."""
        self.clock.advance(progress)

    def after_evaluation(self, progress: Progress, metrics: Mapping[str, float]) -> None:
        """Lower the learning rate if the reconstruction does not become better any more."""
        if "mse" in metrics:
            self.plateau.observe(metrics["mse"])

    def segment(self, images: Tensor, progress: Progress | None = None) -> Segmentation:
        """The background, then the cells row by row; all latents are samples."""
        images = self.canvas.put(self.resolution.downsample(images))
        scene = self._scene(images, self.background(images), hard=True)
        found, size = scene.objects, self.canvas.size
        placed = canvases(scene.glimpses, found.where, size)
        share, background = weights(placed.importance, WEIGHING), scene.background[:, None]
        composited = share * placed.alpha
        left = 1 - composited.sum(1, keepdim=True)
        planes = BoxPlanes(
            masks=torch.cat([1 - placed.alpha.sum(1, keepdim=True), placed.alpha], dim=1),
            composited=torch.cat([left, composited], dim=1),
            components=torch.cat([background, paste(scene.glimpses.colours, found.where, size)], dim=1),
            picture=(share * placed.colours).sum(1, keepdim=True) + left * background,
        )
        return box_segmentation(planes, found, self.canvas, self.resolution)

    def _scene(self, images: Tensor, background: Gaussian, *, hard: bool) -> Scene:
        """A sample of the objects of images and of the background, decoded; `hard` rounds presence."""
        noise = self.normal(images, math.prod(self.cells), self.find.noise)
        temperature = self.settings.loss.temperature
        found = self.find(images, self.encoder(images), noise, temperature, hard=hard)
        painted = self.paint(found.what.flatten(0, 1)).float().sigmoid().unflatten(0, found.what.shape[:2])
        alpha = painted[:, :, 3:] * found.presence[..., None, None, None]
        importance = alpha / found.depth[..., None, None]
        glimpses = Glimpses(painted[:, :, :3], alpha, importance, premultiplied=False)
        latent = background.sample(self.normal(images, background.mean.shape[1]))
        return Scene(found, glimpses, self.background.paint(latent).float().sigmoid())

    def _render(self, scene: Scene) -> Tensor:
        """The image (B,3,H,W): objects mixed by importance, and the background where their alpha leaves it."""
        mixed = composite(scene.glimpses, scene.objects.where, self.canvas.size, WEIGHING)
        return mixed.colours + (1 - mixed.alpha) * scene.background


class Background(nn.Module):
    """The VAE of the background: the posterior (B,Z) of its latent, and `paint`, from latents to RGB logits."""

    def __init__(self, size: tuple[int, int], model: Model) -> None:
        super().__init__()
        self.convolutions = nn.Sequential()
        channels = 3
        for width in model.background_channels:
            self.convolutions.append(nn.Conv2d(channels, width, 3, stride=2, padding=1))
            self.convolutions.append(nn.ReLU())
            channels = width
        self.head = perceptron(channels, model.background_hidden, 2 * model.background)
        self.paint = _decoder(model.background, size, model.background_decoder_channels, 3)

    def forward(self, images: Tensor) -> Gaussian:
        """The posterior of images (B,3,H,W)."""
        return Gaussian.of(self.head(self.convolutions(images).mean((2, 3))), plain_softplus)


def _decoder(
    latent: int, size: tuple[int, int], channels: list[int], outputs: int
) -> SpatialBroadcastDecoder:
    layers = [Conv(width, 3, padding=0) for width in channels]
    return SpatialBroadcastDecoder(latent, size, [*layers, Conv(outputs, 1)], planes=coordinate_grid)


def _grid(size: tuple[int, int], strides: list[int]) -> tuple[int, int]:
    """(rows, columns) of the cells; refuses strides that do not divide the images into whole cells."""
    side = math.prod(strides)
    if size[0] % side or size[1] % side:
        raise refusal("model.strides", f"a product that divides {size[0]}x{size[1]}", strides)
    return size[0] // side, size[1] // side
