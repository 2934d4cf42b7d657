"""The paths of a training step that the bench `train` compares."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from objbench.errors import ObjbenchError
from objbench.methods.base import Method, Progress, Stage, Stepper, TrainingScenes
from objbench.train.batches import StageScenes
from objbench.train.cuda_graph import CudaGraphStepper
from objbench.train.plain import PlainStepper
from objmae.fast import FastLoss
from objmae.method import ObjMAE

PATHS = {
    "plain": "eager mode, operation by operation",
    "compiled": "the plain step, its network compiled by torch.compile",
    "captured": "the method's loss in a captured CUDA graph, for methods with a capture_key",
    "fast": "the method's own step, for methods with a stepper",
}


class FixedPoint:
    """The TrainingScenes of a stage with schedules fixed at `point`, from 0 (first step) to 1 (last step).

    The batches of the first epoch are repeated: the few images of a bench would be shuffled far more often than those
    of a training.
    """

    def __init__(self, scenes: StageScenes, point: float) -> None:
        self.images: Tensor = scenes.images
        self.point, self._scenes = point, scenes

    def batch(self, step: int) -> Tensor:
        return self._scenes.batch(step % self._scenes.steps_per_epoch)

    def reseed(self, step: int) -> None:
        self._scenes.reseed(step)

    def progress(self, step: int) -> Progress:
        return self._scenes.progress(round(self.point * (self._scenes.steps - 1)))


def paths_of(method: Method) -> list[str]:
    """The names of the paths that exist for a method."""
    stage = method.stages()[0]
    start = Progress(stage.name, 0, stage.steps or 1, 0, method.recipe.nominal_epochs)
    exists = {
        "captured": method.capture_key(start) is not None,
        "fast": type(method).stepper is not Method.stepper,
    }
    return [name for name in PATHS if exists.get(name, True)]


def open_path(name: str, method: Method, scenes: TrainingScenes, stage: Stage) -> tuple[Stepper, str]:
    """The stepper of a path, and a remark on it."""
    if name == "plain":
        return PlainStepper(method, scenes, stage), ""
    if name == "compiled":
        remark = compile_network(method)
        return PlainStepper(method, scenes, stage), remark
    without_graph = "" if scenes.images.is_cuda else "without a graph"
    if name == "captured":
        return CudaGraphStepper(method, scenes, stage), without_graph
    own = method.stepper(scenes, stage)
    if own is not None:
        return own, without_graph
    if isinstance(method, ObjMAE):  # in float32 it offers it on CUDA alone
        return CudaGraphStepper(
            method, scenes, stage, FastLoss(method.model, method.settings.schedule, method.normal)
        ), without_graph
    raise ObjbenchError(f"{type(method).__name__} has no step of its own on {scenes.images.device}")


def compile_network(method: Method) -> str:
    """Compile the repeated blocks of the network in place for all sizes, or the loss if there are none.

    A block is compiled completely or not at all: silent fallbacks to eager mode would make the measurement meaningless.
    Returns what was compiled.
    """
    torch.compiler.reset()  # the limit of recompilations counts those of other networks too
    found: dict[str, list[nn.Module]] = {}
    for name, container in method.named_modules():
        inside = any(name.startswith(f"{outer}.") for outer in found)
        if isinstance(container, nn.Sequential | nn.ModuleList) and not inside:
            blocks = [block for block in container if not type(block).__module__.startswith("torch.")]
            if blocks:
                found[name] = blocks
    for blocks in found.values():
        for block in blocks:
            block.compile(dynamic=True, fullgraph=True)
    if found:
        return f"compiled: the blocks of {', '.join(found)}"
    method.training_loss = torch.compile(method.training_loss, dynamic=True)  # type: ignore[method-assign]
    return "compiled: training_loss, breaks allowed"
