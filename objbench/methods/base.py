"""The method contract: what a model and its training recipe must offer, with a do-nothing default for the rest."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Annotated, Any, Literal, Protocol, get_type_hints, runtime_checkable

import torch
from pydantic import ConfigDict, Field, TypeAdapter, ValidationError
from torch import Tensor, nn
from torch.optim import Optimizer

from objbench.errors import ObjbenchError, RequestError
from objbench.labels import hard_labels
from objbench.methods import hooks
from objbench.metrics.contingency import MAX_PLANES
from objbench.random import normal
from objbench.ranks.share import Share
from objbench.spec.explain import in_words, refusal
from objbench.spec.nested import as_yaml
from objbench.spec.settings import Count, Group, Positive, Recipe

LearningRate = Callable[["Progress"], float]
Precision = Literal["fp32", "bf16"]
_TO_LEARN = "write training_loss and optimizers, or let stages() return []"
_OF_THE_RECIPE = ("batch_size", "precision")  # if a stage does not say them
_AS_IN_THE_RECIPE: Any = None
_STRICT = ConfigDict(strict=True, allow_inf_nan=False)


@dataclass(frozen=True)
class Stage:
    """One part of a training: its length in steps or in epochs (exactly one), batches, clipping, precision.

    Its values have the types and ranges that those of a Recipe have.

    Attributes:
        batch_size: if it is not given, recipe.batch_size of the method whose stage it is.
        precision: likewise recipe.precision.
        clip_norm: the largest norm of all gradients together; None: no clipping.
        clip_order: which norm that is: 2, the Euclidean one; infinity, the largest absolute value of a gradient.
    """

    name: str
    steps: Count | None = None
    epochs: Count | None = None
    batch_size: Count = _AS_IN_THE_RECIPE
    clip_norm: Positive | None = None
    precision: Precision = _AS_IN_THE_RECIPE
    clip_order: Annotated[Positive, Field(allow_inf_nan=True)] = 2.0

    def completed(self, recipe: Recipe) -> Stage:
        """The stage with the batch size and the precision of the recipe, if it has none of its own."""
        missing = {name: getattr(recipe, name) for name in _OF_THE_RECIPE if getattr(self, name) is None}
        return replace(self, **missing)

    def check_values(self) -> None:
        """Raise RequestError for a value of another type or out of its range, by the name of its field."""
        for name, kind in get_type_hints(Stage, include_extras=True).items():
            value = as_yaml(getattr(self, name))  # a number of numpy is one
            try:
                TypeAdapter(kind, config=_STRICT).validate_python(value)
            except ValidationError:
                raise refusal(name, in_words(kind).replace("null", "None"), value) from None

    def check_length(self) -> None:
        """Raise RequestError unless it has either steps or epochs."""
        if (self.steps is None) == (self.epochs is None):
            raise RequestError(
                f"stage '{self.name}' needs either steps or epochs: set recipe.steps or recipe.epochs, such as "
                "--set recipe.steps=1000"
            )


@dataclass(frozen=True)
class Progress:
    """How far a training is: before step `step` (0-based) of the `steps` of `stage`.

    Attributes:
        epoch: number of this pass over the training images in this stage, 0-based.
        nominal_epochs: of the whole training, recipe.nominal_epochs.
    """

    stage: str
    step: int
    steps: int
    epoch: int
    nominal_epochs: int

    @property
    def fraction(self) -> float:
        """The part of the stage that is done, in [0,1]; 1 where its last step is done, as in its last evaluation."""
        return self.step / self.steps

    @property
    def nominal_epoch(self) -> int:
        """step * nominal_epochs // steps, 0-based; after the last step it stays nominal_epochs - 1.

        Schedules that count epochs use it, so that a shortened recipe is a faithful miniature of the whole one.
        """
        return min(self.step * self.nominal_epochs // self.steps, self.nominal_epochs - 1)


@dataclass(frozen=True)
class Losses:
    """`total` is what is minimised; `parts` are its named terms, for the log. All scalar tensors.

    No part is named "total", which the log has of the loss itself.
    """

    total: Tensor
    parts: Mapping[str, Tensor] = field(default_factory=dict)


@dataclass(frozen=True, repr=False)
class Segmentation:
    """The output of a method for B images: either soft `masks` or hard `labels`, and what else it has.

    Attributes:
        masks: float (B,M,H,W), M the method's own number of planes; scored by arg-max, lowest index on ties.
        labels: integers (B,H,W), 0..M-1.
        partition: whether the masks sum to one (False: SPAIR*, GNM, whose 1 - sum may be slightly below 0).
        reconstruction: (B,3,H,W) in image units [0,1], not clamped.
        components: (B,M,3,H,W), the image of each plane before it is masked.
        slots: (B,M,D), what is known of each plane; `objbench probe` reads it.
        attention: (B,M,h,w).
        alternatives: other readings of the same output by name, each soft masks (B,*,H,W) or labels (B,H,W) as above.
            They are scored too and reported as rows of their own: SPAIR*, SPACE and GNM give as "composited" the weights
            that really multiply the pixels.
        extras: anything else worth keeping, by name. A method of N boxes gives "boxes" (B,N,4), left, top, width and
            height in fractions of the image; "presence" (B,N) in [0,1]; "depth" (B,N), the smaller the nearer. Its plane
            0 is the background and plane i + 1 belongs to box i. Pictures and the gallery draw the boxes, and an
            evaluation counts those that are present. A method whose learning rate follows its loss on val gives "loss" (B,)
            where `segment` is told the progress of a training; an evaluation then averages it under this name.

    Example:
        >>> found = Segmentation(masks=torch.tensor([[[[0.9, 0.2]], [[0.1, 0.8]]]]))
        >>> found
        Segmentation(masks (1, 2, 1, 2))
        >>> found.prediction.tolist()
        [[[0, 1]]]
    """

    masks: Tensor | None = None
    labels: Tensor | None = None
    partition: bool = True
    reconstruction: Tensor | None = None
    components: Tensor | None = None
    slots: Tensor | None = None
    attention: Tensor | None = None
    alternatives: Mapping[str, Tensor] = field(default_factory=dict)
    extras: Mapping[str, Tensor] = field(default_factory=dict)

    def __repr__(self) -> str:
        named = {name: value for name, value in vars(self).items() if isinstance(value, Tensor)}
        named |= {
            f"{kind}.{name}": value
            for kind in ("alternatives", "extras")
            for name, value in getattr(self, kind).items()
        }
        shapes = [f"{name} {tuple(value.shape)}" for name, value in named.items()]
        return f"Segmentation({', '.join(shapes)}{'' if self.partition else '; no partition'})"

    @property
    def prediction(self) -> Tensor:
        """Integer label map (B,H,W): the labels, or the arg-max of the masks."""
        if self.labels is not None:
            return self.labels
        assert self.masks is not None
        return hard_labels(self.masks)


class TrainingScenes(Protocol):
    """The training data of a stepper: all images on the device, and which of them make each batch."""

    images: Tensor  # uint8 (N,3,H,W)

    def batch(self, step: int) -> Tensor:
        """Indices int64 (B,) into `images` of the batch of `step`, on their device."""

    def reseed(self, step: int) -> None:
        """Set the default random generators to the state that `step` starts from."""

    def progress(self, step: int) -> Progress:
        """The progress before `step`."""


@runtime_checkable
class Stepper(Protocol):
    """A training step of a method's own, such as a captured CUDA graph, with the results of the plain one."""

    def advance(self, steps: int) -> None:
        """Take `steps` training steps, updating the method in place."""

    def losses(self) -> dict[str, float]:
        """The losses of the last step, with `total`."""

    def state_dict(self) -> dict[str, Any]:
        """All state outside the method itself: optimizers, position."""

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from a `state_dict`."""


class Method(nn.Module):
    """Base class of every method. A method must write `segment`, and to learn `training_loss` and `optimizers`.

    The class `Settings` declares every key of the method's block in benchmarks.yaml with its type, range and meaning;
    the values are in the yaml alone. The base class has the recipe that all methods share, which is enough for a
    method without keys of its own. A method with keys declares a subclass of the same name; the annotation tells type
    checkers:

        class Settings(Method.Settings):
            model: Model

        settings: Settings

    All mutable state is in parameters, buffers or get_extra_state, which have their names and shapes from `__init__` on, so
    that what is saved can be loaded; `setup` may change values. Random numbers come from torch's default generators,
    which the trainer reseeds before each step, and in `segment` from `self.normal`.

    A run can be shared by several processes (torchrun), each with a part of every batch. Then a loss and each of its
    parts has to be a mean over images; random numbers of an image come from `self.normal` or `self.drawn`, and what
    `training_loss` keeps in buffers goes through `self.over_batch`. What is drawn otherwise is the same in all processes.
    Batch norms and dropout are shared by the trainer; other kinds of dropout (nn.Dropout2d, that within
    nn.MultiheadAttention) are refused there.

    Args:
        image_shape: (3,H,W).
        slots: K, the number of slots, equal to `settings.slots`; a method may have another number of planes.
        settings: the hyper-parameters for the dataset, as in `settings.model.width`.

    Attributes:
        frozen: names of the parameters that never receive a gradient.
        any_slots: whether a trained model can segment with another number of slots than it was trained with. Its state
            has the same names and shapes for every K, and `segment` gives `self.slots` planes.
    """

    class Settings(Group):
        """The hyper-parameters of a method: its block in benchmarks.yaml, and the number of slots."""

        slots: Annotated[int, Field(ge=1, le=MAX_PLANES)] = Field(
            description="K, the number of slots; if nothing sets it, that of the dataset"
        )
        recipe: Recipe

    settings: Settings
    frozen: tuple[str, ...] = ()
    any_slots: bool = False

    def __init_subclass__(cls, **options: Any) -> None:
        """Make the hooks of every method refuse what is no batch of images, and tell when they give something else."""
        super().__init_subclass__(**options)
        checks: dict[str, Callable[..., Any]] = {
            "segment": partial(hooks.of_batches, kind=Segmentation),
            "training_loss": partial(hooks.of_losses, kind=Losses),
            "stages": partial(hooks.of_stages, kind=Stage),
            "optimizers": hooks.of_pairs,
            "stepper": partial(hooks.of_stepper, kind=Stepper),  # type: ignore[type-abstract]
        }
        for hook, check in checks.items():
            owner = next(base for base in cls.__mro__ if hook in base.__dict__)
            if owner is cls or not issubclass(owner, Method):  # else it is checked already
                given = getattr(cls, hook)
                setattr(cls, hook, hooks.of_the_method_itself(hook, given, check(given)))

    def __init__(self, image_shape: tuple[int, int, int], slots: int, settings: Settings) -> None:
        super().__init__()
        self.image_shape, self.slots, self.settings = image_shape, slots, settings
        self._image_seeds: Tensor | None = None
        self._draws = 0
        self._share: Share | None = None

    @property
    def recipe(self) -> Recipe:
        """How the method is trained and evaluated."""
        return self.settings.recipe

    def stages(self) -> list[Stage]:
        """The parts of the training, [] if there is nothing to train. Default: one stage, as in the recipe."""
        r = self.recipe
        return [Stage("train", r.steps, r.epochs, r.batch_size, r.clip_norm, r.precision)]

    def setup(self, images: Tensor, stage: Stage) -> None:
        """Called at the start of a stage, under no_grad, with a seeded sample of training images.

        It is not called again when a stage is resumed: state and `requires_grad` of all parameters are restored
        instead.

        Args:
            images: float (n,3,H,W) in [0,1].
            stage: the stage that begins.
        """

    def optimizers(self, stage: Stage) -> list[tuple[Optimizer, LearningRate]]:
        """The optimizers of a stage, each with its learning rate as a function of progress. Called after `setup`.

        They are zeroed, clipped jointly and stepped together. A parameter group may scale the rate by "lr_scale". Their
        tensors are parameters of the method, each in no more than one of them. A learning rate is finite and >= 0.
        """
        raise ObjbenchError(f"{type(self).__name__} has stages but no optimizers: {_TO_LEARN}")

    def training_loss(self, images: Tensor, progress: Progress) -> Losses:
        """The loss of a batch: images float (B,3,H,W) in [0,1]."""
        raise ObjbenchError(f"{type(self).__name__} has stages but no training_loss: {_TO_LEARN}")

    def after_step(self, progress: Progress, losses: Losses, optimizers: list[Optimizer]) -> None:
        """Called after each step: for GECO, temperatures, changes of parameters and optimizer state."""

    def after_evaluation(self, progress: Progress, metrics: Mapping[str, float]) -> None:
        """Called after each evaluation on val: for plateau schedules and restarts."""

    def segment(self, images: Tensor, progress: Progress | None = None) -> Segmentation:
        """Segment float images (B,3,H,W) in [0,1]; progress None = end of training.

        Called in eval() under no_grad, never inference_mode: a method may enable gradients inside.

        Raises:
            RequestError: `images` is no such batch. The base class checks it for every subclass.
        """
        raise ObjbenchError(f"{type(self).__name__} does not say how to segment: write segment")

    def capture_key(self, progress: Progress) -> Hashable | None:
        """What a captured training step (a CUDA graph) depends on: it is replayed while the key stays the same.

        None: steps cannot be captured. (): all steps do the same work.

        Steps of equal keys do the same work on tensors of the same shapes: every Python number in `training_loss` is a
        function of the key, its random numbers come from the default generator of the device, and nothing in it waits
        for the device. Optimizers must be of a kind with `capturable` (Adam, AdamW, RMSprop). `after_step` may change
        parameters and optimizer state in place, but may not replace their tensors. In bf16 the weights of linear and
        convolution layers are bfloat16 in a captured step: where autocast is off, cast their inputs.
        """
        return None

    def stepper(self, scenes: TrainingScenes, stage: Stage) -> Stepper | None:
        """The method's own training step for this stage.

        None: the captured one if `capture_key` allows it and the scenes are on a CUDA device, else the plain one.
        """
        return None

    def training_flops(self, progress: Progress) -> int | None:
        """The operations of one image in a training step, for the MFU, where they change with progress.

        None: they are counted once, on `training_loss`.
        """
        return None

    def image_seeds(self, batch: int) -> Tensor:
        """A seed for each image, int64 (batch,) on the CPU.

        In `segment` it is a function of the run's seed and the sample key; elsewhere from the default generator.
        """
        if self._image_seeds is None:
            return self.drawn(batch, lambda count: torch.randint(2**62, (count,)))
        if len(self._image_seeds) != batch:
            raise ValueError(f"asked for the seeds of {batch} images in a batch of {len(self._image_seeds)}")
        return self._image_seeds

    def normal(self, images: Tensor, *shape: int) -> Tensor:
        """Standard normal numbers (B,*shape) for a batch of images (B,...), on their device.

        In `segment` they are drawn per image from its (seed, key), so that neither the batch size nor the other images
        change a result; in training from the default generator.
        """
        if self._image_seeds is None:
            return self.drawn(len(images), lambda count: torch.randn(count, *shape, device=images.device))
        self._draws += 1
        return normal(self.image_seeds(len(images)).to(images.device), self._draws, shape)

    def drawn(self, count: int, draw: Callable[[int], Tensor]) -> Tensor:
        """The random numbers of `count` rows in training, whose images come first, from a default generator.

        Where several processes share a batch, each draws for all of it and takes its part, so that an image has the
        numbers that it has in one process.

        Args:
            count: number of images, or a multiple of it.
            draw: gives the numbers of so many rows, such as `lambda count: torch.rand(count, 3)`.
        """
        return draw(count) if self._share is None else self._share.drawn(count, draw)

    def over_batch(self, mean: Tensor) -> Tensor:
        """In training, the mean over the whole batch, from the mean over the images that this process has of it.

        It has no gradient, and costs an exchange between the processes; in one process it is `mean` itself.
        """
        return mean if self._share is None else self._share.over_batch(mean)

    def share_batches(self, share: Share | None) -> None:
        """Called by the trainer where several processes share the batches of a stage, in the end with None."""
        self._share = share

    def seed_images(self, seeds: Tensor | None) -> None:
        """Called by the evaluator before `segment` with the seeds int64 (B,) of its images, in the end with None."""
        self._image_seeds, self._draws = seeds, 0
