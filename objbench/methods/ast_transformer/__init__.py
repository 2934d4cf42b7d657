"""AST (Sauvalle and de La Fortelle, 2022, version 1): objects by attention and soft-argmax on a background learned before.

First an autoencoder learns the backgrounds of the scenes (AE-NE, `background.py`). It is then frozen, and a second
network finds objects: a U-Net gives one attention map per object, the mean place under it is the object's place, the mean
features are its size, strength and look, and a transformer lets the objects see each other (`encoder.py`). A renderer
paints them in boxes on the reconstructed background (`renderer.py`). Two entropies push every pixel to one plane, and
every object to be used or not.

This is version 1, whose encoder is trained from scratch: the row of the objmae paper's Table 2. Version 2 (WACV 2023) has a
SegFormer encoder with weights pretrained on ImageNet, and a curriculum in which both networks train together; it is not
built. Choices and deviations; values are in benchmarks.yaml:
- It follows a description of the published code, and that code's table of settings; the code was not used. Where these are
  silent: residual blocks are x + CELU(norm(convolution)),
  as is the last one; convolutions before batch norms have a bias unless they halve the size; the entropies are over the
  background too; the last layer of the background's decoder has a bias; distances of the trial are sums over colours.
- The background is painted anew in each step. The original writes a data set of backgrounds, in 8 bits, between the
  stages; its users had trouble with that set (issue 1 there).
- The activation has an element of the latent of its own. The original always reads the fifth: right where boxes have two
  scales; where they have one (its CLEVR settings) that is the first number of the look, and the activation is unused.
- With `background.model=auto` a trial of the simple background model chooses the size, as in AE-NE. The method then holds
  both, so that a state can be loaded whatever was chosen. The length of the training stays what the recipe says. The
  presets name the sizes that the original has for CLEVR (simple) and ClevrTex (complex).
- The original restarts a run whose pixel entropy is below 1e-5 at step 2,000, as no object was ever switched on. Here it
  is in the log (`pixel_entropy`), and another seed has to be run by hand.
- Schedules are in parts of a stage, curricula in steps of `curriculum.nominal_steps`: a shorter training has the same.
- `slots` counts the background: there are slots - 1 objects.
- The transformer's attention, the soft-argmax and the renderer are computed in float32 whatever the precision.
- multi-dSprites and Tetrominoes have no published settings: here those of CLEVR with the original's layers for images of
  64x64, Tetrominoes on a black canvas of that size, which loses nothing. CLEVR6 has those of CLEVR, with six objects.
- With `model.resolution` it works on smaller images: its input is the means of rectangles, its output is enlarged
  again (the variant `demo`).
- `extras["presence"]` is the largest value of an object's mask. Nothing is random at test time.
"""

from __future__ import annotations

from typing import Annotated

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn
from torch.optim import Adam, AdamW, Optimizer

from objbench.methods.ast_transformer.background import Background, BackgroundSettings, fits_groups
from objbench.methods.ast_transformer.encoder import Latents, ObjectEncoder, Objects
from objbench.methods.ast_transformer.renderer import Picture, Renderer
from objbench.methods.base import LearningRate, Losses, Method, Progress, Segmentation, Stage
from objbench.methods.parts.box_slots import box_slots
from objbench.methods.parts.canvas import Canvas, CanvasSide
from objbench.methods.parts.curriculum import Clock, Ramp
from objbench.methods.parts.resolution import Resolution, Side
from objbench.methods.parts.schedule import LateDrop
from objbench.methods.parts.spatial_transformer import boxes
from objbench.spec.explain import refusal
from objbench.spec.settings import Count, CountOrZero, Counts, Group, Positive, PositiveOrZero, Recipe

TRIAL, BACKGROUND, FOREGROUND = "trial", "background", "foreground"  # the stages
BETAS = (0.9, 0.98)  # of the foreground's Adam, as in the original: those of the Transformer's paper
EPS = 1e-9  # the same
LEAST_SHARE = 1e-20  # of an image, in the logarithm of the object entropy


class TwoStages(Recipe):
    """The recipe; `steps` and `batch_size` are those of the foreground."""

    background_steps: Count = Field(description="training steps of the background, before the foreground's")
    background_batch_size: Count = Field(description="images per training step of the background")
    trial_steps: CountOrZero = Field(
        description="training steps of the simple background before its size is chosen (background.model=auto)"
    )


class Model(Group):
    """The network of objects and the renderer."""

    resolution: Side
    canvas: CanvasSide
    channels: Counts = Field(description="of the U-Net, one per scale, the finest first")
    scales: Annotated[int, Field(ge=1, le=2)] = Field(
        description="numbers for the size of a box: 1, the same in x and y, or 2"
    )
    what: Count = Field(description="dimensions of the look of an object")
    width: Count = Field(description="of the transformer's tokens")
    heads: Count = Field(description="of the transformer's attention")
    hidden: Count = Field(description="hidden units of the transformer's MLPs")
    dropout: Annotated[float, Field(ge=0, lt=1)] = Field(description="of the transformer")
    layers: Count = Field(description="of the transformer")
    least_scale: Positive = Field(description="image sides per side of the largest box")
    greatest_scale: Positive = Field(description="image sides per side of the smallest box")
    renderer_channels: Counts = Field(
        description="of the renderer, one per transposed convolution but the last: a glimpse is 2**(their number+1) wide"
    )
    background_activation: float = Field(
        description="logarithm of the background's strength at first; objects start near 0"
    )

    @model_validator(mode="after")
    def _fits(self) -> Model:
        if self.width % self.heads:
            raise refusal("model.heads", f"a divisor of model.width={self.width}", self.heads)
        if self.greatest_scale <= self.least_scale:
            raise refusal("model.greatest_scale", f"more than {self.least_scale}", self.greatest_scale)
        if not all(map(fits_groups, self.renderer_channels)):
            expected = "numbers below 32 or multiples of 16, for groups of 16 channels"
            raise refusal("model.renderer_channels", expected, self.renderer_channels)
        return self


class Loss(Group):
    """The loss of the foreground."""

    threshold: PositiveOrZero = Field(
        description="error of a pixel, summed over colours in [0,1], that costs nothing"
    )
    pixel_entropy: PositiveOrZero = Field(description="weight of the squared entropy of the masks of a pixel")
    object_entropy: PositiveOrZero = Field(
        description="weight of the squared entropy of the shares of an image"
    )


class Curriculum(Group):
    """What changes during the foreground's training, in steps of a training of `nominal_steps`."""

    nominal_steps: Count = Field(description="length of the training whose steps the curriculum counts")
    pixel_entropy: Ramp
    object_entropy: Ramp


class Optimizers(Group):
    """The learning rates of the stages."""

    background: LateDrop
    foreground: LateDrop


class AST(Method):
    """A background learned first, then objects by attention and soft-argmax."""

    class Settings(Method.Settings):
        """The keys of its block in benchmarks.yaml."""

        recipe: TwoStages
        model: Model
        background: BackgroundSettings
        loss: Loss
        curriculum: Curriculum
        optimizer: Optimizers

    settings: Settings

    def __init__(self, image_shape: tuple[int, int, int], slots: int, settings: Settings) -> None:
        super().__init__(image_shape, slots, settings)
        model = settings.model
        if slots < 2:
            raise refusal("slots", "at least 2, the background and an object", slots)
        if settings.background.model == "auto" and not settings.recipe.trial_steps:
            raise refusal("recipe.trial_steps", "at least 1 with background.model=auto", 0)
        self.resolution = Resolution(image_shape, model.resolution)
        self.canvas = Canvas(self.resolution.size, model.canvas)
        side = _side(self.canvas.size, len(model.channels) - 1)
        self.background = Background(side, settings.background)
        self.encoder = ObjectEncoder(
            side,
            slots - 1,
            Latents(model.scales, model.what),
            model.channels,
            (model.width, model.heads, model.hidden, model.dropout, model.layers),
            (model.least_scale, model.greatest_scale),
        )
        self.renderer = Renderer(model.what, model.renderer_channels, model.background_activation)
        self.clock = Clock(settings.curriculum.nominal_steps)

    @property
    def frozen(self) -> tuple[str, ...]:  # type: ignore[override]
        """The parameters of the background model that was not chosen, if it was never trained."""
        if self.settings.background.model != "auto" or self.background.kind == "complex":
            return ()
        unused = self.background.models["complex"].named_parameters(prefix="background.models.complex")
        return tuple(name for name, _ in unused)

    def stages(self) -> list[Stage]:
        """The trial, if it is to choose the background model; the background; the foreground."""
        r = self.settings.recipe
        steps = {BACKGROUND: r.background_steps}
        if self.settings.background.model == "auto":
            steps = {TRIAL: r.trial_steps} | steps
        behind = [
            Stage(name, count, None, r.background_batch_size, r.clip_norm, r.precision)
            for name, count in steps.items()
        ]
        return [*behind, Stage(FOREGROUND, r.steps, r.epochs, r.batch_size, r.clip_norm, r.precision)]

    def setup(self, images: Tensor, stage: Stage) -> None:
        """Choose the background model after the trial; leave only the parameters of the stage to be trained."""
        if stage.name == BACKGROUND and self.settings.background.model == "auto":
            self.background.choose(self._input(images))
        trained = {id(parameter) for parameter in self._parameters_of(stage)}
        for parameter in self.parameters():
            parameter.requires_grad_(id(parameter) in trained)
        self.clock.restart()

    def optimizers(self, stage: Stage) -> list[tuple[Optimizer, LearningRate]]:
        """AdamW without decay for the background, a new Adam for the foreground."""
        parameters, rates = self._parameters_of(stage), self.settings.optimizer
        if stage.name == FOREGROUND:
            adam = Adam(parameters, rates.foreground.learning_rate, betas=BETAS, eps=EPS, fused=True)
            return [(adam, rates.foreground)]
        adamw = AdamW(parameters, rates.background.learning_rate, weight_decay=0.0, fused=True)
        return [(adamw, rates.background)]

    def capture_key(self, progress: Progress) -> str:
        """Every step of a stage does the same work; the curriculum is in tensors, the choice made before the stage."""
        return progress.stage

    def training_loss(self, images: Tensor, progress: Progress) -> Losses:
        """The weighted error of the background, or the error and the entropies of the whole picture."""
        images = self._input(images)
        if progress.stage in (TRIAL, BACKGROUND):
            terms = self.background.losses(images)
            return Losses(torch.stack([*terms.values()]).sum(), terms)
        loss, curriculum = self.settings.loss, self.settings.curriculum
        _, picture = self._scene(images)
        parts = foreground_losses(images, picture, loss.threshold)
        pixel, shared = (
            ramp.at(self.clock.step).square()
            for ramp in (curriculum.pixel_entropy, curriculum.object_entropy)
        )
        total = (
            parts["reconstruction"]
            + loss.pixel_entropy * pixel * parts["pixel_entropy"]
            + loss.object_entropy * shared * parts["object_entropy"]
        )
        return Losses(total, parts)

    def after_step(self, progress: Progress, losses: Losses, optimizers: list[Optimizer]) -> None:
        """Go on in the curriculum."""
        self.clock.advance(progress)

    def segment(self, images: Tensor, progress: Progress | None = None) -> Segmentation:
        """The background and slots - 1 objects; before the last stage the objects are those of initial weights."""
        objects, picture = self._scene(self._input(images))
        masks, components = (
            self.resolution.upsample(self.canvas.crop(part))
            for part in (picture.log_masks.exp()[:, :, None], picture.layers)
        )
        return Segmentation(
            masks=masks.squeeze(2),
            reconstruction=(masks * components).sum(1),
            components=components,
            slots=box_slots(objects.what, objects.where, objects.activation),
            extras={
                "boxes": self.canvas.boxes(boxes(objects.where)),
                "presence": masks[:, 1:].amax((2, 3, 4)),
            },
        )

    def _input(self, images: Tensor) -> Tensor:
        return self.canvas.put(self.resolution.downsample(images))

    def _scene(self, images: Tensor) -> tuple[Objects, Picture]:
        """Objects of images on the canvas, and the picture of them on the frozen background."""
        with torch.no_grad():
            background = self.background(images).colours
        objects = self.encoder(images)
        return objects, self.renderer(objects, background)

    def _parameters_of(self, stage: Stage) -> list[nn.Parameter]:
        """The parameters that a stage trains."""
        if stage.name == FOREGROUND:
            return [*self.encoder.parameters(), *self.renderer.parameters()]
        return [*self.background.model.parameters()]


def foreground_losses(images: Tensor, picture: Picture, threshold: float) -> dict[str, Tensor]:
    """The terms of the foreground's loss, without their weights: means over pixels, and for shares over images."""
    distance = (picture.colours - images).abs().sum(1)
    masks = picture.log_masks.exp()
    shares = masks.mean((2, 3))
    pixel = (masks * picture.log_masks).sum(1)
    shared = (shares * shares.clamp(min=LEAST_SHARE).log()).sum(1)
    return {
        "reconstruction": (distance - threshold).relu().square().mean(),
        "pixel_entropy": pixel.square().mean(),
        "object_entropy": shared.square().mean(),
    }


def _side(size: tuple[int, int], halvings: int) -> int:
    """The side of the square canvas; refuses one that is not square or that the U-Net cannot halve so often."""
    factor = 2**halvings
    if size[0] != size[1]:
        expected = f"a side: {size[0]}x{size[1]} is not square"
        raise refusal("model.canvas", expected, None)
    if size[0] % factor or size[0] == factor:
        expected = (
            f"a multiple of {factor}, at least {2 * factor}, for model.channels of {halvings + 1} scales"
        )
        raise refusal("model.canvas", expected, size[0])
    return size[0]
