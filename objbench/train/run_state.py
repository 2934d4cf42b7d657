"""What a run is doing, for other processes: at work (where, at which step), stopped, failed (why), or finished.

The state stands in a hidden file beside the folder of the run, so that the folder itself holds no times and no places.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import ClassVar, Literal, NamedTuple

from objbench.one_line import LESS_MEMORY_OF_A_RUN, in_a_line
from objbench.progress import Advance, duration
from objbench.records import RECORD
from objbench.stored import Stored, utc_now
from objbench.train.checkpoint import CHECKPOINT
from objbench.train.interrupt import Interrupted
from objbench.train.lock import holder

State = Literal["finished", "at work", "stopped", "failed", "to start"]
_WRITE_SECONDS = 10.0  # between two writes of the file
_JOBS = ("SLURM_JOB_ID", "JOB_COMPLETION_INDEX", "AWS_BATCH_JOB_ID", "PBS_JOBID", "JOB_ID")


class StateFile(Stored):
    """The last that the process of a run said about itself.

    Attributes:
        state: What it was doing.
        host: Where.
        process: Its process id there.
        job: The scheduler's variable and value, such as `SLURM_JOB_ID=7`; None outside of one.
        step: Finished steps.
        saved: The step that the run goes on from; None if that is not known, as after a kill or a failure.
        total: Steps of the whole training; None if nothing is trained or it had not begun.
        seconds_left: Of the training, by its rate so far.
        reason: Why it failed.
        updated: When it said so, ISO 8601 in UTC.
    """

    kind: ClassVar[str] = "the state of a run"

    state: Literal["at work", "stopped", "failed"]
    host: str
    process: int
    job: str | None = None
    step: int = 0
    saved: int | None = None
    total: int | None = None
    seconds_left: float | None = None
    reason: str | None = None
    updated: str


class RunState(NamedTuple):
    """What a run is doing.

    Attributes:
        state: finished, at work, stopped (a checkpoint waits), failed, or to start.
        step: Finished steps, as far as they are known.
        total: Steps of the whole training, if known.
        where: `HOST (process N)`, with the scheduler's job, of the process that is at work.
        seconds_left: Of the training that is at work, if known.
        reason: Why it failed.
        resumable: Whether a checkpoint waits.
        saved: The step of the checkpoint, if it is known.
    """

    state: State
    step: int | None = None
    total: int | None = None
    where: str | None = None
    seconds_left: float | None = None
    reason: str | None = None
    resumable: bool = False
    saved: int | None = None

    def __str__(self) -> str:
        """One line.

        >>> print(RunState("at work", 1200, 9000, "gpu3 (process 71)", 600.0))
        at work on gpu3 (process 71), step 1,200 of 9,000, 10 min left
        """
        where = f" on {self.where}" if self.where else ""
        of = f" of {self.total:,}" if self.total else ""
        step = f", step {self.step:,}{of}" if self.step and self.state != "finished" else ""
        left = f", {duration(self.seconds_left)} left" if self.seconds_left is not None else ""
        reason = f": {self.reason}" if self.reason else ""
        return f"{self.state}{where}{step}{left}{reason}"


def run_state(folder: Path) -> RunState:
    """What the run in `folder` is doing, as far as its files and its lock say."""
    said = StateFile.read_if_valid(state_path(folder))
    step, total = (said.step, said.total) if said is not None else (None, None)
    owner = holder(folder)
    if owner is not None:
        ours = said is not None and (said.process, said.host) == (owner.process, owner.host)
        job = f", {said.job}" if said is not None and ours and said.job else ""
        left = said.seconds_left if said is not None and ours else None
        return RunState("at work", step, total, f"{owner.host} (process {owner.process}{job})", left)
    if (folder / RECORD).exists():
        return RunState("finished")
    resumable = (folder / CHECKPOINT).exists()
    if said is not None and said.state == "failed":
        return RunState("failed", step, total, reason=said.reason, resumable=resumable)
    if resumable:
        saved = said.saved if said is not None else None
        return RunState("stopped", step, total, resumable=True, saved=saved)
    return RunState("to start")


def state_path(folder: Path) -> Path:
    """The file with the state of the run in `folder`."""
    return folder.with_name(f".{folder.name}.state.json")


class Reporter:
    """Keeps the state of a run that is at work, and at most every ten seconds writes it."""

    def __init__(self, folder: Path) -> None:
        self._path = state_path(folder)
        self._state = _here()
        self._written = self._started = time.monotonic()
        self._done_here = 0
        self._write()

    def begin(self, total: int) -> None:
        """A training of `total` steps begins."""
        self._state = self._state.model_copy(update={"total": total})
        self._started = time.monotonic()

    def watching(self, advance: Advance) -> Advance:
        """An Advance that also tells the reporter."""

        def advanced(amount: int = 1, note: str | None = None, resumed: int = 0) -> None:
            advance(amount, note, resumed)
            self._done_here += amount
            step = self._state.step + amount + resumed
            left = None
            if self._done_here and self._state.total:
                rate = self._done_here / max(time.monotonic() - self._started, 1e-9)
                left = round((self._state.total - step) / rate, 1)
            self._state = self._state.model_copy(update={"step": step, "seconds_left": left})
            if time.monotonic() - self._written >= _WRITE_SECONDS:
                self._write()

        return advanced

    def finish(
        self, state: Literal["stopped", "failed"], step: int | None, reason: str | None = None
    ) -> None:
        """The last that is said: why, and from which step the run goes on, if that is known."""
        update = {"state": state, "seconds_left": None, "reason": reason, "saved": step}
        self._state = self._state.model_copy(update=update if step is None else update | {"step": step})
        self._write()

    def _write(self) -> None:
        self._written = time.monotonic()
        with suppress(OSError):  # a full disk must not stop a run for the sake of its state
            self._state.model_copy(update={"updated": utc_now()}).save(self._path)


@contextmanager
def reporting(folder: Path) -> Iterator[Reporter]:
    """Say what the run in `folder`, whose lock is held, is doing; at the end that it stopped or failed, or nothing."""
    reporter = Reporter(folder)
    try:
        yield reporter
    except Interrupted as stop:
        reporter.finish("stopped", stop.step)
        raise
    except KeyboardInterrupt:
        reporter.finish("stopped", None)
        raise
    except Exception as error:
        reporter.finish("failed", None, " ".join(in_a_line(error, LESS_MEMORY_OF_A_RUN).split()))
        raise
    state_path(folder).unlink(missing_ok=True)


def leave_reason(folder: Path, reason: str) -> None:
    """Record why a run failed whose process died without a word; a process that works on it overwrites this."""
    said = StateFile.read_if_valid(state_path(folder)) or _here()
    update = {"state": "failed", "seconds_left": None, "reason": reason, "updated": utc_now()}
    with suppress(OSError):
        said.model_copy(update=update).save(state_path(folder))


def _here() -> StateFile:
    job = next((f"{name}={os.environ[name]}" for name in _JOBS if name in os.environ), None)
    return StateFile(
        state="at work", host=socket.gethostname(), process=os.getpid(), job=job, updated=utc_now()
    )
