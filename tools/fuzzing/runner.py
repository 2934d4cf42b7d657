"""Trials in child processes, of which one that hangs or dies takes nothing else with it."""

from __future__ import annotations

import contextlib
import hashlib
import multiprocessing
import os
import resource
import signal
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from pathlib import Path
from random import Random
from types import FrameType

from fuzzing.outcome import HangError, Outcome, Result
from fuzzing.target import Target

_MEMORY = 6 << 30  # bytes that a trial may ask for, besides those of the process
_GRACE = 15.0  # seconds that a process has, beyond the limit of a trial, before it is killed
_STARTS = 3  # attempts to make the sound input
_STARTING = 300.0  # seconds for making the sound input


@dataclass(frozen=True)
class Trial:
    """One trial of a target: its number, with which it can be repeated, and what came of it."""

    number: int
    result: Result


@dataclass
class Work:
    """The trials that a target shall get.

    Attributes:
        numbers: Of the trials, ascending.
        seconds: After which no further trial begins.
    """

    target: Target
    folder: Path
    numbers: Sequence[int]
    seconds: float
    trials: list[Trial] = field(default_factory=list)


def random_of(seed: int, name: str, number: int) -> Random:
    """The random numbers of a trial: the same in each process, whatever was tried before."""
    return Random(hashlib.sha256(f"{seed}/{name}/{number}".encode()).digest())


def run(works: Sequence[Work], seed: int, jobs: int) -> Iterator[Work]:
    """Do all trials, `jobs` targets at a time; gives each work when it is done."""
    waiting, busy = list(reversed(works)), list[_Lane]()
    try:
        while waiting or busy:
            while waiting and len(busy) < jobs:
                busy.append(_Lane(waiting.pop(), seed))
            nearest = min(lane.due for lane in busy) - time.monotonic()
            wait([lane.connection for lane in busy], max(0.0, nearest))
            for lane in list(busy):
                if lane.advance():
                    busy.remove(lane)
                    yield lane.work
    finally:
        for lane in busy:
            lane.kill()


class _Lane:
    """A child process at work on one target; it is replaced when it dies or hangs."""

    def __init__(self, work: Work, seed: int) -> None:
        self.work, self._seed = work, seed
        self._numbers = list(work.numbers)
        self._failed_starts = 0
        self._until = time.monotonic() + work.seconds
        self._start()

    def _start(self) -> None:
        context = multiprocessing.get_context("fork")
        self.connection, theirs = context.Pipe(duplex=False)
        arguments = (theirs, self.work, self._seed, self._numbers, self._until)
        self._process = context.Process(target=_child, args=arguments)
        self._process.start()
        theirs.close()
        self._begun = self._done = False
        self.due = time.monotonic() + _STARTING

    def advance(self) -> bool:
        """Take what the child has sent; whether the work is done."""
        try:
            while not self._done and self.connection.poll():
                self._take(self.connection.recv())
            if self._done:
                return True
        except (EOFError, OSError):
            self.kill()
            code = self._process.exitcode or 0
            return self._lost(Outcome.DIED, f"the process ended with exit code {code}")
        if time.monotonic() >= self.due:
            self.kill()
            return self._lost(Outcome.HANG, "not even an alarm ended it")
        return False

    def _take(self, message: Trial | str | None) -> None:
        if message is None:
            self.kill()
            self._done = True
            return
        if isinstance(message, str):
            self._failed_starts += 1
            if self._failed_starts == _STARTS:
                raise RuntimeError(f"{self.work.target.name}: {message}")
            self.kill()
            self._start()
            return
        if message.number >= 0:
            self.work.trials.append(message)
            self._numbers.remove(message.number)
        self._begun = True
        self.due = time.monotonic() + self.work.target.limit + _GRACE

    def _lost(self, outcome: Outcome, detail: str) -> bool:
        if not self._begun:
            raise RuntimeError(f"{self.work.target.name}: no sound input: {detail}")
        self.work.trials.append(Trial(self._numbers.pop(0), Result(outcome, detail)))
        if not self._numbers or time.monotonic() >= self._until:
            return True
        self._start()
        return False

    def kill(self) -> None:
        """End the child and what it started."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid or 0, signal.SIGKILL)
        self._process.kill()
        self._process.join()
        self.connection.close()


def _child(connection: Connection, work: Work, seed: int, numbers: list[int], until: float) -> None:
    """Send `Trial(-1, ...)` when the sound input is there, each trial, and None at the end."""
    os.setpgid(0, 0)
    work.folder.mkdir(parents=True, exist_ok=True)
    os.environ |= {"OBJBENCH_DATA": str(work.folder / "data"), "OBJBENCH_RUNS": str(work.folder / "runs")}
    os.chdir(work.folder)
    log = os.open(work.folder / "said.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(log, 1)
    os.dup2(log, 2)
    signal.signal(signal.SIGALRM, _alarm)
    try:
        work.target.begin(work.folder)
    except Exception as error:
        connection.send(f"no sound input: {type(error).__name__}: {error}")
        return
    _limit_memory()
    connection.send(Trial(-1, Result(Outcome.SAME)))
    for number in numbers:
        if time.monotonic() >= until:
            break
        connection.send(Trial(number, _one(work.target, random_of(seed, work.target.name, number))))
    connection.send(None)


def _one(target: Target, random: Random) -> Result:
    signal.setitimer(signal.ITIMER_REAL, target.limit)
    try:
        return target.trial(random)
    except HangError:
        return Result(Outcome.HANG, f"no end within {target.limit:.0f} s")
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


def _alarm(number: int, frame: FrameType | None) -> None:
    raise HangError


def _limit_memory() -> None:
    pages = int(Path("/proc/self/statm").read_text().split()[0]) if Path("/proc/self/statm").exists() else 0
    most = pages * resource.getpagesize() + _MEMORY
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (most, hard))
