"""Worker processes: results in order, errors in the caller, nobody left behind."""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from objbench.data import workers
from objbench.data.workers import AHEAD, run
from objbench.error_line import line_of
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


def test_an_error_in_somebodys_code_names_its_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mine_in_a_worker.py").write_text(
        "import json\n\ndef read(job):\n    return json.loads(job)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(RuntimeError, match="in a worker process: JSONDecodeError") as caught:
        list(run("mine_in_a_worker:read", ["{"], 2))
    assert line_of(caught.value) == f"{tmp_path}/mine_in_a_worker.py:4"


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


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_worker_that_gets_a_signal_leaves_without_a_word(number: signal.Signals) -> None:
    command = [sys.executable, "-P", "-m", "objbench.data.workers", "operator:neg"]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(command, **pipes) as process:  # type: ignore[call-overload]
        process.stdin.write(pickle.dumps(3))
        process.stdin.flush()
        assert pickle.load(process.stdout) == (-3, None)
        process.send_signal(number)
        assert process.communicate(timeout=20) == (b"", b"")
        assert process.returncode == -number


@pytest.mark.parametrize("job", [pickle.dumps(bytes(10_000))[:-5], pickle.dumps(3)[:-1], b"\x80"])
def test_a_job_that_breaks_off_ends_a_worker_without_a_word(job: bytes) -> None:
    command = [sys.executable, "-P", "-m", "objbench.data.workers", "operator:neg"]
    found = subprocess.run(command, input=job, capture_output=True, check=True)
    assert (found.stdout, found.stderr) == (b"", b"")


def test_a_worker_whose_answer_nobody_takes_ends_without_a_word() -> None:
    read, write = os.pipe()
    os.close(read)
    command = [sys.executable, "-P", "-m", "objbench.data.workers", "builtins:bytes"]
    job = pickle.dumps(1_000_000)
    found = subprocess.run(command, input=job, stdout=write, stderr=subprocess.PIPE, check=False)
    os.close(write)
    assert (found.returncode, found.stderr) == (1, b"")


@pytest.mark.parametrize(("function", "job"), [("builtins:bytes", 1 << 60), ("torch:empty", 1 << 50)])
def test_a_worker_without_memory_says_what_needs_less(function: str, job: int) -> None:
    with pytest.raises(
        ObjbenchError, match="a worker process is out of memory; a smaller --workers needs less"
    ):
        list(run(function, [job], 2))
