"""MarioNette (Smirnov et al., NeurIPS 2021) as the ClevrTex benchmark adapted it: sprites of a dictionary, softly chosen.

A grid of anchors lies on the image, in two layers. Each anchor has a code, which says how much of each sprite of a learned
dictionary it shows, whether it shows anything, and, together with what is seen in its window, where in its window. The
windows are painted over each other on a background from a dictionary of its own.

Model and loss are those of the ClevrTex benchmark's adaptation. Choices and deviations; values are in benchmarks.yaml:
- Nothing but the reference description was at hand. The benchmark did not publish its settings for MarioNette, and the
  script that made its published row is not public either. Its default of a background code of 4 dimensions fails in the
  group norm of 8 groups; the number of backgrounds and their codes here are suggestions, not published.
- The groups of anchors are painted in a random order, at test time too, as in the benchmark: here it is an order for
  each image, there one for the batch.
- With one background there is nothing to choose, and no encoder for it. With several, its last norm is over a single
  pixel: below three channels per group it keeps at most a sign, so that such a width is refused.
- Only the soft pass is here. The benchmark computes a second one, with the best sprites and rounded presence, in each
  step for its log. There is no temperature: sprites are mixed softly, at test time too.
- Masks: a pixel belongs to what is seen most there, of the background and all anchors. It is found by group, see
  `tiles.py`; the result is that of a canvas per anchor. The background is 1 - sum.
- The slot of an anchor: how much of each sprite it shows, its window and its presence; the background's are zeros.
- Where the reference is silent: the encoder of backgrounds ends as the others do, all layers share the networks after the
  encoder, and choosing a background is scaled as choosing a sprite is.
- multi-dSprites and Tetrominoes have no published settings. Tetrominoes lie on a black canvas of 64x64, which loses
  nothing, and are cropped again; the error is that of the image's own pixels.
- With `model.resolution` it works on smaller images: its input is the means of rectangles, its picture is interpolated
  between pixels, its labels are repeated (the variant `demo`).
"""

from __future__ import annotations

from typing import Annotated, NamedTuple

import torch
from pydantic import Field, model_validator
from torch import Tensor
from torch.optim import AdamW, Optimizer

from objbench.methods.base import LearningRate, Losses, Method, Progress, Segmentation, Stage
from objbench.methods.marionette.networks import GROUPS, Choice, Dictionary, Encoder, Head
from objbench.methods.marionette.tiles import (
    PARITIES,
    Painting,
    group_canvases,
    image_windows,
    in_order,
    most_seen,
    moved,
    owners,
    paint_over,
)
from objbench.methods.parts.box_slots import box_slots
from objbench.methods.parts.canvas import Canvas, CanvasSide
from objbench.methods.parts.resolution import Resolution, Side
from objbench.spec.explain import refusal
from objbench.spec.settings import Count, Group, PositiveOrZero

CLAMP = 1e-5  # of probabilities, in the loss
NARROWEST = 3 * GROUPS  # width whose norm over a single pixel is more than a sign

Width = Annotated[int, Field(ge=NARROWEST, multiple_of=GROUPS)]


class Model(Group):
    """The grid, the two dictionaries, and the widths of their codes."""

    resolution: Side
    canvas: CanvasSide
    layer_size: Annotated[int, Field(ge=2, multiple_of=2)] = Field(
        description="anchors in each row and column of a layer; sprites are two of their cells wide"
    )
    layers: Count = Field(description="layers of anchors, the later one in front")
    sprites: Count = Field(description="sprites in the dictionary")
    latent: Width = Field(
        description="dimensions of the codes of sprites and anchors, and channels of encoders"
    )
    backgrounds: Count = Field(description="backgrounds in the dictionary")
    background_latent: Annotated[int, Field(ge=GROUPS, multiple_of=GROUPS)] = Field(
        description="dimensions of the codes of backgrounds, and channels of their encoder"
    )

    @model_validator(mode="after")
    def _can_choose(self) -> Model:
        if self.backgrounds > 1 and self.background_latent < NARROWEST:
            expected = f"at least {NARROWEST} with model.backgrounds={self.backgrounds}"
            raise refusal("model.background_latent", expected, self.background_latent)
        return self


class Loss(Group):
    """The weights of what is added to the mean squared error."""

    certainty: PositiveOrZero = Field(
        description="weight of the density of Beta(2,2), which is high at undecided sprites and presences"
    )
    presence: PositiveOrZero = Field(description="weight of the mean presence")


class Optimization(Group):
    """AdamW with two rates, the same throughout the training."""

    learning_rate: PositiveOrZero = Field(
        description="learning rate of all but the dictionary of backgrounds"
    )
    background_learning_rate: PositiveOrZero = Field(description="learning rate of that dictionary")
    weight_decay: PositiveOrZero = Field(description="weight decay of AdamW, of all parameters")


class Scene(NamedTuple):
    """What is found in B images by L layers of n x n anchors; all float32 but the order."""

    weights: Tensor  # (B,L,n,n,sprites), sum to one
    presence: Tensor  # (B,L,n,n), in (0,1)
    shift: Tensor  # (B,L,n,n,2), to the right and down, from -1/2 to 1/2 of half a window
    order: Tensor  # int64 (B,4), of the groups as they are painted
    painting: Painting


class MarioNette(Method):
    """Sprites of a learned dictionary at the anchors of a grid, on a background of a learned dictionary."""

    class Settings(Method.Settings):
        """The keys of its block in benchmarks.yaml."""

        model: Model
        loss: Loss
        optimizer: Optimization

    settings: Settings

    def __init__(self, image_shape: tuple[int, int, int], slots: int, settings: Settings) -> None:
        super().__init__(image_shape, slots, settings)
        model = settings.model
        self.resolution = Resolution(image_shape, model.resolution)
        self.canvas = Canvas(self.resolution.size, model.canvas)
        side, anchors, width = _side(self.canvas.size, model), model.layer_size, model.latent
        window = 2 * side // anchors
        self.sprites = Dictionary(model.sprites, width, (4, window, window))
        self.encoder = Encoder(3, side, width, smallest=anchors, heads=model.layers)
        self.choose = Choice(width)
        self.presence = Head(width, 1)
        self.window_encoder = Encoder(7, window, width, smallest=1)
        self.shift = Head(width, 2)
        self.backgrounds = Dictionary(model.backgrounds, model.background_latent, (3, side, side))
        if model.backgrounds > 1:
            self.background_encoder = Encoder(3, side, model.background_latent, smallest=1)
            self.choose_background = Choice(model.background_latent)
        self.owner: Tensor  # int64 (4,H,W)
        self.register_buffer("owner", owners(anchors, side), persistent=False)

    def optimizers(self, stage: Stage) -> list[tuple[Optimizer, LearningRate]]:
        """AdamW for the dictionary of backgrounds, and another one for all else."""
        settings = self.settings.optimizer
        rate, background_rate = settings.learning_rate, settings.background_learning_rate
        backgrounds = list(self.backgrounds.parameters())
        those = {id(parameter) for parameter in backgrounds}
        others = [parameter for parameter in self.parameters() if id(parameter) not in those]
        decay = settings.weight_decay
        return [
            (AdamW(others, rate, weight_decay=decay, fused=True), lambda progress: rate),
            (
                AdamW(backgrounds, background_rate, weight_decay=decay, fused=True),
                lambda progress: background_rate,
            ),
        ]

    def capture_key(self, progress: Progress) -> tuple[()]:
        """Every step does the same work."""
        return ()

    def training_loss(self, images: Tensor, progress: Progress) -> Losses:
        """Mean squared error, undecided sprites and presences, and the mean presence."""
        images = self.resolution.downsample(images)
        scene = self._scene(self.canvas.put(images))
        error = (self.canvas.crop(scene.painting.picture) - images).square().mean()
        undecided = (_beta_density(scene.weights).mean() + _beta_density(scene.presence).mean()) / 2
        presence = scene.presence.mean()
        loss = self.settings.loss
        total = error + loss.certainty * undecided + loss.presence * presence
        return Losses(total, {"reconstruction": error, "undecided": undecided, "presence": presence})

    def segment(self, images: Tensor, progress: Progress | None = None) -> Segmentation:
        """Plane 0 is the background; the anchors follow layer by layer, row by row."""
        scene = self._scene(self.canvas.put(self.resolution.downsample(images)))
        model = self.settings.model
        labels = most_seen(scene.painting.seen, scene.order, self.owner, model.layer_size**2)
        picture = self.resolution.upsample(self.canvas.crop(scene.painting.picture)[:, None])
        boxes, presence = self._boxes(scene.shift), scene.presence.flatten(1)
        return Segmentation(
            labels=self.resolution.repeat(self.canvas.crop(labels)),
            reconstruction=picture[:, 0],
            slots=box_slots(scene.weights.flatten(1, 3), boxes, presence),
            extras={"boxes": boxes, "presence": presence},
        )

    def _scene(self, images: Tensor) -> Scene:
        """Find the sprites of images (B,3,H,H) and paint them; the only random thing is the order of the groups."""
        codes = self.encoder(images)  # (B,L,n,n,D)
        grid = codes.shape[:-1]
        weights = self.choose(codes, self.sprites.codes())
        sprites = self.sprites.mixed(weights)  # (B,L,n,n,4,w,w)
        presence = self.presence(codes.flatten(0, 3)).sigmoid()  # (N,1)
        shown = image_windows(images, self.settings.model.layer_size)[:, None].expand(*grid, -1, -1, -1)
        seen = torch.cat([shown, sprites], dim=4).flatten(0, 3)
        shift = self.shift(self.window_encoder(seen).flatten(1)).tanh() / 2  # (N,2)
        windows = moved(presence[..., None, None] * sprites.flatten(0, 3), shift)
        order = self.normal(images, len(PARITIES)).argsort(1)
        canvases = in_order(group_canvases(torch.unflatten(windows, 0, grid)), order)
        painting = paint_over(self._background(images), canvases)
        return Scene(weights, presence.view(grid), shift.view(*grid, 2), order, painting)

    def _background(self, images: Tensor) -> Tensor:
        """The background (B,3,H,H): a mixture of the dictionary's, or the only one."""
        if self.settings.model.backgrounds == 1:
            return self.backgrounds.pictures().expand_as(images)
        codes = self.background_encoder(images).flatten(1)
        return self.backgrounds.mixed(self.choose_background(codes, self.backgrounds.codes()))

    def _boxes(self, shift: Tensor) -> Tensor:
        """The windows (B,N,4) of anchors with shifts (B,L,n,n,2), in fractions of the image."""
        anchors = self.settings.model.layer_size
        index = torch.arange(anchors, device=shift.device)
        place = torch.stack(torch.meshgrid(index, index, indexing="xy"), dim=-1)  # (n,n,2), x before y
        corner = (place - 0.5 + shift) / anchors
        boxes = torch.cat([corner, torch.full_like(corner, 2 / anchors)], dim=-1)
        return self.canvas.boxes(boxes.flatten(1, 3))


def _side(size: tuple[int, int], model: Model) -> int:
    """The side of the canvas; refuses what is not square, and cells that blocks of stride 2 do not reach."""
    height, width = size
    if height != width:
        expected = f"a side of at least {max(size)}, as images of {height}x{width} are not square"
        raise refusal("model.canvas", expected, model.canvas)
    cell, rest = divmod(height, model.layer_size)
    if rest or cell < 2 or cell & (cell - 1):
        expected = f"an even number that divides {height} into a power of two (2, 4, 8, ...)"
        raise refusal("model.layer_size", expected, model.layer_size)
    return height


def _beta_density(probability: Tensor) -> Tensor:
    """The density of Beta(2,2)."""
    inside = probability.clamp(CLAMP, 1 - CLAMP)
    return 6 * inside * (1 - inside)
