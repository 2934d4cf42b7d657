"""Locks: what they say when they cannot be had."""

from __future__ import annotations

import errno

import pytest
from filelock import FileLock, Timeout

from objbench import files
from objbench.errors import ObjbenchError
from objbench.files import exclusive_lock


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
    monkeypatch.setattr(files.FileLock, "acquire", occupied)
    with pytest.raises(ObjbenchError) as error, exclusive_lock(path, "seed 0 is running"):
        pass
    assert str(error.value).startswith("seed 0 is running (process 4711 on node7); wait for it or stop it.")
    assert str(error.value).endswith(f"remove its lock file {path}")


@pytest.mark.parametrize("code", [errno.ENOLCK, errno.EOPNOTSUPP])
def test_a_file_system_without_locks_is_named(tmp_path, monkeypatch, code):
    def refuse(self: FileLock, timeout: float) -> None:
        raise OSError(code, "No locks available")

    monkeypatch.setattr(files.FileLock, "acquire", refuse)
    with pytest.raises(ObjbenchError) as error, exclusive_lock(tmp_path / ".lock", "occupied"):
        pass
    assert str(error.value) == (
        f"{tmp_path / '.lock'}: this file system gives no locks (No locks available); choose a folder on another one "
        "with --data or --runs, or have its lock service started"
    )
