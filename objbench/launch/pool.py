"""`--launcher local`: several workers on this machine, each with its share of the processors or a GPU of its own.

A worker is a process that takes the next run when it has finished one. It belongs to a process group of its own, so that
Ctrl-C in a terminal reaches the pool alone, which then asks each worker once to stop at its next step.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from typing import NamedTuple

import torch

from objbench.errors import ObjbenchError, RequestError
from objbench.launch.environment import environment
from objbench.launch.log import logged
from objbench.launch.plan import Plan, Planned
from objbench.launch.request import RunRequest
from objbench.launch.view import View, view
from objbench.launch.work import Outcome, Worker
from objbench.one_line import in_a_line
from objbench.os_errors import explain_os_errors
from objbench.progress import Say
from objbench.train.interrupt import Interrupted, Interrupts
from objbench.train.lock import holder
from objbench.train.run_state import leave_reason

_POLL_SECONDS = 0.5
_SPAWN = multiprocessing.get_context("spawn")


class Seat(NamedTuple):
    """Where a worker computes: a device, with so many threads on the CPU."""

    device: str
    threads: int


def devices_of(name: str) -> list[str]:
    """The devices of `--device`, which a comma separates; `auto` is every GPU, or the CPU if there is none."""
    if name == "auto":
        return [f"cuda:{number}" for number in range(torch.cuda.device_count())] or ["cpu"]
    return name.split(",")


def seats(workers: int | None, devices: list[str], processors: int) -> list[Seat]:
    """A seat for every worker: by default one per GPU, and on the CPU one for every two processors.

    >>> seats(2, ["cpu"], 8)
    [Seat(device='cpu', threads=4), Seat(device='cpu', threads=4)]
    >>> [seat.device for seat in seats(3, ["cuda:0", "cuda:1"], 8)]
    ['cuda:0', 'cuda:1', 'cuda:0']
    """
    if workers is None:
        workers = max(processors // 2, 1) if devices == ["cpu"] else len(devices)
    if workers < len(devices):
        raise RequestError(f"--workers {workers}: fewer than the {len(devices)} devices {', '.join(devices)}")
    threads = max(processors // workers, 1)
    return [Seat(devices[number % len(devices)], threads) for number in range(workers)]


class Pool:
    """The workers of a plan, and what each is doing."""

    def __init__(self, plan: Plan, places: list[Seat], interrupts: Interrupts, say: Say) -> None:
        self._request, self._interrupts, self._say = plan.request.elsewhere(), interrupts, say
        self._waiting = plan.to_try
        self._places = places[: len(self._waiting)]
        self._busy: dict[Connection, _Hand] = {}

    def run(self, done: Callable[[Outcome], None]) -> list[Outcome]:
        """Carry out all runs; `done` is told of each when it ends.

        Raises:
            Interrupted: A signal asked to stop; all workers have stopped.
        """
        outcomes: list[Outcome] = []

        def noted(outcome: Outcome) -> None:
            outcomes.append(outcome)
            done(outcome)

        try:
            with self._interrupts.deferred(), view(len(self._waiting)) as shown:
                for place in self._places:
                    self._hire(place)
                while self._busy and not self._interrupts.requested:
                    self._look(noted, shown)
                if self._busy:
                    self._stop()
        finally:
            for hand in self._busy.values():
                hand.process.kill()
        return outcomes

    def _hire(self, place: Seat) -> None:
        """Start a worker on `place` and give it the next run."""
        ours, theirs = _SPAWN.Pipe()
        request = self._request.model_copy(update={"device": place.device})
        with environment(OMP_NUM_THREADS=str(place.threads)):
            process = _SPAWN.Process(target=_serve, args=(theirs, request, os.getpid()))
            process.start()
        theirs.close()
        self._busy[ours] = _Hand(process, place, self._waiting[0])
        self._give(ours)

    def _give(self, connection: Connection) -> None:
        """The next run for a worker, or the end."""
        hand = self._busy[connection]
        try:
            if self._waiting:
                self._busy[connection] = hand._replace(run=self._waiting[0])
                connection.send(self._waiting.pop(0))
            else:
                del self._busy[connection]
                connection.send(None)
                hand.process.join()
        except OSError:  # it has just died; the next look says so
            pass

    def _look(self, done: Callable[[Outcome], None], shown: View) -> None:
        """Wait a moment for workers that are done, and show what the others do."""
        for connection in wait(list(self._busy), _POLL_SECONDS):
            assert isinstance(connection, Connection)
            hand = self._busy[connection]
            try:
                outcome = connection.recv()
            except (EOFError, OSError):  # it died; OSError: before it had read its run, or while it wrote
                del self._busy[connection]
                hand.process.join()
                reason = _death(hand.process.exitcode)
                owner = holder(hand.run.folder)
                if owner is None or owner.process == hand.process.pid:  # else it died while it tried the lock
                    leave_reason(hand.run.folder, reason)
                done(Outcome(hand.run.task, hand.run.folder, reason))
                if self._waiting:
                    self._hire(hand.place)
            else:
                done(outcome)
                self._give(connection)
            shown.finished += 1
        shown.show([hand.run for hand in self._busy.values()])

    def _stop(self) -> None:
        """Ask every worker to stop at its next step, and wait for them; a second Ctrl-C ends them at once."""
        self._say(f"stopping {len(self._busy)} runs at their next step; Ctrl-C again ends them at once")
        for hand in self._busy.values():
            hand.process.terminate()
        for hand in self._busy.values():
            hand.process.join()


class _Hand(NamedTuple):
    """A worker, where it computes, and the run that it has."""

    process: SpawnProcess
    place: Seat
    run: Planned


def _death(code: int | None) -> str:
    """What a worker died of.

    >>> _death(-signal.SIGTERM)
    'its process was ended by SIGTERM'
    >>> _death(-35)  # a real-time signal, which has no name
    'its process was ended by signal 35'
    """
    if code is None or code >= 0:
        return f"its process ended with exit code {code}"
    try:
        name = signal.Signals(-code).name
    except ValueError:
        name = f"signal {-code}"
    memory = "; the system may have ended it for want of memory" if -code == signal.SIGKILL else ""
    return f"its process was ended by {name}{memory}"


def _serve(connection: Connection, request: RunRequest, parent: int) -> None:
    """The worker: carry out what the connection gives, until it gives None or a signal comes."""
    os.setpgid(0, 0)
    interrupts = Interrupts()
    with interrupts.catch():
        _follow(parent)
        worker = Worker(request, request.spec(), interrupts, lambda line: print(line, file=sys.stderr))
        try:
            while (planned := connection.recv()) is not None:
                connection.send(_carry_out(worker, planned))
        except Interrupted as stop:
            sys.exit(stop.exit_code)
        except EOFError:  # the pool is gone
            sys.exit(1)


def _carry_out(worker: Worker, planned: Planned) -> Outcome:
    """What becomes of a run; one that cannot be logged has failed."""
    try:
        with explain_os_errors(planned.folder.parent, "--runs"), logged(planned.folder):
            return worker.run(planned)
    except (ObjbenchError, OSError) as error:
        return Outcome(planned.task, planned.folder, in_a_line(error))


def _follow(parent: int) -> None:
    """Stop, as by SIGTERM, when the process `parent` has ended: nobody would give further work."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1)
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, daemon=True).start()
