"""Checks of training: losses, gradients, determinism, going on after a stop, captured steps, devices."""

from __future__ import annotations

import contextlib
import functools
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy
from torch.optim import Optimizer

from objbench.errors import first_few
from objbench.methods.base import Method, Precision, Progress, Stage
from objbench.testing.kit import BATCH, STEPS, TOLERANCE, Kit, demand, demand_equal, device_of, same
from objbench.train.batches import StageScenes
from objbench.train.cuda_graph import CudaGraphStepper
from objbench.train.log import read_log
from objbench.train.loop import Training
from objbench.train.plain import PlainStepper

ROUNDING = 0.05  # how far a loss may be off in bfloat16, of itself or of 1
_ROUNDING_SHARE = 1e-6  # of the largest gradient: what rounding leaves where the true gradient is zero


def check_optimizers(kit: Kit) -> None:
    """Every parameter that is not listed in `frozen` has an optimizer in some stage.

    `Method` checks that in each stage it has no more than one.
    """
    method = kit.method()
    held: set[int] = set()
    for _, optimizers in _stages(kit, method):
        held |= {
            id(p) for optimizer in optimizers for group in optimizer.param_groups for p in group["params"]
        }
    without = [name for name, parameter in method.named_parameters() if id(parameter) not in held]
    forgotten = sorted(set(without) - _frozen(method))
    demand(
        not forgotten,
        f"no optimizer of any stage has {first_few(forgotten)}: give them to one, or list them in `frozen`",
    )


def check_losses(kit: Kit) -> None:
    """The first loss of each stage and its parts are finite scalars, made of parameters that the method has."""
    method = kit.method()
    images = kit.images[:BATCH].float() / 255
    for stage, _ in _stages(kit, method):
        progress = Progress(stage.name, 0, STEPS, 0, method.recipe.nominal_epochs)
        losses = method.training_loss(images, progress)
        for name, value in {"total": losses.total, **losses.parts}.items():
            what = f"loss '{name}' of stage '{stage.name}'"
            demand(bool(value.isfinite()), f"{what} is {value.item()}")
        known = {id(parameter) for parameter in method.parameters()}
        strange = [str(tuple(p.shape)) for p in _parameters_in(losses.total) if id(p) not in known]
        demand(
            not strange,
            f"training_loss uses parameters that the method does not have, of shape {first_few(strange)}: "
            "make them its attributes, lists of modules an nn.ModuleList",
        )


def _parameters_in(loss: Tensor) -> Iterator[nn.Parameter]:
    """The parameters that a loss was made of, each once."""
    seen, ahead = set(), [loss.grad_fn]
    while ahead:
        node = ahead.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        ahead += [before for before, _ in node.next_functions]
        variable = getattr(node, "variable", None)
        if isinstance(variable, nn.Parameter):
            yield variable


def _stages(kit: Kit, method: Method) -> Iterator[tuple[Stage, list[Optimizer]]]:
    """Each stage, set up, with its optimizers."""
    images = kit.images[:BATCH].float() / 255
    for stage in kit.stages:
        with torch.no_grad():
            method.setup(images, stage)
        yield stage, [optimizer for optimizer, _ in method.optimizers(stage)]


def _frozen(method: Method) -> set[str]:
    """What `frozen` lists; ContractError unless these are parameters."""
    frozen, names = method.frozen, [name for name, _ in method.named_parameters()]
    listed = isinstance(frozen, tuple | list | set | frozenset) and all(isinstance(n, str) for n in frozen)
    demand(listed, f"`frozen` is {frozen!r}: expected a tuple of names of parameters")
    unknown = sorted(set(frozen) - set(names))
    demand(not unknown, f"`frozen` lists {first_few(unknown)}: no parameter of that name")
    return set(frozen)


def check_gradients(kit: Kit) -> None:
    """A gradient reaches every parameter that is not listed in `frozen`, and none of those that are."""
    method = kit.method()
    if any(map(is_lazy, method.parameters())):
        kit.segment(method)  # which makes the parameters of lazy layers
    reached: set[str] = set()
    for name, parameter in method.named_parameters():
        hook = functools.partial(_note_gradient, name=name, reached=reached)
        learns = parameter.requires_grad  # a stage's setup may switch it on
        parameter.requires_grad_(True).register_post_accumulate_grad_hook(hook)  # type: ignore[no-untyped-call]
        parameter.requires_grad_(learns)
    with tempfile.TemporaryDirectory() as folder:
        kit.train(Path(folder), method)
    frozen = _frozen(method)
    missing = {name for name, _ in method.named_parameters()} - reached - frozen
    promise = (
        f"no gradient ever reaches {', '.join(sorted(missing)[:5])}: list them in `frozen` if that is meant"
    )
    demand(not missing, promise)
    both = sorted(reached & frozen)
    demand(not both, f"listed as frozen, yet a gradient arrives: {', '.join(both)}")


def check_determinism(kit: Kit) -> None:
    """Two trainings with the same seed give the same state and the same log."""
    with tempfile.TemporaryDirectory() as one, tempfile.TemporaryDirectory() as two:
        first, second = kit.train(Path(one)), kit.train(Path(two))
        _demand_same_run(first, second, Path(one), Path(two), "two equal trainings differ")


def check_resume(kit: Kit) -> None:
    """A training that was stopped and went on ends as one without a stop."""
    with tempfile.TemporaryDirectory() as one, tempfile.TemporaryDirectory() as two:
        whole = kit.train(Path(one))
        broken = Training(kit.method(), kit.images, 0, Path(two), validate=kit.validate)
        with contextlib.suppress(_Stopped):
            broken.run(_stop_after(STEPS // 2 + 1))
        resumed = kit.train(Path(two))
        _demand_same_run(whole, resumed, Path(one), Path(two), "a resumed training differs from a whole one")


def _demand_same_run(one: Method, two: Method, folder_one: Path, folder_two: Path, promise: str) -> None:
    state = two.state_dict()
    differs = [name for name, value in one.state_dict().items() if not same(value, state[name])]
    demand(not differs, f"{promise}: {', '.join(differs[:5])}")
    logs = [read_log(folder_one), read_log(folder_two)]
    demand(logs[0] == logs[1], f"{promise}: the logged losses or metrics")


def captured(kit: Kit) -> list[int]:
    """The indices of the stages whose steps the method lets be captured."""
    method = kit.method()
    progress = [Progress(stage.name, 0, STEPS, 0, method.recipe.nominal_epochs) for stage in kit.stages]
    return [index for index, start in enumerate(progress) if method.capture_key(start) is not None]


def check_captured_steps(kit: Kit) -> None:
    """Captured steps of each stage give the state of plain ones in fp32, and nearly the same first loss in bf16."""
    kinds = (PlainStepper, CudaGraphStepper)
    for stage in captured(kit):
        plain, same_steps = (_steps(kit, stage, kind, "fp32") for kind in kinds)
        gaps = {
            name: float((value - same_steps.state[name]).abs().masked_fill(plain.idle(name), 0).max())
            for name, value in plain.state.items()
        }
        worst = max(gaps, key=gaps.__getitem__)
        promise = f"captured steps differ from plain ones, by {gaps[worst]:.2g} in {worst}: does capture_key tell all?"
        demand(gaps[worst] < TOLERANCE, promise)
        plain_loss, loss = (_steps(kit, stage, kind, "bf16").loss for kind in kinds)
        near = abs(loss - plain_loss) <= ROUNDING * max(abs(plain_loss), 1.0)
        demand(near, f"a captured step in bf16 has the loss {loss:.4g}, a plain one {plain_loss:.4g}")


class _Steps(NamedTuple):
    """A few steps of a stage.

    Attributes:
        state: The floating-point state after them.
        loss: Of the first step.
        gradients: Of the last step, by the name of the parameter.
    """

    state: dict[str, Tensor]
    loss: float
    gradients: dict[str, Tensor]

    def idle(self, name: str) -> Tensor:
        """Where the gradient of a parameter is nothing but rounding, as that of a bias before a normalisation is.

        Adam makes whole steps of it, in any direction. A bool tensor of the parameter's shape, or a single False.
        """
        largest = max((float(gradient.abs().max()) for gradient in self.gradients.values()), default=0.0)
        found = self.gradients.get(name)
        return (
            self.state[name].new_zeros((), dtype=torch.bool)
            if found is None
            else found.abs() < _ROUNDING_SHARE * largest
        )


def _steps(kit: Kit, index: int, kind: type[PlainStepper | CudaGraphStepper], precision: Precision) -> _Steps:
    """Take a few steps of a stage; earlier stages are only set up."""
    method = kit.method().to(kit.device or "cpu")
    images = kit.images.to(device_of(method))
    stages = [replace(stage, precision=precision) for stage in kit.stages[: index + 1]]
    for stage in stages:
        scenes = StageScenes(images, stage, method.recipe.nominal_epochs, seed=0)
        with torch.no_grad():
            method.setup(scenes.setup_sample(), stage)
    stepper = kind(method, scenes, stages[-1])
    stepper.advance(1)
    loss = stepper.losses()["total"]
    stepper.advance(min(STEPS, scenes.steps) - 1)
    state = {name: value for name, value in method.state_dict().items() if _is_float(value)}
    gradients = {name: p.grad for name, p in method.named_parameters() if p.grad is not None}
    return _Steps(state, loss, gradients)


def check_device_moves(kit: Kit) -> None:
    """The method segments the same on the other device, and trains there."""
    method = kit.method()
    here = kit.segment(method)
    there = kit.segment(method.to(kit.device))
    demand_equal(here, [there], f"the method segments differently on {kit.device}")
    if kit.stages:
        with tempfile.TemporaryDirectory() as folder:
            kit.train(Path(folder), method)


class _Stopped(Exception):  # noqa: N818
    """Ends a training in the middle, as a kill would."""


def _stop_after(steps: int) -> Callable[..., None]:
    done = 0

    def advance(amount: int = 1, note: str | None = None, resumed: int = 0) -> None:
        nonlocal done
        done += amount
        if done >= steps:
            raise _Stopped

    return advance


def _note_gradient(parameter: Tensor, name: str, reached: set[str]) -> None:
    gradient = parameter.grad
    if gradient is not None and bool(
        (gradient.coalesce().values() if gradient.is_sparse else gradient).any()
    ):
        reached.add(name)


def _is_float(value: Any) -> bool:
    return isinstance(value, Tensor) and value.is_floating_point()
