"""Targets: commands that are killed at random moments and given again; the end must be as if nothing had happened."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import torch

from fuzzing.outcome import Outcome, Result
from fuzzing.target import Target, digest
from objbench.train.interrupt import EXIT_CODES

SIGNALS = (*3 * (signal.SIGKILL,), signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
MOST_KILLS = 3  # in a trial, before the command is left alone
_LEAVING = 5.0  # seconds that the workers of a killed command have to leave
_TIMES = {  # what two equal runs do not share
    *("date", "wall_seconds", "train_seconds", "images_per_second", "peak_memory_bytes", "mtime_ns", "url"),
}
_UNTOLD = (".lock", "said.log")
_CACHE = ".cache"  # holds times of files


@dataclass
class KillTarget(Target):
    """A command of objbench that is killed.

    Attributes:
        build: Makes what the command needs in a folder.
        lines: The command lines, of which each trial takes one; `{}` stands for the folder.
        serve: What must run meanwhile.
    """

    name: str
    what: str
    build: Callable[[Path], None]
    lines: tuple[tuple[str, ...], ...]
    serve: Callable[[Path], contextlib.AbstractContextManager[object]] | None = None
    cost: int = 10
    limit: float = 240.0

    def begin(self, folder: Path) -> None:
        """Give the command once, undisturbed: how long it takes, and what it makes."""
        self._sound, self._work = folder / "sound", folder / "work"
        self._log = folder / "said.log"
        if not self._sound.exists():
            fresh = folder / "fresh"
            shutil.rmtree(fresh, ignore_errors=True)
            fresh.mkdir(parents=True)
            self.build(fresh)
            fresh.rename(self._sound)
        self._stack = contextlib.ExitStack()
        if self.serve is not None:
            self._stack.enter_context(self.serve(self._work))
        self._seconds: dict[tuple[str, ...], float] = {}
        for line in self.lines:
            self._fresh()
            start = time.monotonic()
            code = self._wait(self._start(line))
            if code != 0:
                raise RuntimeError(f"{' '.join(line)}: exit code {code}: {self._said()}")
            self._seconds[line] = time.monotonic() - start
            self._good = state(self._work)

    def trial(self, random: Random) -> Result:
        """Kill the command once or more, give it again, and compare."""
        self._fresh()
        line = random.choice(self.lines)
        told = [" ".join(line)]
        for _ in range(random.randrange(MOST_KILLS) + 1):
            number, moment = random.choice(SIGNALS), random.random() * 1.05 * self._seconds[line]
            told.append(f"{number.name} after {moment:.2f} s")
            fault = self._kill(line, number, moment)
            if fault:
                return Result(Outcome.UNNAMED, f"{'; '.join(told)}: {fault}")
        code = self._wait(self._start(line))
        if code != 0:
            return Result(Outcome.UNNAMED, f"{'; '.join(told)}: then exit code {code}: {self._said()}")
        found = state(self._work)
        different = sorted(
            name for name in found.keys() | self._good.keys() if found.get(name) != self._good.get(name)
        )
        if different:
            return Result(Outcome.SILENT, f"{'; '.join(told)}: other content: {', '.join(different)}")
        return Result(Outcome.SAME, "; ".join(told))

    def _kill(self, line: tuple[str, ...], number: signal.Signals, moment: float) -> str | None:
        """Start the command, end it by a signal; what is wrong with the way it ended."""
        process = self._start(line)
        time.sleep(moment)
        os.kill(process, number)
        code = self._wait(process)
        end = time.monotonic() + _LEAVING
        while left := _session(process):
            if time.monotonic() > end:
                for other in left:
                    os.kill(other, signal.SIGKILL)
                return f"{len(left)} of its processes stayed"
            time.sleep(0.01)
        if code not in (0, -number, 128 + number):
            return f"exit code {code}: {self._said()}"
        said = self._said()
        return f"said: {said}" if "Traceback" in said or "(unexpected" in said else None

    def _fresh(self) -> None:
        shutil.rmtree(self._work, ignore_errors=True)
        shutil.copytree(self._sound, self._work)

    def _start(self, line: tuple[str, ...]) -> int:
        """The command in a process and session of its own, which has imported everything already."""
        self._log.unlink(missing_ok=True)
        process = os.fork()
        if process:
            return process
        code = 70
        try:
            os.setsid()
            _as_started(self._log)
            from objbench.cli.main import app

            app([word.replace("{}", str(self._work)) for word in line])
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else int(end.code is not None)
        except KeyboardInterrupt:  # before the command handles signals, as in an interpreter that starts
            code = EXIT_CODES[signal.SIGINT]
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)

    def _wait(self, process: int) -> int:
        return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])

    def _said(self) -> str:
        text = self._log.read_text(errors="replace") if self._log.exists() else ""
        return text.replace(str(self._work), "")[-600:]


def _as_started(log: Path) -> None:
    """Signals, alarms and output as a shell gives them to a command."""
    signal.setitimer(signal.ITIMER_REAL, 0)
    for number in (signal.SIGALRM, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    file = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(file, 1)
    os.dup2(file, 2)


def _session(leader: int) -> list[int]:
    """The living processes of the session that `leader` began."""
    found = []
    for entry in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            state, _, _, session, *_ = entry.read_text().rpartition(")")[2].split()
            if int(session) == leader and state != "Z":
                found.append(int(entry.parent.name))
    return found


def state(folder: Path) -> dict[str, str]:
    """A hash of each file, without times; locks and the cache do not count."""
    return {
        str(path.relative_to(folder)): _content(path)
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not path.name.endswith(_UNTOLD) and _CACHE not in path.parts
    }


def _content(path: Path) -> str:
    if path.suffix == ".json":
        return digest(json.dumps(_timeless(json.loads(path.read_bytes())), sort_keys=True))
    if path.suffix == ".pt":
        kept = torch.load(path, weights_only=True)
        return digest({name: value for name, value in kept.items() if "seconds" not in name})
    return digest(path.read_bytes())


def _timeless(content: Any) -> Any:
    if isinstance(content, dict):
        return {key: _timeless(value) for key, value in content.items() if key not in _TIMES}
    return [_timeless(value) for value in content] if isinstance(content, list) else content
