"""What a method is given and what its hooks give, checked: `Method` wraps each hook of its subclasses in one of `CHECKS`."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import wraps
from numbers import Real
from typing import Any, TypeVar

import torch
from torch import Tensor
from torch.optim import Optimizer

from objbench.errors import ObjbenchError, RequestError
from objbench.methods.contract import (
    LearningRate,
    Losses,
    Progress,
    Segmentation,
    Stage,
    Stepper,
    TrainingScenes,
)
from objbench.methods.segmentation_check import check_segmentation

T = TypeVar("T")
_EXPECTED = {
    "segment": "Segmentation(masks=...) or Segmentation(labels=...)",
    "training_loss": "Losses(total)",
    "stages": "a list of Stage(...), [] if there is nothing to train",
    "optimizers": "a list of pairs (optimizer, learning rate as a function of progress)",
    "stepper": "a Stepper, with advance, losses, state_dict and load_state_dict, or None",
}
_HOOKS = (*_EXPECTED, "setup", "after_step", "after_evaluation", "capture_key", "training_flops")


def of_the_method_itself(
    hook: str, given: Callable[..., Any], checked: Callable[..., Any]
) -> Callable[..., Any]:
    """A hook that is `checked` where it is the method's own; called by `super()` it is as `given`: that is no result yet."""

    @wraps(given)
    def called(self: Any, *arguments: Any, **named: Any) -> Any:
        return (checked if getattr(type(self), hook) is called else given)(self, *arguments, **named)

    return called


def check_signatures(method: Any, base: type[Any]) -> None:
    """Raise ObjbenchError if a hook of a method cannot be called with the arguments of that of `base`."""
    for hook in _HOOKS:
        _, *arguments = inspect.signature(getattr(base, hook)).parameters
        try:
            inspect.signature(getattr(method, hook)).bind(*arguments)
        except (TypeError, ValueError) as error:  # the latter of a class method without arguments
            raise ObjbenchError(
                f"{type(method).__name__}.{hook} is called with ({', '.join(arguments)}), which it does not take "
                f"({error}): write {hook}({', '.join(['self', *arguments])})"
            ) from None


def of_batches(segment: Callable[..., Any]) -> Callable[..., Segmentation]:
    """`segment` of a method, which refuses images that are no batch for it, and results that are no Segmentation."""

    @wraps(segment)
    def checked(self: Any, images: Any, progress: Progress | None = None) -> Segmentation:
        shape = ",".join(map(str, self.image_shape))
        expected = f"{type(self).__name__}.segment: expected float32 images in [0,1] of shape (B,{shape})"
        if not isinstance(images, Tensor):
            raise RequestError(f"{expected}, got {type(images).__name__}")
        dtype = str(images.dtype).removeprefix("torch.")
        if images.ndim != 4 or images.shape[1] != self.image_shape[0] or images.dtype != torch.float32:
            hint = ""
            if images.shape == self.image_shape:
                hint = "; images[None] is a batch of one"
            elif not images.is_floating_point():
                hint = "; images / 255 is float"
            elif images.dtype != torch.float32:
                hint = "; images.float() is"
            raise RequestError(f"{expected}, got {dtype} {tuple(images.shape)}{hint}")
        if type(images) is Tensor and images.numel():  # tensors of other types may have no values
            low, high = torch.stack(images.detach().aminmax()).tolist()
            if not 0 <= low <= high <= 1:
                raise RequestError(f"{expected}, got values from {low:g} to {high:g}")
        found = _given(self, "segment", segment(self, images, progress), Segmentation)
        check_segmentation(f"{type(self).__name__}.segment", found, images)
        return found

    return checked


def of_losses(training_loss: Callable[..., Any]) -> Callable[..., Losses]:
    """`training_loss` of a method, whose result must be Losses: a scalar and a mapping of names to its parts.

    Tensors of one value are made scalars, as steps put them together.
    Values are not read: for them a step would wait for the device.
    """

    @wraps(training_loss)
    def checked(self: Any, images: Tensor, progress: Progress) -> Losses:
        losses = _given(self, "training_loss", training_loss(self, images, progress), Losses)
        total, parts, name = losses.total, losses.parts, f"{type(self).__name__}.training_loss"
        if not _is_scalar(total):
            raise ObjbenchError(
                f"{name} gave a total of {_described(total)}: expected a scalar tensor of a real number"
            )
        if not isinstance(parts, Mapping):
            raise ObjbenchError(
                f"{name} gave parts of the type {type(parts).__name__}: expected a mapping of names to scalar tensors"
            )
        for key, part in parts.items():
            if not isinstance(key, str) or key == "total":
                raise ObjbenchError(
                    f"{name} gave a part of the name {key!r}: expected a word other than 'total', the loss's own name"
                )
            if not _is_scalar(part):
                raise ObjbenchError(
                    f"{name} gave the part '{key}' of {_described(part)}: expected a scalar tensor of a real number"
                )
        if torch.is_grad_enabled() and not total.requires_grad:
            raise ObjbenchError(
                f"{name} gave a total that depends on no parameter: expected one with a gradient, made without detach "
                "and no_grad"
            )
        if total.ndim or any(part.ndim for part in parts.values()):
            scalars = {key: part.reshape(()) for key, part in parts.items()}
            losses = replace(losses, total=total.reshape(()), parts=scalars)
        return losses

    return checked


def _is_scalar(value: Any) -> bool:
    return isinstance(value, Tensor) and value.numel() == 1 and not value.is_complex()


def _described(value: Any) -> str:
    if not isinstance(value, Tensor):
        return type(value).__name__
    return f"{'complex numbers of ' * value.is_complex()}shape {tuple(value.shape)}"


def of_stages(stages: Callable[..., Any]) -> Callable[..., list[Stage]]:
    """`stages` of a method, whose result must be a list of Stages, with sound values and different names."""

    @wraps(stages)
    def checked(self: Any) -> list[Stage]:
        name = f"{type(self).__name__}.stages"
        found: Sequence[Any] = _given(self, "stages", stages(self), list, tuple)
        complete = [_given(self, "stages", stage, Stage).completed(self.recipe) for stage in found]
        for stage in complete:
            try:
                stage.check_values()
            except RequestError as error:
                raise ObjbenchError(f"{name} gave a stage '{stage.name}' with {error}") from None
        names = [stage.name for stage in complete]
        if len(set(names)) < len(names):
            raise ObjbenchError(f"{name} gave stages whose names repeat: {', '.join(names)}")
        return complete

    return checked


def of_pairs(hook: Callable[..., Any]) -> Callable[..., list[tuple[Optimizer, LearningRate]]]:
    """`optimizers` of a method, whose result must be a list of optimizers with their learning rates.

    Each of their tensors must be a parameter of the method, and none may be in two of them. What the learning rates
    give is checked, too.
    """

    @wraps(hook)
    def checked(self: Any, stage: Stage) -> list[tuple[Optimizer, LearningRate]]:
        pairs: Sequence[Any] = _given(self, "optimizers", hook(self, stage), list, tuple)
        for pair in pairs:
            if not (isinstance(pair, tuple | list) and len(pair) == 2 and _optimizes(*pair)):
                raise ObjbenchError(
                    f"{type(self).__name__}.optimizers gave a list with a {type(pair).__name__}: expected pairs "
                    "(optimizer, learning rate as a function of progress)"
                )
        optimizers = [optimizer for optimizer, _ in pairs]
        _check_parameters(self, stage, optimizers)
        for optimizer in optimizers:
            _check_options(self, optimizer)
        return [(optimizer, _checked_rate(self, optimizer, rate)) for optimizer, rate in pairs]

    return checked


def _check_parameters(method: Any, stage: Stage, optimizers: list[Optimizer]) -> None:
    hook = f"{type(method).__name__}.optimizers"
    names = {id(p): name for name, p in method.named_parameters()}
    held = [p for optimizer in optimizers for group in optimizer.param_groups for p in group["params"]]
    if not held:
        raise ObjbenchError(
            f"{hook} gave no parameter for the stage '{stage.name}': give each that it trains to one optimizer"
        )
    seen: set[int] = set()
    for parameter in held:
        if id(parameter) not in names:
            raise ObjbenchError(
                f"{hook} gave a tensor of shape {tuple(parameter.shape)} that is no parameter of the method, and would "
                "not be saved: make it an nn.Parameter, or a part of an nn.Module, in __init__"
            )
        if id(parameter) in seen:
            raise ObjbenchError(
                f"{hook} gave the parameter '{names[id(parameter)]}' twice for the stage '{stage.name}': give it to one "
                "optimizer"
            )
        seen.add(id(parameter))


def _check_options(method: Any, optimizer: Optimizer) -> None:
    hook = f"{type(method).__name__}.optimizers"
    closure = inspect.signature(optimizer.step).parameters.get("closure")
    if closure is not None and closure.default is closure.empty:
        raise ObjbenchError(
            f"{hook} gave {type(optimizer).__name__}, whose step evaluates the loss anew (a closure): expected an optimizer "
            "that takes a step by the gradients alone"
        )
    for group in optimizer.param_groups:
        scale = group.get("lr_scale", 1.0)
        if not _is_rate(scale):
            raise ObjbenchError(
                f"{hook} gave a group with the lr_scale {scale!r}: expected a finite number >= 0"
            )
        if "lr_scale" in group:
            group["lr_scale"] = float(scale)


def _is_rate(value: Any) -> bool:
    return isinstance(value, Real) and math.isfinite(value) and float(value) >= 0


def _checked_rate(method: Any, optimizer: Optimizer, learning_rate: Callable[..., Any]) -> LearningRate:
    def checked(progress: Progress) -> float:
        rate = learning_rate(progress)
        if not _is_rate(rate):
            raise ObjbenchError(
                f"{type(method).__name__}.optimizers gave {type(optimizer).__name__} a learning rate of {rate!r} at step "
                f"{progress.step} of the stage '{progress.stage}': expected a finite number >= 0"
            )
        return float(rate)  # a number of numpy could not be read again from a checkpoint

    return checked


def of_stepper(stepper: Callable[..., Any]) -> Callable[..., Stepper | None]:
    """`stepper` of a method, whose result must be a Stepper or None."""

    @wraps(stepper)
    def checked(self: Any, scenes: TrainingScenes, stage: Stage) -> Stepper | None:
        found = stepper(self, scenes, stage)
        return None if found is None else _given(self, "stepper", found, Stepper)  # type: ignore[type-abstract]

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


CHECKS: dict[str, Callable[..., Any]] = {
    "segment": of_batches,
    "training_loss": of_losses,
    "stages": of_stages,
    "optimizers": of_pairs,
    "stepper": of_stepper,
}
