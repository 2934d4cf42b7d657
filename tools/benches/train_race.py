"""Race the paths of a method on a dataset in one precision: started one by one, timed in turns."""

from __future__ import annotations

import math
import time
import traceback
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial

import numpy as np
import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from benches.timing import Candidate, Timing, interleave, quartiles, say, wait
from benches.train_memory import TensorMemory
from benches.train_paths import FixedPoint, open_path
from objbench.device import peak_memory
from objbench.methods.base import Method, Stepper
from objbench.methods.create import build
from objbench.random import seed_from
from objbench.spec.datasets import DatasetRef
from objbench.spec.resolve import MethodConfig
from objbench.train.batches import StageScenes
from objbench.train.plain import PlainStepper

WARM = 2  # steps: the second captures the graph, where there is one
TURN = 0.1  # seconds that a turn lasts, and
LEAST = 3  # steps that it has at the least


@dataclass(frozen=True)
class Work:
    """A method on a dataset in one precision, and its uint8 training images (N,3,H,W)."""

    dataset: DatasetRef
    config: MethodConfig
    images: Tensor
    batch: int

    @property
    def device(self) -> torch.device:
        """The device of the images."""
        return self.images.device

    def begin(self) -> tuple[Method, StageScenes]:
        """The method at the beginning of its first stage, always the same."""
        torch.manual_seed(seed_from(0, "init"))
        method = build(self.config, self.dataset).to(self.device)
        stage = method.stages()[0]
        scenes = StageScenes(self.images, stage, method.recipe.nominal_epochs, seed=0)
        with torch.no_grad():
            method.setup(scenes.setup_sample(), stage)
        return method, scenes


@dataclass
class Entrant:
    """A path in the race.

    Attributes:
        startup: Seconds from making the stepper to the end of its second step at the first point.
        memory: Peak bytes of tensors, with the model, without the training images; on the CPU only known of the
            plain path, else None.
        timings: Times per step, one per point.
        failure: Why the path left the race.
    """

    path: str
    stepper: Stepper | None = None
    scenes: FixedPoint | None = None
    remark: str = ""
    startup: float = math.nan
    memory: int | None = None
    timings: list[Timing] = field(default_factory=list)
    failure: str = ""

    def fails(self, error: Exception) -> None:
        """Leave the race and free all memory."""
        say("".join(traceback.format_exception(error)))
        self.failure = f"failed: {type(error).__name__}: {(str(error).splitlines() or [''])[0]}"
        self.stepper = self.scenes = None

    @property
    def timing(self) -> Timing:
        """The time per step, averaged over all points."""
        return averaged(self.timings)

    @property
    def at_points(self) -> list[float]:
        """The median seconds per step at each point."""
        return [quartiles(t.seconds)[1] for t in self.timings]


def averaged(timings: Sequence[Timing]) -> Timing:
    """The mean of several timings, turn by turn."""
    wall, cpu = ([t.seconds for t in timings], [t.cpu_seconds for t in timings])
    others = [t.other_seconds for t in timings if t.other_seconds is not None]
    return Timing(
        np.mean(wall, 0).tolist(),
        np.mean(cpu, 0).tolist(),
        np.mean(others, 0).tolist() if len(others) == len(timings) else None,
        sum(t.calls for t in timings),
    )


def race(work: Work, paths: Sequence[str], points: Sequence[float], repeats: int) -> list[Entrant]:
    """Start each path alone at the first and the last point, then time all paths in turns at each point."""
    entrants = [_start(work, path, points) for path in paths]
    for point in points:
        _time(entrants, point, repeats, work.device)
    return entrants


def operations(work: Work, points: Sequence[float]) -> float:
    """Mean floating-point operations of a step over the points: by formula for objmae, else counted by torch."""
    method, scenes = work.begin()
    counts = [_operations(method, FixedPoint(scenes, point), scenes) for point in points]
    return sum(counts) / len(counts)


def greatest_difference(work: Work, path: str, steps: int) -> float:
    """The largest relative difference between the losses of a path and of the plain one in the first steps.

    NaN if a loss is NaN or the path fails.
    """
    try:
        ours, plain = (_losses(work, name, steps) for name in (path, "plain"))
    except Exception as error:
        say("".join(traceback.format_exception(error)))
        return math.nan
    return float(np.max(np.abs(np.subtract(ours, plain)) / np.abs(plain)))


def _start(work: Work, path: str, points: Sequence[float]) -> Entrant:
    entrant = Entrant(path)
    cuda = work.device.type == "cuda"
    before = 0
    if cuda:
        before = torch.cuda.memory_allocated(work.device)
        torch.cuda.reset_peak_memory_stats(work.device)
    try:
        method, scenes = work.begin()
        entrant.scenes = FixedPoint(scenes, points[0])
        wait(work.device)
        start = time.perf_counter()
        entrant.stepper, entrant.remark = open_path(path, method, entrant.scenes, scenes.stage)
        entrant.stepper.advance(WARM)
        wait(work.device)
        entrant.startup = time.perf_counter() - start
        entrant.scenes.point = points[-1]
        entrant.stepper.advance(WARM)
        wait(work.device)
    except Exception as error:  # a path that cannot run must not take the others with it
        entrant.fails(error)
        return entrant
    if cuda:
        entrant.memory = peak_memory(work.device) - before
    elif path == "plain":
        entrant.memory = _tensor_memory(work, points[-1])
    say(f"  {path}: started in {entrant.startup:.2f} s")
    return entrant


def _tensor_memory(work: Work, point: float) -> int:
    with TensorMemory() as memory:
        method, scenes = work.begin()
        PlainStepper(method, FixedPoint(scenes, point), scenes.stage).advance(WARM)
    return int(memory.peak)


def _time(entrants: Sequence[Entrant], point: float, repeats: int, device: torch.device) -> None:
    steps, candidates = {}, {}
    for entrant in entrants:
        try:
            if entrant.stepper is not None and entrant.scenes is not None:
                entrant.scenes.point = point
                steps[entrant.path] = n = _steps(entrant.stepper, device)
                candidates[entrant.path] = Candidate(entrant.path, partial(entrant.stepper.advance, n))
        except Exception as error:
            entrant.fails(error)
    found = interleave(list(candidates.values()), repeats, 0.0, device)
    for entrant in entrants:
        if entrant.path in candidates:
            timing = _per_step(found[candidates[entrant.path]], steps[entrant.path])
            entrant.timings.append(timing)
            milliseconds = 1000 * quartiles(timing.seconds)[1]
            say(f"  {entrant.path} at {point:.0%} of the training: {milliseconds:.4g} ms/iteration")


def _steps(stepper: Stepper, device: torch.device) -> int:
    """The number of steps of a turn. Takes some steps to warm up at a new point."""
    stepper.advance(WARM)
    wait(device)
    start = time.perf_counter()
    stepper.advance(WARM)
    wait(device)
    return max(LEAST, math.ceil(TURN * WARM / (time.perf_counter() - start)))


def _per_step(turn: Timing, steps: int) -> Timing:
    others = turn.other_seconds
    return Timing(
        [s / steps for s in turn.seconds],
        [s / steps for s in turn.cpu_seconds],
        None if others is None else [s / steps for s in others],
        steps,
    )


def _operations(method: Method, at: FixedPoint, scenes: StageScenes) -> int:
    known = method.training_flops(at.progress(0))
    if known is not None:
        return scenes.stage.batch_size * known
    # As plain products, since some of the fused attentions are not counted.
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        PlainStepper(method, at, scenes.stage).advance(1)
    return int(counter.get_total_flops())


def _losses(work: Work, path: str, steps: int) -> list[float]:
    method, scenes = work.begin()
    stepper, _ = open_path(path, method, scenes, scenes.stage)
    losses = []
    for _ in range(min(steps, scenes.steps)):  # schedules promise nothing beyond
        stepper.advance(1)
        losses.append(stepper.losses()["total"])
    return losses
