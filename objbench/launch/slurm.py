"""`--launcher slurm`: every run of a plan as a job of Slurm, in one array per kind of resources, by submitit."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from objbench.errors import ObjbenchError, RequestError, brief, unknown_name
from objbench.launch.log import logged
from objbench.launch.plan import Plan, Planned, make_plan
from objbench.launch.request import RunRequest, Task
from objbench.launch.view import view
from objbench.launch.work import Outcome, Worker
from objbench.spec.load import load_spec
from objbench.train.interrupt import EXIT_CODES, Interrupted, Interrupts
from objbench.train.run_state import run_state

JOBS = ".jobs"
_POLL_SECONDS = 2.0
_COUNTS = ("timeout_min", "time", "cpus_per_task", "array_parallelism", "mem_gb")
_ONE = ("nodes", "tasks_per_node", "ntasks_per_node")
Resources = Mapping[str, Any]
MakeExecutor = Callable[[Resources], Any]


class Job:
    """One run, as plain values that a job of a scheduler carries out; the folder of the run is its state."""

    def __init__(self, request: RunRequest, task: Task) -> None:
        self.request, self.task = request, task

    def __call__(self) -> str:
        """Train and evaluate the run, or go on with it.

        SIGUSR2, which a scheduler sends before the time is up or a job is preempted, takes a checkpoint and has submitit
        queue the job again. After SIGTERM the job ends: a scheduler that wants it again starts it itself.

        Returns:
            What the run is doing now: finished, or at work elsewhere.

        Raises:
            ObjbenchError: The run failed.
        """
        requeue = signal.getsignal(
            signal.SIGUSR2
        )  # submitit's; ours stand in front of it while the run is at work
        interrupts = Interrupts()
        request = replace(
            self.request,
            methods=(self.task.method,),
            datasets=(self.task.dataset,),
            seeds=(self.task.seed,),
            fresh=self.request.fresh and not int(os.environ.get("SLURM_RESTART_COUNT", "0")),
        )
        try:
            with interrupts.catch():
                spec = load_spec(request.config)
                (planned,) = make_plan(request, spec).runs
                with logged(planned.folder):
                    outcome = Worker(request, spec, interrupts, print).run(planned)
        except Interrupted as stop:
            if stop.exit_code == EXIT_CODES[signal.SIGUSR2] and callable(requeue):
                requeue(signal.SIGUSR2, None)
            raise SystemExit(stop.exit_code) from stop
        if outcome.failure is not None:
            raise ObjbenchError(f"{self.task}: {outcome.failure}")
        return "at work elsewhere" if outcome.elsewhere else "finished"

    def checkpoint(self) -> Any:
        """The same run once more; what it deleted at its beginning is not deleted again."""
        from submitit.helpers import DelayedSubmission

        return DelayedSubmission(Job(replace(self.request, fresh=False), self.task))


class Submitted(NamedTuple):
    """A run that was submitted, and its job."""

    planned: Planned
    job: Any


def parse_resources(texts: list[str]) -> dict[str, Any]:
    """The resources of `--resources KEY=VALUE`, values as in yaml.

    >>> parse_resources(["partition=gpu", "timeout_min=240"])
    {'partition': 'gpu', 'timeout_min': 240}
    """
    found = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not key or not equals or not value:
            raise RequestError(f"--resources {text}: expected KEY=VALUE such as timeout_min=240")
        try:
            found[key] = yaml.safe_load(value)
        except yaml.YAMLError:
            raise RequestError(f"--resources {text}: the value is no text or number") from None
    return found


def slurm_executors(runs: Path) -> MakeExecutor:
    """What makes the executor for resources; its files stand in `<runs>/.jobs`.

    Raises:
        RequestError: submitit is not installed, or this machine has no Slurm.
    """
    submitit = _submitit()
    import shutil

    if shutil.which("sbatch") is None:
        raise RequestError("--launcher slurm: this machine has no Slurm (no command sbatch)")

    def make(resources: Resources) -> Any:
        executor = submitit.AutoExecutor(folder=runs.absolute() / JOBS / "%j", cluster="slurm")
        return updated(executor, resources)

    return make


def _submitit() -> Any:
    try:
        import submitit
    except ImportError:
        raise RequestError(
            "--launcher slurm needs the package submitit: pip install 'objbench[slurm]'"
        ) from None
    return submitit


def check_resources(resources: Resources) -> None:
    """Raise RequestError for resources that submitit does not know or that nothing can have."""
    submitit = _submitit()
    generic = submitit.AutoExecutor._typed_parameters()
    known = {*generic, *submitit.SlurmExecutor._valid_parameters()} - {"map_count", "folder"}
    for key, value in resources.items():
        if key not in known:
            raise unknown_name("resource", key, known)
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if key in _ONE and value != 1:
            raise RequestError(f"--resources {key}={value}: a run is one process; expected 1")
        if (key in _COUNTS or key.startswith("gpus")) and not number:
            raise RequestError(f"--resources {key}={value}: expected a number")
        if number and value < (0 if key.startswith("gpus") or key == "signal_delay_s" else 1):
            raise RequestError(f"--resources {key}={value}: too small")
        if generic.get(key) is int and not isinstance(value, int):
            raise RequestError(f"--resources {key}={value}: expected a whole number")


def updated(executor: Any, resources: Resources) -> Any:
    """An AutoExecutor of submitit with these resources, which only Slurm knows by its own names."""
    generic = executor._typed_parameters()
    executor.update_parameters(
        name="objbench",
        **{key if key in generic else f"slurm_{key}": value for key, value in resources.items()},
    )
    return executor


def resources_of(planned: Planned, resources: Mapping[str, Resources], given: Resources) -> Resources:
    """The resources of a run: those of the block of its method, and over them those that were given."""
    return {**resources.get(planned.method.method, {}), **given}


def submit(
    plan: Plan, blocks: Mapping[str, Resources], given: Resources, make: MakeExecutor
) -> list[Submitted]:
    """Submit what is open in a plan: an array for each kind of resources.

    Args:
        plan: The plan.
        blocks: Method -> the resources of its block.
        given: Those of the command, which win.
        make: Makes an executor of submitit.

    Raises:
        RequestError: Resources that cannot be; nothing was submitted.
        ObjbenchError: The scheduler refused a job.
    """
    groups: dict[str, tuple[Resources, list[Planned]]] = {}
    for planned in plan.open:
        resources = resources_of(planned, blocks, given)
        check_resources(resources)
        groups.setdefault(repr(sorted(resources.items())), (resources, []))[1].append(planned)
    submitted: list[Submitted] = []
    request = plan.request.elsewhere()
    for resources, runs in groups.values():
        executor = make(resources)
        try:
            with executor.batch():
                jobs = [executor.submit(Job(request, planned.task)) for planned in runs]
        except Exception as error:  # submitit wraps what sbatch said in errors of many kinds
            more = f"; {len(submitted)} runs were submitted before" if submitted else ""
            raise ObjbenchError(f"the scheduler refused the jobs: {brief(error)}{more}") from error
        submitted += [Submitted(planned, job) for planned, job in zip(runs, jobs, strict=True)]
    return submitted


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
            shown.show([one.planned for one in waiting])
            if waiting:
                time.sleep(_POLL_SECONDS)
            interrupts.check()
    return outcomes


def _outcome(one: Submitted) -> Outcome:
    task, folder = one.planned.task, one.planned.folder
    error = one.job.exception()
    if error is None:
        return Outcome(task, folder, elsewhere=one.job.result() != "finished")
    last = str(error).strip().splitlines()[-1]
    reason = run_state(folder).reason or last
    return Outcome(task, folder, f"job {one.job.job_id}: {reason}")
