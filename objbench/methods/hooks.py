"""What a method is given and what its hooks give, checked: `Method` wraps each hook of its subclasses in one of these.

The types of results are arguments, as `base`, which declares them, imports this.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import wraps
from typing import Any, TypeVar

from torch import Tensor
from torch.optim import Optimizer

from objbench.errors import ObjbenchError, RequestError

T = TypeVar("T")
_EXPECTED = {
    "segment": "Segmentation(masks=...) or Segmentation(labels=...)",
    "training_loss": "Losses(total)",
    "stages": "a list of Stage(...), [] if there is nothing to train",
    "optimizers": "a list of pairs (optimizer, learning rate as a function of progress)",
}


def of_batches(segment: Callable[..., Any], kind: type[T]) -> Callable[..., T]:
    """`segment` of a method, which refuses images that are no batch for it, and results that are no `kind`."""

    @wraps(segment)
    def checked(self: Any, images: Any, progress: Any = None) -> T:
        shape = ",".join(map(str, self.image_shape))
        expected = f"{type(self).__name__}.segment: expected float images in [0,1] of shape (B,{shape})"
        if not isinstance(images, Tensor):
            raise RequestError(f"{expected}, got {type(images).__name__}")
        dtype = str(images.dtype).removeprefix("torch.")
        if images.ndim != 4 or images.shape[1] != self.image_shape[0] or not images.is_floating_point():
            hint = ""
            if images.shape == self.image_shape:
                hint = "; images[None] is a batch of one"
            elif not images.is_floating_point():
                hint = "; images / 255 is float"
            raise RequestError(f"{expected}, got {dtype} {tuple(images.shape)}{hint}")
        return _given(self, "segment", segment(self, images, progress), kind)

    return checked


def of_losses(training_loss: Callable[..., Any], kind: type[T]) -> Callable[..., T]:
    """`training_loss` of a method, whose result must be a `kind` with a scalar and a mapping of its parts."""

    @wraps(training_loss)
    def checked(self: Any, images: Tensor, progress: Any) -> T:
        losses: Any = _given(self, "training_loss", training_loss(self, images, progress), kind)
        total, parts, name = losses.total, losses.parts, f"{type(self).__name__}.training_loss"
        if not isinstance(total, Tensor) or total.numel() != 1:
            found = f"shape {tuple(total.shape)}" if isinstance(total, Tensor) else type(total).__name__
            raise ObjbenchError(f"{name} gave a total of {found}: expected a scalar tensor")
        if not isinstance(parts, Mapping):
            raise ObjbenchError(
                f"{name} gave parts of the type {type(parts).__name__}: expected a mapping of names to scalar tensors"
            )
        return losses  # type: ignore[no-any-return]

    return checked


def of_stages(stages: Callable[..., Any], kind: type[T]) -> Callable[..., list[T]]:
    """`stages` of a method, whose result must be a list of this `kind`."""

    @wraps(stages)
    def checked(self: Any) -> list[T]:
        found: Sequence[Any] = _given(self, "stages", stages(self), list, tuple)
        return [_given(self, "stages", stage, kind) for stage in found]

    return checked


def of_pairs(optimizers: Callable[..., Any]) -> Callable[..., list[Any]]:
    """`optimizers` of a method, whose result must be a list of optimizers with their learning rates."""

    @wraps(optimizers)
    def checked(self: Any, stage: Any) -> list[Any]:
        pairs: Sequence[Any] = _given(self, "optimizers", optimizers(self, stage), list, tuple)
        for pair in pairs:
            if not (isinstance(pair, tuple | list) and len(pair) == 2 and _optimizes(*pair)):
                raise ObjbenchError(
                    f"{type(self).__name__}.optimizers gave a list with a {type(pair).__name__}: expected pairs "
                    "(optimizer, learning rate as a function of progress)"
                )
        return list(pairs)

    return checked


def _optimizes(optimizer: Any, learning_rate: Any) -> bool:
    return isinstance(optimizer, Optimizer) and callable(learning_rate)


def _given(method: Any, hook: str, found: Any, *expected: type[T]) -> T:
    """What a hook gave; ObjbenchError if it is of another type."""
    if not isinstance(found, expected):
        raise ObjbenchError(
            f"{type(method).__name__}.{hook} gave a {type(found).__name__}: expected {_EXPECTED[hook]}"
        )
    return found
