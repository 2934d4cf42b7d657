"""DTI-Sprites (Monnier, Vincent, Ponce and Aubry, ICCV 2021): images as layers of a few learned, transformed sprites.

K sprites with masks are parameters of the model. For each of L layers and each sprite, networks predict from the image how
the sprite is transformed in that layer; a greedy search finds the sprite of each layer, or none. What remains is a
reconstruction error: sprites that are found in many images become the objects.

Model, schedules and the renewal of sprites are those of the published code, on ClevrTex those of the ClevrTex benchmark.
Choices and deviations; values are in benchmarks.yaml:
- L is the number of slots less one. K is `model.sprites`, without the empty sprite.
- The networks of the empty sprite, which change nothing that is seen, are left out, and so are their parameters.
- The search computes the error of all sprites of a layer at once from three images; the published code composes the whole
  image for each (`selection.py`). The choice is the same.
- Homographies sample at the centres of pixels. The published code takes the outer edges for the outer centres, so that even
  the identity zooms and blurs.
- In the published code the encoder stands several times in the list of the optimizer's parameters: Adam steps it L + 1 + M
  times per iteration, M the number of backgrounds, where sprites and background have transformations (once on
  Tetrominoes). Here it has a learning rate `optimizer.encoder_scale` times as high, by default that number; 1 is what the
  paper says.
- The background begins with the mean of up to 1,024 images, that of the published code with the mean of 100.
- After a renewal each sprite has moments of its own; in the published code renewed ones share them for good. A sprite's
  colours keep their own.
- Schedules count `recipe.nominal_epochs` of the published length; a shorter training goes through all of them faster.
- Images of the training are given by steps, which are as many as the published epochs on the published sets.
- Which switches the ClevrTex benchmark used on ClevrTex is not known for certain: here colours of sprites, and projections
  of sprites and of the background ("complex" in its code).
- `segment` searches in the image itself, without noise. `masks` are soft, of the background and of each layer times what
  hides it; they do not sum to one where occlusions are predicted. `reassigned` is how the foreground of the published
  numbers was scored: labels by thresholds of one half, and each pixel of the background given to the layer with the nearest
  colour there, an empty one being a layer too. It has a definition of its own in reports.
- The slot of a layer says which sprite it has, one out of K + 1, and the numbers that the networks give for its
  transformations, for its colour and for its place: zeros where it has none, and for the background.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from pydantic import model_validator
from torch import Tensor, nn
from torch.nn.functional import adaptive_avg_pool2d, one_hot
from torch.optim import Adam, Optimizer

from objbench.methods.base import LearningRate, Losses, Method, Progress, Segmentation, Stage
from objbench.methods.dti_sprites.painting import Predicted, paint
from objbench.methods.dti_sprites.reassignment import renew, renew_colours, renewal
from objbench.methods.dti_sprites.resnets import resnet
from objbench.methods.dti_sprites.selection import (
    later_on_top,
    occlusions,
    planes,
    select,
    visible_labels,
    without_background,
)
from objbench.methods.dti_sprites.settings import Curriculum, Model, Optimization, Reassignment, Search
from objbench.methods.dti_sprites.transforms import (
    Regressors,
    TransformName,
    numbers_of,
    soft_clamp,
    transform,
)
from objbench.methods.parts.box_slots import box_slots
from objbench.methods.parts.precision import widened
from objbench.methods.parts.resolution import Resolution
from objbench.spec.explain import refusal


class Phase(NamedTuple):
    """What a step depends on besides its tensors."""

    frozen: bool  # sprites do not learn, no layer is empty
    late: bool  # all transformations are on


class DTISprites(Method):
    """Layers of learned sprites, each with a transformation predicted from the image."""

    class Settings(Method.Settings):
        """The keys of its block in benchmarks.yaml."""

        model: Model
        search: Search
        curriculum: Curriculum
        reassignment: Reassignment
        optimizer: Optimization

        @model_validator(mode="after")
        def _in_time(self) -> DTISprites.Settings:
            epochs = self.recipe.nominal_epochs
            limits = [
                ("frozen_epochs", self.curriculum.frozen_epochs),
                ("late_epoch", self.curriculum.late_epoch),
            ]
            for name, value in limits:
                if value >= epochs:
                    raise refusal(f"curriculum.{name}", f"less than recipe.nominal_epochs={epochs}", value)
            return self

    settings: Settings

    def __init__(self, image_shape: tuple[int, int, int], slots: int, settings: Settings) -> None:
        super().__init__(image_shape, slots, settings)
        if slots < 2:
            raise refusal("slots", "at least 2, the background and a layer", slots)
        model, self.layers = settings.model, slots - 1
        self.resolution = Resolution(image_shape, model.resolution)
        self.encoder, channels = resnet(model.encoder)
        features, groups = channels * model.pool**2, (self.layers, model.sprites)
        shape = (model.sprites, 3, model.sprite_size, model.sprite_size)
        self.colours = nn.Parameter(torch.full(shape, model.sprite_color))
        self.alpha = nn.Parameter(
            _bump(model.sprite_size, model.mask_deviation).repeat(model.sprites, 1, 1, 1)
        )

        def regressors(numbers: int, groups: tuple[int, ...]) -> Regressors:
            return Regressors(features, model.hidden, numbers, groups)

        self.early = nn.ModuleList(regressors(numbers_of(name), groups) for name in model.early)
        self.late = nn.ModuleList(regressors(numbers_of(name), groups) for name in model.late)
        self.color, self.position = (
            regressors(numbers_of(name), (self.layers,)) for name in ("color", "position")
        )
        self.background = (
            None
            if model.background == "black"
            else nn.Parameter(torch.full((1, 3, *self.resolution.size), 0.5))
        )
        self.background_regressors = nn.ModuleList(
            regressors(numbers_of(name), (1,)) for name in model.background_transforms
        )
        pairs = self.layers * (self.layers - 1) // 2
        predicted = model.occlusion == "predicted" and pairs > 0
        self.occlusion = regressors(pairs, (1,)) if predicted else None
        self.usage: Tensor  # (L,K+1): how often each sprite was chosen since the last renewal, in batches
        self.register_buffer("usage", torch.zeros(self.layers, model.sprites + 1))

    def setup(self, images: Tensor, stage: Stage) -> None:
        """Begin with the mean of the images as the background, if that is asked for."""
        self.usage.zero_()
        if self.background is not None and self.settings.model.background == "mean":
            self.background.copy_(self.resolution.downsample(images).mean(0, keepdim=True))

    def optimizers(self, stage: Stage) -> list[tuple[Optimizer, LearningRate]]:
        """An Adam for what is seen, whose rate does not fall, and one for the networks."""
        o = self.settings.optimizer
        painted = [self.colours, self.alpha, *([] if self.background is None else [self.background])]
        encoder = list(self.encoder.parameters())
        others = {id(parameter) for parameter in (*painted, *encoder)}
        networks: list[dict[str, Any]] = [
            {"params": encoder, "lr_scale": o.encoder_scale or self._times_listed()},
            {"params": [parameter for parameter in self.parameters() if id(parameter) not in others]},
        ]

        def warm(progress: Progress) -> float:
            return o.learning_rate * (min(1.0, progress.step / o.warmup_steps) if o.warmup_steps else 1.0)

        def falling(progress: Progress) -> float:
            passed = sum(progress.nominal_epoch >= milestone for milestone in o.milestones)
            return float(warm(progress) * o.factor**passed)

        return [
            (Adam(painted, o.learning_rate, fused=True), warm),
            (Adam(networks, o.learning_rate, weight_decay=o.weight_decay, fused=True), falling),
        ]

    def _times_listed(self) -> float:
        """How often the encoder stands in the published optimizer's list: once, and once for each user of its features."""
        model = self.settings.model
        sprites = self.layers if model.early or model.late else 0
        return 1.0 + sprites + bool(model.background_transforms)

    def capture_key(self, progress: Progress) -> Phase:
        """Steps change when sprites begin to learn and when the late transformations begin."""
        return self._phase(progress)

    def training_loss(self, images: Tensor, progress: Progress) -> Losses:
        """Mean squared error of the image that the best sprites make."""
        images, phase = self.resolution.downsample(images), self._phase(progress)
        predicted = self._predict(images, phase)
        unit = torch.rand(
            len(self.colours), 1, *self.resolution.size, dtype=images.dtype, device=images.device
        )
        noise = self.settings.search.noise * (2 * unit - 1)
        with torch.no_grad():
            chosen = self._choose(images, predicted, phase, noise)
            kinds = torch.arange(self.usage.shape[1], device=images.device)
            self.usage += self.over_batch((chosen[..., None] == kinds).float().mean(0))
        colours, masks = self._paint_chosen(predicted, chosen, phase, noise)
        weights = planes(masks, predicted.hides)
        picture = weights[:, 0] * predicted.background + (weights[:, 1:] * colours).sum(1)
        error = (images - picture).square().mean()
        return Losses(error, {"objects": (chosen < len(self.colours)).sum(1).float().mean()})

    def after_step(self, progress: Progress, losses: Losses, optimizers: list[Optimizer]) -> None:
        """From time to time, renew the sprites that one of the layers, any, hardly used."""
        r = self.settings.reassignment
        if (progress.step + 1) % r.interval:
            return
        if not self._phase(progress).frozen:
            layer = torch.randint(self.layers, (1,), device=self.usage.device)
            usage = self.usage.index_select(0, layer)[0]
            found = renewal(usage, r.threshold, has_empty=self.settings.search.empty_cost is not None)
            renew_colours(self.colours, found, r.noise)
            renew(self.alpha, found.source, 0, optimizers)
            for module in (*self.early, *self.late):
                for parameter in module.parameters():
                    renew(parameter, found.source, 1, optimizers)
        self.usage.zero_()

    def segment(self, images: Tensor, progress: Progress | None = None) -> Segmentation:
        """The background, then the layers in their order; nothing is random."""
        small, phase = self.resolution.downsample(images), self._phase(progress)
        predicted = self._predict(small, phase)
        chosen = self._choose(small, predicted, phase)
        colours, masks = self._paint_chosen(predicted, chosen, phase)
        weights = planes(masks, predicted.hides)
        components = torch.cat([predicted.background[:, None], colours], dim=1)
        picture = (weights * components).sum(1, keepdim=True)
        weights, components, masks, picture = (
            self.resolution.upsample(part) for part in (weights, components, masks, picture)
        )
        labels = visible_labels(masks, predicted.hides)
        kinds = one_hot(chosen, len(self.colours) + 1)
        some = (chosen < len(self.colours))[..., None]
        of_sprite = [values.squeeze(2) for _, values in self._of(chosen, predicted)]
        numbers = [torch.where(some, n, 0.0) for n in (*of_sprite, predicted.color, predicted.position)]
        return Segmentation(
            masks=weights.squeeze(2),
            partition=self.occlusion is None,
            reconstruction=picture.squeeze(1),
            components=components,
            slots=box_slots(kinds, *numbers),
            alternatives={"reassigned": without_background(labels, components[:, 1:], images)},
            extras={"sprites": chosen},
        )

    def _phase(self, progress: Progress | None) -> Phase:
        if progress is None:
            return Phase(frozen=False, late=True)
        curriculum, epoch = self.settings.curriculum, progress.nominal_epoch
        return Phase(epoch < curriculum.frozen_epochs, epoch >= curriculum.late_epoch)

    def _predict(self, images: Tensor, phase: Phase) -> Predicted:
        """What the networks say about images (B,3,H,W) of the working size."""
        model = self.settings.model
        features = adaptive_avg_pool2d(self.encoder(images), model.pool).flatten(1)
        sprites = list(zip(model.early, self.early, strict=True))
        if phase.late:
            sprites += zip(model.late, self.late, strict=True)
        if self.occlusion is None:
            hides = later_on_top(self.layers, images).expand(len(images), -1, -1)
        else:
            hides = occlusions(self.occlusion(features)[:, 0].sigmoid(), self.layers)
        return Predicted(
            sprites=[(name, network(features)) for name, network in sprites],
            color=self.color(features),
            position=self.position(features),
            hides=hides,
            background=self._backdrop(images, features),
        )

    def _backdrop(self, images: Tensor, features: Tensor) -> Tensor:
        """The background (B,3,H,W)."""
        if self.background is None:
            return torch.zeros_like(images)
        backdrop = soft_clamp(self.background).expand(len(images), -1, -1, -1)
        for name, network in zip(
            self.settings.model.background_transforms, self.background_regressors, strict=True
        ):
            backdrop = transform(name, backdrop, network(features)[:, 0], self.resolution.size, "border")
        return backdrop

    def _choose(
        self, images: Tensor, predicted: Predicted, phase: Phase, noise: Tensor | None = None
    ) -> Tensor:
        """The sprite of each layer, (B,L), K for none; without gradients."""
        search, size = self.settings.search, self.resolution.size
        sprites = self._sprites(noise is not None).detach().expand(len(images), 1, -1, -1, -1, -1)

        def painted(layer: int) -> tuple[Tensor, Tensor]:
            of_layer = predicted.of_layer(layer)
            colours, masks = paint(sprites, of_layer.sprites, of_layer, noise, size)
            return colours[:, 0], masks[:, 0]

        empty = None if phase.frozen else search.empty_cost
        return select(
            widened(images),
            painted,
            predicted.hides,
            predicted.background,
            rounds=search.rounds,
            empty=empty,
        )

    def _paint_chosen(
        self, predicted: Predicted, chosen: Tensor, phase: Phase, noise: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Colours (B,L,3,H,W) and masks (B,L,1,H,W) of the chosen sprites (B,L)."""
        count = len(self.colours)
        index = chosen.clamp(max=count - 1)
        sprites = self._sprites(noise is not None)
        sprites = (sprites.detach() if phase.frozen else sprites)[index][:, :, None]
        own = None if noise is None else noise[index][:, :, None]
        colours, masks = paint(sprites, self._of(chosen, predicted), predicted, own, self.resolution.size)
        some = (chosen < count)[..., None, None, None]
        return colours.squeeze(2), torch.where(some, masks.squeeze(2), 0.0)

    def _of(self, chosen: Tensor, predicted: Predicted) -> list[tuple[TransformName, Tensor]]:
        """The transformations of the chosen sprites (B,L), with numbers (B,L,1,*); those of any sprite where none is."""
        index = chosen.clamp(max=len(self.colours) - 1)[..., None, None]
        return [
            (name, numbers.gather(2, index.expand(-1, -1, 1, numbers.shape[3])))
            for name, numbers in predicted.sprites
        ]

    def _sprites(self, noisy: bool) -> Tensor:
        """Colours and masks of the sprites, (K,4,s,s); with noise (K,5,s,s), masks as they are and a plane of ones."""
        colours = soft_clamp(self.colours)
        alpha = [self.alpha, torch.ones_like(self.alpha)] if noisy else [soft_clamp(self.alpha)]
        return torch.cat([colours, *alpha], dim=1)


def _bump(side: int, deviation: float) -> Tensor:
    """A Gaussian (1,1,side,side) around the middle, where it is 1."""
    place = torch.arange(side) - (side - 1) / 2
    line = (-0.5 * (place / deviation).square()).exp()
    return (line[:, None] * line)[None, None]
