"""One process per run, also where the locks of a file system end at the machine."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from objbench.locks import LockedError
from objbench.train import lock
from objbench.train.lock import Holder, holder, sole_owner


def marker(folder: Path, host: str = "elsewhere", process: int = 7, duration: float = 30.0) -> Path:
    """The owner record that a process on `host` leaves."""
    path = folder.with_name(f".{folder.name}.owner")
    path.write_text(
        f"filelock/2\npid={process}\nhost={host}\nmode=lease\ntoken=00ff\nduration={duration!r}\n"
    )
    return path


def refreshed(path: Path, until: threading.Event) -> None:
    while not until.wait(0.1):
        os.utime(path)


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_the_holder_is_known_while_it_holds(tmp_path):
    folder = tmp_path / "seed-0"
    assert holder(folder) is None
    with sole_owner(folder):
        assert holder(folder) == Holder(socket.gethostname(), os.getpid())
    assert holder(folder) is None


def test_a_run_that_another_host_refreshes_is_not_taken(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(lock, "LEASE_SECONDS", 1.5)
    folder = tmp_path / "seed-0"
    path, stop = marker(folder, duration=1.5), threading.Event()
    thread = threading.Thread(target=refreshed, args=(path, stop))
    thread.start()
    try:
        with pytest.raises(LockedError, match=r"process 7 on elsewhere\) is running"), sole_owner(folder):
            pass
    finally:
        stop.set()
        thread.join()
    assert "held by another process (process 7 on elsewhere)" in caplog.text
    assert path.exists()


def test_a_run_that_a_dead_host_left_is_taken_over_after_the_lease(tmp_path, monkeypatch):
    monkeypatch.setattr(lock, "LEASE_SECONDS", 1.5)
    folder = tmp_path / "seed-0"
    marker(folder, duration=1.5)
    start = time.monotonic()
    with sole_owner(folder):
        assert time.monotonic() - start >= 1.5
        assert holder(folder) == Holder(socket.gethostname(), os.getpid())


def test_a_run_that_a_killed_process_of_this_host_left_is_free_at_once(tmp_path):
    folder = tmp_path / "seed-0"
    code = (
        "import sys, time, pathlib; from objbench.train.lock import sole_owner\n"
        "with sole_owner(pathlib.Path(sys.argv[1])): print(1, flush=True); time.sleep(60)"
    )
    process = subprocess.Popen([sys.executable, "-c", code, str(folder)], stdout=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.readline()
    assert holder(folder) == Holder(socket.gethostname(), process.pid)
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()
    assert holder(folder) is None
    start = time.monotonic()
    with sole_owner(folder):
        pass
    assert time.monotonic() - start < 5


def test_the_record_of_another_host_is_shown_while_it_is_fresh(tmp_path):
    folder = tmp_path / "seed-0"
    path = marker(folder)
    assert holder(folder) == Holder("elsewhere", 7)
    os.utime(path, (time.time() - 600, time.time() - 600))
    assert holder(folder) is None


def test_a_holder_whose_run_was_taken_over_is_told(tmp_path, monkeypatch):
    monkeypatch.setattr(lock, "LEASE_SECONDS", 0.3)
    folder, lost = tmp_path / "seed-0", threading.Event()
    with sole_owner(folder, lost.set):
        path = folder.with_name(".seed-0.owner")
        path.unlink()
        marker(folder)
        wait_for(lost.is_set)
    assert "elsewhere" in path.read_text()  # the other one's record stays


def test_a_process_that_has_the_number_of_a_dead_one_does_not_hold_its_run(tmp_path):
    folder = tmp_path / "seed-0"
    path = marker(folder, host=socket.gethostname(), process=os.getpid())
    assert holder(folder) == Holder(socket.gethostname(), os.getpid())
    os.utime(path, (time.time() - 600, time.time() - 600))
    assert holder(folder) is None


def test_the_name_of_a_host_is_told_without_the_mark_of_a_container(tmp_path):
    folder = tmp_path / "seed-0"
    marker(folder, host=f"{socket.gethostname()}?pidns-f0000152", process=2**22 + 1)  # unknown out here
    assert holder(folder) == Holder(socket.gethostname(), 2**22 + 1)
