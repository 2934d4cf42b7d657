"""Time several candidates in turns, so that other load on the machine affects all of them alike."""

from __future__ import annotations

import math
import os
import random
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

CPU = torch.device("cpu")
PAUSE = 0.02  # seconds, in which the threads of the candidate before stop spinning
STAT = Path("/proc/stat")
BUSY = (0, 1, 2, 5, 6, 7)  # user, nice, system, irq, softirq, steal; not idle, iowait


@dataclass(frozen=True, eq=False)
class Candidate:
    """Something to time, with a number of torch threads."""

    name: str
    run: Callable[[], object]
    threads: int = 1


@dataclass(frozen=True)
class Timing:
    """The cost of one call of a candidate, for each turn.

    Attributes:
        seconds: Wall time, mean over the calls of the turn.
        cpu_seconds: CPU time of all threads of this process.
        other_seconds: CPU time of all other programs at the same time; None if the system does not report it.
        calls: Number of calls per turn.
    """

    seconds: list[float]
    cpu_seconds: list[float]
    other_seconds: list[float] | None
    calls: int


def machine_seconds() -> float | None:
    """CPU seconds of all programs since the system started; None if the system does not report them."""
    if not STAT.exists():
        return None
    with STAT.open() as file:
        ticks = file.readline().split()[1:]
    return sum(int(ticks[i]) for i in BUSY) / os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Clock:
    """Sources of time: seconds of wall time, of CPU time of this process, and of CPU time of all programs."""

    wall: Callable[[], float] = time.perf_counter
    cpu: Callable[[], float] = time.process_time
    machine: Callable[[], float | None] = machine_seconds

    def now(self) -> tuple[float, float, float | None]:
        """The three times; the wall time is read last, next to what is timed."""
        machine, cpu = self.machine(), self.cpu()
        return self.wall(), cpu, machine


SYSTEM = Clock()


def interleave(
    candidates: Sequence[Candidate],
    repeats: int,
    least_seconds: float = 0.1,
    device: torch.device = CPU,
    clock: Clock = SYSTEM,
) -> dict[Candidate, Timing]:
    """Time every candidate `repeats` times: in each round each has one turn, in a changing order.

    Each candidate is called twice before, to warm up and to find the number of calls that take `least_seconds`, the
    minimal length of a turn. On CUDA a call ends when its kernels have finished.
    """
    threads = torch.get_num_threads()
    try:
        calls = [_calls(candidate, least_seconds, device, clock) for candidate in candidates]
        turns: list[list[Turn]] = [[] for _ in candidates]
        order, shuffle = list(range(len(candidates))), random.Random(0).shuffle
        for _ in range(repeats):
            shuffle(order)
            for i in order:
                turns[i].append(_turn(candidates[i], calls[i], device, clock))
    finally:
        torch.set_num_threads(threads)
    return {
        candidate: timing_of(taken, n) for candidate, taken, n in zip(candidates, turns, calls, strict=True)
    }


def quartiles(samples: Sequence[float]) -> tuple[float, float, float]:
    """The first quartile, the median and the third quartile.

    >>> quartiles([1, 2, 3, 4, 100])
    (2.0, 3.0, 4.0)
    """
    low, median, high = np.quantile(samples, [0.25, 0.5, 0.75]).tolist()
    return low, median, high


def say(message: str) -> None:
    """Print a line of progress. A bar would need a thread, which would be measured too."""
    print(message, file=sys.stderr, flush=True)


class Turn(NamedTuple):
    """The cost of one turn of a candidate, as `Timing` has it for all turns."""

    seconds: float
    cpu_seconds: float
    other_seconds: float | None


def timed(work: Callable[[], object], clock: Clock = SYSTEM, calls: int = 1) -> Turn:
    """The cost of one of the `calls` that `work` consists of."""
    wall, cpu, machine = clock.now()
    work()
    wall, cpu = clock.wall() - wall, clock.cpu() - cpu
    at_end = clock.machine()
    # The system counts in ticks of about 10 ms: rounding may leave others less than nothing.
    others = None if machine is None or at_end is None else max(0.0, at_end - machine - cpu) / calls
    return Turn(wall / calls, cpu / calls, others)


def timing_of(turns: Sequence[Turn], calls: int = 1) -> Timing:
    """The turns of a candidate together, each of so many calls."""
    others = [turn.other_seconds for turn in turns if turn.other_seconds is not None]
    return Timing(
        [turn.seconds for turn in turns],
        [turn.cpu_seconds for turn in turns],
        others if len(others) == len(turns) else None,
        calls,
    )


def _calls(candidate: Candidate, least_seconds: float, device: torch.device, clock: Clock) -> int:
    _turn(candidate, 1, device, clock)
    return max(1, math.ceil(least_seconds / _turn(candidate, 1, device, clock).seconds))


def _turn(candidate: Candidate, calls: int, device: torch.device, clock: Clock) -> Turn:
    torch.set_num_threads(candidate.threads)
    time.sleep(PAUSE)
    if calls > 1:  # a short call finds caches and threads as the candidate before it left them
        candidate.run()
    wait(device)

    def work() -> None:
        for _ in range(calls):
            candidate.run()
            wait(device)

    return timed(work, clock, calls)


def wait(device: torch.device) -> None:
    """Until the kernels of a device have finished."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
