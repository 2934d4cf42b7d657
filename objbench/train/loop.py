"""The training loop: stages, steps, and logging, validation and checkpoints between them, for any method."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import torch
from torch import Tensor

from objbench.errors import ObjbenchError, is_out_of_memory
from objbench.methods.base import Method, Progress, Stepper
from objbench.progress import Advance, silent
from objbench.ranks.group import ALONE, DisbandedError, Ranks
from objbench.spec.metrics import MetricSpec
from objbench.train.batches import StageScenes
from objbench.train.checkpoint import (
    CHECKPOINT,
    Checkpoint,
    infinite_tensor,
    load_checkpoint,
    unusable_checkpoint,
)
from objbench.train.environment import Environment
from objbench.train.events import Events
from objbench.train.interrupt import Interrupted, Interrupts
from objbench.train.log import Log, NoLog
from objbench.train.pause import Pauses
from objbench.train.shared_step import begin_alike, refuse_drift
from objbench.train.state_names import StateNames
from objbench.train.steppers import choose_stepper
from objbench.train.utilisation import Utilisation

_TELL_SECONDS = 1.0  # between two reports of progress within a long stretch of steps

Validate = Callable[[Method, Progress | None], Mapping[str, float]]


@dataclass(frozen=True)
class TrainingCost:
    """The cost of a training.

    Attributes:
        steps: Number of steps in all stages.
        seconds: Time spent in steps, without evaluations and checkpoints.
        earlier: Total time of the processes that trained before the checkpoint from which this one resumed.
        images: Number of images in all batches.
        environments: Those that the processes had, in order, each once.
    """

    steps: int
    seconds: float
    earlier: float
    images: int
    environments: list[Environment]


class Training:
    """The training of one method on uint8 images (N,3,H,W) that lie on its device, with checkpoints in `folder`.

    It resumes from the checkpoint in the folder, if there is one; on the CPU the result is bit-identical to that of an
    uninterrupted training. `validate` is called as often as the recipe says, with progress None at the end; the
    progress bar shows those of its scores that are in `noted`. A signal of `interrupts` ends the training after the
    current step with a checkpoint; within setup and validation it ends it at once. Checkpoints remember every
    environment that the training had.

    Several `ranks` share every batch and do the same steps; the first of them writes log and checkpoints.
    """

    def __init__(
        self,
        method: Method,
        images: Tensor,
        seed: int,
        folder: Path,
        validate: Validate | None = None,
        *,
        log: Log | NoLog | None = None,
        noted: Mapping[str, MetricSpec] = MappingProxyType({}),
        interrupts: Interrupts | None = None,
        ranks: Ranks = ALONE,
    ) -> None:
        self.method, self.seed, self.folder, self.validate, self.ranks = method, seed, folder, validate, ranks
        self.log = log or (Log(folder) if ranks.first else NoLog())
        self.noted, self.interrupts = noted, interrupts or Interrupts()
        self.pauses = Pauses(ranks, self.interrupts, 60 * method.recipe.checkpoint_minutes)
        nominal = method.recipe.nominal_epochs
        self.stages = [StageScenes(images, stage, nominal, seed, ranks) for stage in method.stages()]
        self.total = sum(scenes.steps for scenes in self.stages)
        self.events = Events(self.total, method.recipe)
        self.state_names = StateNames(method)
        self.seconds = self.earlier = 0.0
        self.environment = Environment.now(images.device, ranks.size)
        self.environments = [self.environment]
        self.started = time.perf_counter()
        self.advance: Advance = silent
        self.note = {"loss": "", "MFU": ""}  # first, as what does not fit is left out
        self.tell_at = 0.0  # after the first step

    def run(self, advance: Advance = silent) -> TrainingCost:
        """Train the method in place.

        Raises:
            ObjbenchError: The loss or the model is not finite any more; or its state has other names or shapes than it
                was made with, or parameters that no optimizer has.
            Interrupted: A signal asked to stop; the checkpoint holds all finished steps.
        """
        self.advance = advance
        resumed = (
            self.ranks.on_first(lambda: load_checkpoint(self.folder, self.seed)) if self.stages else None
        )
        first = self._stage_of(resumed) if resumed else 0
        before = sum(scenes.steps for scenes in self.stages[:first])
        self.interrupts.step = before + (resumed.step if resumed else 0)
        size = resumed.log_bytes if resumed else 0
        self.ranks.on_first(lambda: self.log.cut(size))
        for index, scenes in enumerate(self.stages[first:], first):
            stepper, step = self._resume(resumed, scenes) if resumed else (self._begin(scenes), 0)
            self.advance(0, resumed=before + step if resumed else 0)
            unvalidated = resumed is not None and resumed.unvalidated
            resumed = None  # or it would keep a second copy of the model
            with self.interrupts.deferred():
                run = _StageRun(index, scenes, before, stepper, Utilisation(self.method, scenes))
                self._run_stage(run, step, unvalidated)
            self.method.share_batches(None)
            before += scenes.steps
        images = sum(scenes.steps * scenes.stage.batch_size for scenes in self.stages)
        return TrainingCost(self.total, self.seconds, self.earlier, images, self.environments)

    def _begin(self, scenes: StageScenes) -> Stepper:
        with torch.no_grad():
            self.method.setup(scenes.setup_sample(), scenes.stage)
        self.state_names.check()
        begin_alike(self.ranks, self.method)
        return self._stepper(scenes)

    def _stage_of(self, checkpoint: Checkpoint) -> int:
        """The stage of the checkpoint, which must be one of this training."""
        try:
            if not 0 <= checkpoint.step <= self.stages[checkpoint.stage].steps or checkpoint.stage < 0:
                raise ValueError(f"step {checkpoint.step} of stage {checkpoint.stage}")
        except Exception as error:
            raise unusable_checkpoint(self.folder, error) from error
        return checkpoint.stage

    def _resume(self, checkpoint: Checkpoint, scenes: StageScenes) -> tuple[Stepper, int]:
        self.seconds, self.earlier = checkpoint.seconds, checkpoint.wall_seconds
        try:
            earlier = [Environment(**found) for found in checkpoint.environments]
            self.environments = earlier + [self.environment] * (self.environment not in earlier)
            self.method.load_state_dict(checkpoint.method)
            parameters = dict(self.method.named_parameters())
            unknown = sorted(set(checkpoint.trainable) - set(parameters))
            if unknown:
                raise ValueError(f"no parameters {', '.join(unknown)}")
            for name, parameter in parameters.items():
                parameter.requires_grad_(name in checkpoint.trainable)
            stepper = self._stepper(scenes)
            stepper.load_state_dict(checkpoint.stepper)
            infinite = infinite_tensor(self.method, checkpoint.stepper)
            if infinite:
                raise ValueError(f"{infinite} is not finite")
        except Exception as error:
            if is_out_of_memory(error):
                raise
            raise unusable_checkpoint(self.folder, error) from error
        return stepper, checkpoint.step

    def _stepper(self, scenes: StageScenes) -> Stepper:
        self.method.share_batches(scenes.share)
        stepper = choose_stepper(self.method, scenes, scenes.stage)
        self.state_names.begin_stage()
        return stepper

    def _run_stage(self, stage: _StageRun, step: int, unvalidated: bool) -> None:
        """Train from `step` to the end of the stage; first validate if a signal had stopped the validation there."""
        if unvalidated:
            self._validate(stage, step)
            self._save(stage, step)
        while step < stage.scenes.steps:
            target = min(self.events.next(stage.before + step) - stage.before, stage.scenes.steps)
            step += self._take_steps(stage, step, target)
            overall = stage.before + step
            if step == target:
                self._log_losses(stage, step)
                if self.validate is not None and self.events.evaluates(overall):
                    self._validate(stage, step)
            self.pauses.settle()
            stop, due = self.pauses.stop, self.events.checkpoints(overall) or step == stage.scenes.steps
            if stop or due or self.pauses.save:
                self._save(stage, step)
            if stop:
                self.interrupts.check()

    def _take_steps(self, stage: _StageRun, step: int, target: int) -> int:
        """Go from `step` to `target`, or less far if a signal or the time asks for a checkpoint. Returns the steps taken."""
        start, taken, told = time.perf_counter(), 0, 0
        self.method.train()  # here, as going through all modules at every step would cost a tenth of a fast one
        while step + taken < target:
            self.pauses.look()
            if self.pauses.stop or (taken and self.pauses.save):
                break
            stage.stepper.advance(1)
            taken += 1
            if time.perf_counter() >= self.tell_at:
                self._tell(stage, taken - told)
                told = taken
        if stage.scenes.images.is_cuda:
            torch.cuda.synchronize(stage.scenes.images.device)
        seconds = time.perf_counter() - start
        self.seconds += seconds
        self.note["MFU"] = stage.utilisation.add(step + taken, taken, seconds)
        self.advance(taken - told)
        return taken

    def _tell(self, stage: _StageRun, steps: int) -> None:
        """Report `steps` steps with the loss of the last one, which a GPU is waited for only here."""
        loss = stage.stepper.losses().get("total")
        if loss is not None:
            self.note["loss"] = f"{loss:.4g}"
        self.advance(steps)
        self._show_notes()
        self.tell_at = time.perf_counter() + _TELL_SECONDS

    def _log_losses(self, stage: _StageRun, step: int) -> None:
        overall, progress = stage.before + step, stage.scenes.progress(step)
        losses = stage.stepper.losses()
        bad = [name for name, value in losses.items() if not math.isfinite(value)]
        if bad:
            raise self._diverged(", ".join(bad), stage, step)
        if self.events.logs(overall):
            self.log.write(overall, progress.stage, progress.epoch, "losses", losses)
            self.note["loss"] = f"{losses['total']:.4g}"
            self._show_notes()

    def _validate(self, stage: _StageRun, step: int) -> None:
        """Validate after `step`. A signal stops it; then a checkpoint keeps the steps, and the validation is repeated."""
        assert self.validate is not None
        overall, progress = stage.before + step, stage.scenes.progress(step)
        try:
            with self.interrupts.immediate():
                metrics = self.validate(self.method, None if overall == self.total else progress)
        except (Interrupted, DisbandedError):
            self._save(stage, step, unvalidated=True)
            self.interrupts.check()
            raise
        self.log.write(overall, progress.stage, progress.epoch, "val", metrics)
        stage.scenes.reseed(step, "after_evaluation")
        self.method.after_evaluation(progress, metrics)
        self.note |= {
            f"val {name}": metric.format(metrics[name])
            for name, metric in self.noted.items()
            if name in metrics
        }
        self._show_notes()

    def _show_notes(self) -> None:
        self.advance(0, note=", ".join(f"{name} {text}" for name, text in self.note.items() if text))

    def _save(self, stage: _StageRun, step: int, unvalidated: bool = False) -> None:
        """Write a checkpoint. After a validation that was stopped no process waits for the others any more."""
        self.interrupts.refuse_if_lost()
        self.state_names.check()
        self.state_names.check_parameters()
        state = stage.stepper.state_dict()
        infinite = infinite_tensor(self.method, state)
        if infinite:
            raise self._diverged(infinite, stage, step)

        def write() -> None:
            self.log.sync()
            named = self.method.named_parameters()
            Checkpoint(
                stage=stage.index,
                step=step,
                trainable=[name for name, parameter in named if parameter.requires_grad],
                method=self.method.state_dict(),
                stepper=state,
                log_bytes=self.log.size,
                seconds=self.seconds,
                wall_seconds=self.earlier + time.perf_counter() - self.started,
                unvalidated=unvalidated,
                environments=[environment._asdict() for environment in self.environments],
                seed=self.seed,
            ).save(self.folder)

        if not unvalidated:
            refuse_drift(self.ranks, self.method)
            self.ranks.on_first(write)
        elif self.ranks.first:
            write()
        self.pauses.saved()
        self.interrupts.step = stage.before + step

    def _diverged(self, what: str, stage: _StageRun, step: int) -> ObjbenchError:
        """The error for `what`, which is not finite after `step`."""
        kept = (
            f"the checkpoint of step {self.interrupts.step} is kept"
            if (self.folder / CHECKPOINT).exists()
            else "there is no earlier checkpoint"
        )
        return ObjbenchError(
            f"training diverged: {what} not finite at step {stage.before + step} of stage '{stage.scenes.stage.name}'; {kept}. "
            "A lower learning rate or recipe.precision=fp32 may help"
        )


@dataclass(frozen=True)
class _StageRun:
    """A stage of the training, and how many steps come before it."""

    index: int
    scenes: StageScenes
    before: int
    stepper: Stepper
    utilisation: Utilisation
