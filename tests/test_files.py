"""Files that are synced, replaced, or cannot be written: what is left of them, and what is said."""

from __future__ import annotations

import errno
import os
import re
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from objbench import files
from objbench.errors import ObjbenchError
from objbench.files import replacing, replacing_output, write_atomically


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


def test_an_output_on_a_disk_for_reading_is_named_with_its_option(tmp_path, monkeypatch):
    def fail(path: Path, *arguments: object, **options: object) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(path))

    monkeypatch.setattr(Path, "unlink", fail)
    place = tmp_path / "x.png"
    message = f"{place}: Read-only file system; choose a folder that you can write to with --output"
    with pytest.raises(ObjbenchError, match=re.escape(message)), replacing_output(place) as partial:
        fail(partial)
