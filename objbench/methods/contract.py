"""What a method is given and gives: stages, progress, losses, segmentations, and steppers of its own."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Annotated, Any, Literal, Protocol, get_type_hints, runtime_checkable

import torch
from pydantic import ConfigDict, Field, TypeAdapter, ValidationError
from torch import Tensor

from objbench.errors import RequestError
from objbench.labels import hard_labels
from objbench.spec.explain import in_words, refusal
from objbench.spec.nested import as_yaml
from objbench.spec.settings import Count, Positive, Recipe

LearningRate = Callable[["Progress"], float]
Precision = Literal["fp32", "bf16"]
_OF_THE_RECIPE = ("batch_size", "precision")  # if a stage does not say them
_AS_IN_THE_RECIPE: Any = None
_FLOATS = (torch.float16, torch.float32, torch.float64)
_UNSIGNED = (torch.uint16, torch.uint32, torch.uint64)  # torch stores them and hardly computes with them
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

    def __post_init__(self) -> None:
        for name, value in vars(self).items():  # a number of numpy or torch is one of Python from here on
            object.__setattr__(self, name, as_yaml(value))

    def completed(self, recipe: Recipe) -> Stage:
        """The stage with the batch size and the precision of the recipe, if it has none of its own."""
        missing = {name: getattr(recipe, name) for name in _OF_THE_RECIPE if getattr(self, name) is None}
        return replace(self, **missing)

    def check_values(self) -> None:
        """Raise RequestError for a value of another type or out of its range, by the name of its field."""
        for name, kind in get_type_hints(Stage, include_extras=True).items():
            value = getattr(self, name)
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

    No part is named "total": the log has the total loss under that name.
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
        >>> import torch
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

    def plain(self) -> Segmentation:
        """The same without gradients, in types that numpy has and torch computes with: a bfloat16 becomes a float32, a
        uint16 an int64."""
        made: dict[str, Any] = {}
        for name, value in vars(self).items():
            if isinstance(value, Tensor):
                made[name] = _plain(value)
            elif isinstance(value, Mapping):
                made[name] = {key: _plain(tensor) for key, tensor in value.items()}
        return replace(self, **made)

    @property
    def prediction(self) -> Tensor:
        """Integer label map (B,H,W): the labels, or the arg-max of the masks."""
        if self.labels is not None:
            return self.labels
        assert self.masks is not None
        return hard_labels(self.masks)


def _plain(tensor: Tensor) -> Tensor:
    tensor = tensor.detach()
    if tensor.is_floating_point():
        return tensor if tensor.dtype in _FLOATS else tensor.float()
    return tensor.long() if tensor.dtype in _UNSIGNED else tensor


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
