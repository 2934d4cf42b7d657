"""Worker processes: results in order, errors in the caller, nobody left behind."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from objbench.data import workers
from objbench.data.workers import AHEAD, run
from objbench.errors import ObjbenchError


@pytest.mark.parametrize("count", [1, 2])
def test_results_come_in_the_order_of_the_jobs(count: int) -> None:
    assert list(run("operator:neg", range(20), count)) == [-job for job in range(20)]


def test_jobs_are_taken_as_they_are_needed() -> None:
    taken = []

    def jobs() -> Iterator[int]:
        for job in range(100):
            taken.append(job)
            yield job

    results = run("operator:neg", jobs(), 2)
    next(results)
    assert len(taken) <= 2 * (AHEAD + 1) + 1
    results.close()


@pytest.mark.parametrize("count", [1, 2])
def test_a_refusal_of_the_file_system_arrives_as_it_is(count: int, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError) as caught:
        list(run("os:stat", [tmp_path / "none"], count))
    assert caught.value.filename == str(tmp_path / "none")


def test_an_unexpected_error_brings_its_traceback() -> None:
    with pytest.raises(RuntimeError, match="in a worker process: ValueError: invalid literal") as caught:
        list(run("builtins:int", ["three"], 2))
    assert any("Traceback" in note for note in caught.value.__notes__)


def test_the_death_of_a_worker_is_an_error() -> None:
    with pytest.raises(ObjbenchError, match=r"a worker process ended unexpectedly \(exit code 3\)"):
        list(run("os:_exit", [3], 2))


def test_no_process_is_left_when_the_consumer_stops(monkeypatch: pytest.MonkeyPatch) -> None:
    started = []
    start = workers._start

    def watched(function: str) -> subprocess.Popen[bytes]:
        started.append(start(function))
        return started[-1]

    monkeypatch.setattr(workers, "_start", watched)
    results = run("operator:neg", iter(range(1000)), 2)
    next(results)
    results.close()
    assert [process.returncode is not None for process in started] == [True, True]


def test_workers_end_with_the_process_that_started_them() -> None:
    code = (
        "import os\nfrom objbench.data import workers\n"
        "results = workers.run('operator:neg', iter(range(1000)), 1 + 1)\n"
        "start, pids = workers._start, []\n"
        "workers._start = lambda f: pids.append(start(f)) or pids[-1]\n"
        "next(results); print(*[p.pid for p in pids], flush=True); os.kill(os.getpid(), 9)\n"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    pids = found.stdout.split()
    assert len(pids) == 2
    until = time.monotonic() + 20
    while any(is_alive(pid) for pid in pids) and time.monotonic() < until:
        time.sleep(0.01)
    assert not any(is_alive(pid) for pid in pids)


def is_alive(pid: str) -> bool:
    """Whether a process runs; one that has ended and waits to be collected has no command line."""
    try:
        return bool(Path(f"/proc/{pid}/cmdline").read_bytes())
    except (FileNotFoundError, ProcessLookupError):
        return False
