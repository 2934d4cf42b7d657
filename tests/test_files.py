"""Files that are synced or cannot be written, and locks that cannot be had: what is said."""

from __future__ import annotations

import errno
import fcntl
import logging
import os
import re
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from filelock import FileLock, Timeout

from objbench import files
from objbench.errors import ObjbenchError, RequestError
from objbench.files import (
    check_output,
    exclusive_lock,
    explain_os_errors,
    naming,
    replacing,
    replacing_output,
    walk,
    write_atomically,
)


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


@pytest.mark.parametrize("buffering", [0, -1], ids=["in write", "in close"])
def test_an_error_of_a_file_names_it(tmp_path: Path, buffering: int) -> None:
    def fail() -> None:
        with naming(tmp_path / "a"), Path("/dev/full").open("wb", buffering=buffering) as file:
            file.write(b"x")

    with pytest.raises(OSError, match="No space left") as caught:
        fail()
    assert caught.value.filename == str(tmp_path / "a")
    with pytest.raises(FileNotFoundError) as named, naming(tmp_path / "a"):
        (tmp_path / "b").open()
    assert named.value.filename == str(tmp_path / "b")


@pytest.mark.parametrize(
    ("code", "where", "message"),
    [
        (
            errno.ENOSPC,
            "data/a",
            r"data/a: No space left on device; free some space \(or quota\); the same command",
        ),
        (
            errno.ENOSPC,
            None,
            r"data: No space left on device; free some space \(or quota\); the same command",
        ),
        (
            errno.ENOSPC,
            "tmp/a",
            r"tmp/a: No space .*quota\), or name a folder on another disk in TMPDIR; the same",
        ),
        (
            errno.EACCES,
            "data/a",
            "data/a: Permission denied; choose a folder that you can write to with --data",
        ),
        (errno.EACCES, "raw/a", "raw/a: Permission denied; see to its permissions"),
        (errno.EACCES, "data", "data: Permission denied; choose a folder that you can write to with --data"),
        (errno.EACCES, "", "Permission denied; choose a folder that you can write to with --data"),
        (
            errno.EFBIG,
            "data/a",
            r"data/a: File too large; raise the limit on the size of files \(ulimit -f\)",
        ),
    ],
)
def test_the_remedy_is_that_of_the_right_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int, where: str | None, message: str
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "tmp"))
    name = None if where is None else str(tmp_path / where)
    with pytest.raises(ObjbenchError, match=message), explain_os_errors(tmp_path / "data", "--data"):
        raise OSError(code, os.strerror(code), name)


@pytest.mark.parametrize(("code", "named"), [(errno.ENOSPC, "b"), (errno.EFBIG, "b"), (errno.EIO, "a")])
def test_a_copy_that_found_no_space_names_what_was_written(tmp_path: Path, code: int, named: str) -> None:
    with (
        pytest.raises(OSError, match=re.escape(os.strerror(code))) as raised,
        replacing(tmp_path / "b") as partial,
    ):
        raise OSError(
            code, os.strerror(code), str(tmp_path / "a"), None, str(partial)
        )  # as shutil.copyfile does
    assert raised.value.filename == str(tmp_path / named)


def test_a_file_that_reaches_the_limit_of_sizes_is_named(tmp_path: Path) -> None:
    code = (
        "import resource, signal, sys\nfrom pathlib import Path\nfrom objbench.files import write_atomically\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\nresource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))\n"
        "try:\n    write_atomically(Path(sys.argv[1]), 'x' * 100_000)\n"
        "except OSError as error:\n    print(error.filename, error.strerror)\n"
    )
    path = str(tmp_path / "a.json")
    found = subprocess.run([sys.executable, "-c", code, path], capture_output=True, text=True, check=True)
    assert found.stdout == f"{path} File too large\n"
    assert not list(tmp_path.iterdir())


def test_the_folder_is_synced_after_the_file_has_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.txt"
    events: list[tuple[str, bool]] = []
    monkeypatch.setattr(files, "sync", lambda synced: events.append((synced.name, path.exists())))
    write_atomically(path, "text")
    assert events == [("a.txt.partial", False), (tmp_path.name, True)]


def test_writers_that_know_nothing_of_each_other_do_not_disturb(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"

    def write(number: int) -> None:
        with replacing_output(path) as partial:
            partial.write_text(f"{number}\n" * 1000)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(write, range(10, 200)))
    lines = path.read_text().splitlines()
    assert len(lines) == 1000
    assert len(set(lines)) == 1
    assert [found.name for found in tmp_path.iterdir()] == ["a.txt"]


def refusing(code: int) -> Callable[..., None]:
    def refuse(*arguments: object, **options: object) -> None:
        raise OSError(code, os.strerror(code))

    return refuse


@pytest.mark.parametrize("code", [errno.EINVAL, errno.EOPNOTSUPP, errno.ENOSYS])
def test_a_file_system_that_cannot_sync_is_written_to_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    monkeypatch.setattr(os, "fsync", refusing(code))
    write_atomically(tmp_path / "a.txt", "text")
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("a.txt", "text")]


@pytest.mark.parametrize("code", [errno.EIO, errno.ENOSPC, errno.ENOLCK])
def test_a_failed_sync_leaves_the_old_file_and_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    path = tmp_path / "a.txt"
    path.write_text("old")
    monkeypatch.setattr(os, "fsync", refusing(code))
    with pytest.raises(OSError, match=os.strerror(code)) as caught:
        write_atomically(path, "new")
    assert caught.value.filename == str(path)
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("a.txt", "old")]


@pytest.mark.parametrize("code", [errno.EBADF, errno.EACCES])
def test_a_folder_that_cannot_be_synced_is_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    (tmp_path / "file").write_bytes(b"")
    monkeypatch.setattr(os, "fsync", refusing(code))
    files.sync(tmp_path)
    with pytest.raises(OSError, match=os.strerror(code)):
        files.sync(tmp_path / "file")


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
    monkeypatch.setattr(files, "_SILENT_WAIT", 0.05)
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


def test_an_output_needs_its_folder(tmp_path):
    (tmp_path / "file").touch()
    (tmp_path / "folder.png").mkdir()
    check_output(tmp_path / "new.png")
    check_output(tmp_path / "file")
    check_output(Path("/dev/stdout"))
    check_output(Path("new.png"))
    for name, message in {
        "no/such/a.png": f"--output {tmp_path}/no/such/a.png: the folder {tmp_path}/no/such does not exist; make it first",
        "file/a.png": f"--output {tmp_path}/file/a.png: the folder {tmp_path}/file is no folder",
        "folder.png": f"--output {tmp_path}/folder.png: a folder, expected the name of a file",
    }.items():
        with pytest.raises(RequestError, match=re.escape(message)):
            check_output(tmp_path / name)


def test_folders_are_walked_once_through_links_and_without_hidden_ones(tmp_path: Path) -> None:
    root, elsewhere = tmp_path / "root", tmp_path / "elsewhere"
    for folder in ("root/b/.hidden", "root/b/c", "elsewhere/d"):
        (tmp_path / folder).mkdir(parents=True)
    (elsewhere / "d" / "file").write_text("")
    (root / "a").symlink_to(root / "b")
    (root / "b" / "up").symlink_to(root)
    (root / "z").symlink_to(elsewhere)
    (elsewhere / "back").symlink_to(tmp_path)
    found = {str(folder.relative_to(tmp_path)): files for folder, _, files in walk(root)}
    assert found["root/z/d"] == ["file"]
    assert {name.partition("/back")[0] for name in found} == {
        "root",
        "root/b",
        "root/b/c",
        "root/z",
        "root/z/d",
    }
    assert sum("file" in files for files in found.values()) == 1


def test_an_output_on_a_disk_for_reading_is_named_with_its_option(tmp_path, monkeypatch):
    def fail(path: Path, *arguments: object, **options: object) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(path))

    monkeypatch.setattr(Path, "unlink", fail)
    place = tmp_path / "x.png"
    message = f"{place}: Read-only file system; choose a folder that you can write to with --output"
    with pytest.raises(ObjbenchError, match=re.escape(message)), replacing_output(place) as partial:
        fail(partial)
