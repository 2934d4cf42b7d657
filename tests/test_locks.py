"""Locks: who holds one, and file systems without them."""

from __future__ import annotations

import errno
import fcntl
import logging
import os
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from filelock import FileLock, Timeout

from objbench import locks
from objbench.errors import ObjbenchError
from objbench.locks import LockedError, exclusive_lock, folder_lock


def refusing(code: int) -> Callable[..., None]:
    def refuse(*arguments: object, **options: object) -> None:
        raise OSError(code, os.strerror(code))

    return refuse


def test_an_occupied_lock_names_its_file_and_the_remedy(tmp_path):
    path = tmp_path / ".seed-0.lock"
    with FileLock(path), pytest.raises(ObjbenchError) as error, exclusive_lock(path, "seed 0 is running"):
        pass
    assert str(error.value) == (
        "seed 0 is running; wait for it or stop it. If it ended with its machine, remove its lock file "
        f"{path}"
    )


def test_a_lock_of_another_host_names_process_and_host(tmp_path, monkeypatch):
    def occupied(self: FileLock, timeout: float) -> None:
        raise Timeout("")

    path = tmp_path / ".seed-0.lock"
    path.write_text("4711\nnode7\n1\n")
    monkeypatch.setattr(locks.FileLock, "acquire", occupied)
    with pytest.raises(ObjbenchError) as error, exclusive_lock(path, "seed 0 is running"):
        pass
    assert str(error.value).startswith("seed 0 is running (process 4711 on node7); wait for it or stop it.")
    assert str(error.value).endswith(f"remove its lock file {path}")


@pytest.mark.parametrize("code", [errno.ENOLCK, errno.EOPNOTSUPP])
def test_a_file_system_without_locks_is_named(tmp_path, monkeypatch, code):
    def refuse(self: FileLock, timeout: float) -> None:
        raise OSError(code, "No locks available")

    monkeypatch.setattr(locks.FileLock, "acquire", refuse)
    with pytest.raises(ObjbenchError) as error, exclusive_lock(tmp_path / ".lock", "occupied"):
        pass
    assert str(error.value) == (
        f"{tmp_path / '.lock'}: this file system gives no locks (No locks available); choose a folder on another one "
        "with --data or --runs, or have its lock service started"
    )


@pytest.mark.parametrize("occupied", [None, "occupied"])
@pytest.mark.parametrize("code", [errno.EIO, errno.EINVAL])
def test_a_lock_that_fails_for_another_reason_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int, occupied: str | None
) -> None:
    monkeypatch.setattr(fcntl, "flock", refusing(code))
    with pytest.raises(OSError, match=os.strerror(code)) as caught, exclusive_lock(tmp_path / "l", occupied):
        pass
    assert caught.value.filename == str(tmp_path / "l")


def test_without_flock_the_existence_of_the_file_is_the_lock_and_nothing_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fcntl, "flock", refusing(errno.ENOSYS))  # a warning would be an error here
    with exclusive_lock(tmp_path / "l", "occupied"):
        with pytest.raises(ObjbenchError, match="occupied"), exclusive_lock(tmp_path / "l", "occupied"):
            pass
        assert (tmp_path / "l").exists()


def test_waiting_for_a_lock_is_announced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(locks, "_SILENT_WAIT", 0.05)
    other = (tmp_path / "val.lock").open("w")
    fcntl.flock(other, fcntl.LOCK_EX)
    timer = threading.Timer(1.0, other.close)
    timer.start()
    with caplog.at_level(logging.WARNING), exclusive_lock(tmp_path / "val.lock"):
        timer.join()
    assert (
        "waiting for another process that holds a lock. If it ended with its machine, remove its lock file "
        f"{tmp_path}/val.lock"
    ) in caplog.text


def test_a_folder_is_locked_without_a_file(tmp_path, monkeypatch):
    held, refused = folder_lock(tmp_path, "occupied"), pytest.raises(LockedError, match="occupied")
    with held, refused, folder_lock(tmp_path, "occupied"):
        pytest.fail("locked twice")
    with folder_lock(tmp_path, "occupied"):
        assert list(tmp_path.iterdir()) == []

    def flock(descriptor, operation):
        raise OSError(errno.EBADF, "Bad file descriptor")  # as NFS does for a folder

    monkeypatch.setattr(fcntl, "flock", flock)
    with folder_lock(tmp_path, "occupied"):
        pass
