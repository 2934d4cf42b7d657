"""Runs as jobs of a cluster: what a job is, the resources it needs, submission and waiting.

Common to all engines that start processes elsewhere (`slurm.py`, `ray.py`).
"""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import objbench
from objbench.errors import ObjbenchError, RequestError, lines_of
from objbench.launch.log import logged
from objbench.launch.plan import Plan, Planned, make_plan
from objbench.launch.request import RunRequest, Task
from objbench.launch.view import view
from objbench.launch.work import Outcome, Worker
from objbench.spec.key_value import key_yaml
from objbench.train.interrupt import EXIT_CODES, Interrupted, Interrupts
from objbench.train.run_folder import CONFIG
from objbench.train.run_state import StateFile, leave_reason, run_state, state_path

_POLL_SECONDS = 2.0
RAY_RESOURCES = ("num_cpus", "num_gpus", "memory", "accelerator_type", "max_retries")  # by ray.remote's names
Resources = Mapping[str, Any]


class Handle(Protocol):
    """A job that was submitted."""

    @property
    def job_id(self) -> str | None:
        """Its name in the engine, if that helps a person."""

    def done(self) -> bool:
        """Whether it has ended."""

    def exception(self) -> BaseException | None:
        """Why it failed."""

    def result(self) -> Any:
        """What it returned; it must have ended without an exception."""


class Engine(Protocol):
    """What carries jobs out."""

    def of_block(self, method: str, block: Resources) -> Resources:
        """The resources in the block of a method that this engine knows, by its names."""

    def check(self, resources: Resources) -> None:
        """Raise RequestError for resources that it does not know or that nothing can have."""

    def submit(self, groups: Sequence[tuple[Resources, list[Job]]]) -> Sequence[Handle]:
        """Submit groups of jobs that need the same resources; returns them in this order."""


@dataclass(frozen=True)
class Job:
    """One run, as plain values that a process elsewhere carries out; the folder of the run is its state.

    Attributes:
        request: The command, with absolute paths.
        task: The run.
        deleted: The run (`_mark`) that `--fresh` deletes; None if there was none, or nothing is to be deleted. A job that is
            started again finds another one, its own, and goes on with it.
        version: Of objbench where the job was submitted.
    """

    request: RunRequest
    task: Task
    deleted: tuple[int, ...] | None = None
    version: str = field(default=objbench.__version__)

    def __call__(self) -> str:
        """Train and evaluate the run, or go on with it.

        SIGUSR2, which a scheduler sends before the time is up or a job is preempted, takes a checkpoint and has submitit
        queue the job again. After SIGTERM the job ends: a scheduler that wants it again starts it itself.

        Returns:
            What the run is doing now: finished, or at work elsewhere.

        Raises:
            ObjbenchError: The run failed.
        """
        if self.version != objbench.__version__:
            raise RequestError(
                f"{self.task}: submitted by objbench {self.version}, but this machine has objbench {objbench.__version__}; "
                "install the same version on both"
            )
        requeue = signal.getsignal(
            signal.SIGUSR2
        )  # submitit's; ours stand in front of it while the run is at work
        interrupts = Interrupts()
        try:
            with interrupts.catch():
                outcome = self._run(interrupts)
        except Interrupted as stop:
            if stop.exit_code == EXIT_CODES[signal.SIGUSR2] and callable(requeue):
                requeue(signal.SIGUSR2, None)
            raise SystemExit(stop.exit_code) from stop
        if outcome.failure is not None:
            raise ObjbenchError(f"{self.task}: {outcome.failure}")
        return "at work elsewhere" if outcome.elsewhere else "finished"

    def _run(self, interrupts: Interrupts) -> Outcome:
        method, dataset, seed = self.task
        one = self.request.model_copy(update={"methods": (method,), "datasets": (dataset,), "seeds": (seed,)})
        plan = make_plan(one)
        (planned,) = plan.runs
        fresh = self.deleted is not None and self.deleted == _mark(planned.folder)
        one = one.model_copy(update={"fresh": fresh})
        with logged(planned.folder):
            return Worker(one, plan.spec, interrupts, print).run(planned)

    def checkpoint(self) -> Any:
        """The same run once more, for submitit."""
        from submitit.helpers import DelayedSubmission

        return DelayedSubmission(self)


class Submitted(NamedTuple):
    """A run that was submitted, its job, and what an earlier process of the run had said about itself."""

    planned: Planned
    job: Handle
    before: StateFile | None = None


def parse_resources(texts: Sequence[str]) -> dict[str, Any]:
    """The resources of `--resources KEY=VALUE`, values as in yaml.

    A word stays one that YAML 1.1 would read as something else: a number of another base, or yes, no, on, off.

    >>> parse_resources(["partition=gpu", "timeout_min=240"])
    {'partition': 'gpu', 'timeout_min': 240}
    >>> parse_resources(["account=0123", "qos=on"])
    {'account': '0123', 'qos': 'on'}
    """
    found = {}
    for text in texts:
        key, value = key_yaml("--resources", text, "timeout_min=240 (slurm) or num_gpus=1 (ray)")
        written = text.partition("=")[2].strip()
        if isinstance(value, int) and str(value).lower() != written.lower():
            value = written
        found[key] = value
    return found


def is_number(value: object) -> bool:
    """Whether a resource is a number, which True is not."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def submit(plan: Plan, blocks: Mapping[str, Resources], given: Resources, engine: Engine) -> list[Submitted]:
    """Submit what is open in a plan, all runs that need the same resources at once.

    Args:
        plan: The plan.
        blocks: Method -> the resources of its block.
        given: Those of the command, which win.
        engine: What carries the jobs out.

    Raises:
        RequestError: Resources that cannot be; nothing was submitted.
        ObjbenchError: The engine refused jobs.
    """
    methods = dict.fromkeys(planned.method.method for planned in plan.open)
    wanted = {name: {**engine.of_block(name, blocks.get(name, {})), **given} for name in methods}
    for resources in wanted.values():
        engine.check(resources)
    groups: dict[str, tuple[Resources, list[Planned]]] = {}
    for planned in plan.open:
        resources = wanted[planned.method.method]
        groups.setdefault(repr(sorted(resources.items())), (resources, []))[1].append(planned)
    request = plan.request.elsewhere()

    def job(planned: Planned) -> Job:
        return Job(request, planned.task, _mark(planned.folder) if request.fresh else None)

    runs = [planned for _, group in groups.values() for planned in group]
    before = [_said(planned.folder) for planned in runs]
    handles = (
        engine.submit(
            [(resources, [job(planned) for planned in group]) for resources, group in groups.values()]
        )
        if groups
        else []
    )
    return [Submitted(*one) for one in zip(runs, handles, before, strict=True)]


def _mark(folder: Path) -> tuple[int, ...] | None:
    """What tells the run in a folder from the one that `--fresh` makes in its place; None if there is no folder.

    A folder that a link names stays the same one. So its config.json counts too, which is written when a run begins.
    """
    try:
        inode = folder.stat().st_ino
    except OSError:
        return None
    try:
        config = (folder / CONFIG).stat()
    except OSError:
        return (inode,)
    return inode, config.st_ino, config.st_mtime_ns


def follow(
    submitted: list[Submitted], interrupts: Interrupts, done: Callable[[Outcome], None]
) -> list[Outcome]:
    """Wait until all jobs have ended; `done` is told of each. A signal ends the waiting, not the jobs."""
    waiting, outcomes = list(submitted), []
    with view(len(waiting)) as shown:
        while waiting:
            for one in [one for one in waiting if one.job.done()]:
                waiting.remove(one)
                outcomes.append(_outcome(one))
                done(outcomes[-1])
                shown.finished += 1
            shown.show([one.planned for one in waiting if run_state(one.planned.folder).state == "at work"])
            if waiting:
                time.sleep(_POLL_SECONDS)
            interrupts.check()
    return outcomes


def _outcome(one: Submitted) -> Outcome:
    task, folder = one.planned.task, one.planned.folder
    error = one.job.exception()
    if error is None:
        return Outcome(task, folder, elsewhere=one.job.result() != "finished")
    told = (
        run_state(folder).reason if _said(folder) != one.before else None
    )  # else it is that of an earlier failure
    reason = told or lines_of(error)[-1]
    leave_reason(folder, reason)
    job = f"job {one.job.job_id}: " if one.job.job_id is not None else ""
    return Outcome(task, folder, f"{job}{reason}")


def _said(folder: Path) -> StateFile | None:
    return StateFile.read_if_valid(state_path(folder))
