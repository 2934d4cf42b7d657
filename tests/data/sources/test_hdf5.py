from __future__ import annotations

import contextlib
import errno
import fcntl
import gzip
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import h5py
import numpy as np
import pytest

from objbench.data.sources.hdf5 import member, opened
from objbench.errors import ObjbenchError


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        file["train/imgs"] = np.arange(6)
    return path


def message(path: Path) -> str:
    """What is said of a file that cannot be opened or listed; it begins with the file's name."""
    with pytest.raises(ObjbenchError) as error, opened(path) as file:
        list(file)
    text = str(error.value)
    assert text.startswith(f"{path}: ")
    assert "\n" not in text
    return text.removeprefix(f"{path}: ")


def test_a_sound_file_is_opened_and_closed(path: Path) -> None:
    with opened(path) as file:
        assert file["train/imgs"][:].tolist() == [0, 1, 2, 3, 4, 5]
    assert not file


def test_a_file_that_another_process_writes_is_locked(path: Path) -> None:
    with path.open("rb") as holder:
        fcntl.flock(holder, fcntl.LOCK_EX)
        text = message(path)
    assert text.startswith("locked: another process has it open for writing; close it there (in a notebook?)")
    assert "HDF5_USE_FILE_LOCKING=FALSE" in text


def test_a_file_system_without_locks_is_named_as_one(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(
            errno.ENOLCK,
            "Unable to synchronously open file (unable to lock file, errno = 37, error message = 'No locks available')",
        )

    monkeypatch.setattr(h5py, "File", refuse)
    assert message(path) == (
        "its file system gives no locks (No locks available); set HDF5_USE_FILE_LOCKING=FALSE in the environment, or "
        "copy it to another file system"
    )


def test_a_file_that_its_writer_did_not_close_is_named_as_one(path: Path) -> None:
    code = f"import h5py, os; f = h5py.File({str(path)!r}, 'w', libver='latest'); f['x'] = 1; f.flush(); os._exit(0)"
    subprocess.run([sys.executable, "-c", code], check=True)
    assert message(path).startswith("not closed: a program is still writing it, or ended without closing it")


@contextlib.contextmanager
def unprivileged() -> Iterator[None]:
    """As a user whom permissions hold back."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


def test_missing_permission_is_named(path: Path) -> None:
    path.chmod(0)
    with unprivileged():
        text = message(path)
    assert (
        text == "no permission to read it (Permission denied); see to its permissions and those of its folder"
    )


def test_a_disk_that_fails_is_not_called_a_damaged_file(path: Path) -> None:
    with (
        pytest.raises(ObjbenchError, match=r"a.h5: cannot be read: Input/output error; see to its disk"),
        opened(path),
    ):
        raise OSError(errno.EIO, "Can't synchronously read data (file read failed: ... errno = 5)")


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", "not an HDF5 file (it is empty); get another copy of it"),
        (b"<html><body>", "not an HDF5 file (it begins with b'<html><b'); get another copy of it"),
        (
            gzip.compress(b"scenes", mtime=0),
            "not an HDF5 file, but something compressed by gzip: unpack it with gunzip",
        ),
    ],
)
def test_files_that_are_no_hdf5_say_what_they_are(path: Path, content: bytes, expected: str) -> None:
    path.write_bytes(content)
    assert message(path) == expected


def test_a_truncated_file_says_how_much_of_it_is_there(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[:-40])
    size = len(content)
    assert message(path) == (
        f"damaged or truncated: it has {size - 40:,} of the {size:,} bytes that it should have; get another copy of it"
    )


@pytest.mark.parametrize("signature", [b"TREE", b"HEAP", b"SNOD"])
def test_a_damaged_group_is_named_as_damaged(path: Path, signature: bytes) -> None:
    content = path.read_bytes()
    path.write_bytes(content.replace(signature, b"XXXX"))
    assert re.fullmatch(r"damaged: HDF5 says: .*signature.*; get another copy of it", message(path))


def test_objbench_s_own_errors_pass(path: Path) -> None:
    with pytest.raises(ObjbenchError, match=r"^mine$"), opened(path):
        raise ObjbenchError("mine")


def test_members_are_found_by_name_and_kind(path: Path) -> None:
    with opened(path) as file:
        group = member(path, file, "train", h5py.Group)
        assert member(path, group, "imgs", h5py.Dataset)[5] == 5
        with pytest.raises(ObjbenchError, match=r"a.h5: / has no 'test'; it has: train"):
            member(path, file, "test", h5py.Group)
        with pytest.raises(ObjbenchError, match=r"a.h5: /train/imgs is no group, expected a group"):
            member(path, group, "imgs", h5py.Group)
        with pytest.raises(ObjbenchError, match=r"a.h5: /train is a group, expected an array"):
            member(path, file, "train", h5py.Dataset)


def test_links_to_nothing_and_to_other_files_are_refused(path: Path) -> None:
    other = path.with_name("b.h5")
    with h5py.File(other, "w") as file:
        file["x"] = 1
    with h5py.File(path, "a") as file:
        file["soft"] = h5py.SoftLink("/nothing")
        file["external"] = h5py.ExternalLink("b.h5", "/x")
    with opened(path) as file:
        with pytest.raises(
            ObjbenchError, match=r"a.h5: damaged, or a link to nothing: 'soft' of /: HDF5 says: .*; get"
        ):
            member(path, file, "soft", h5py.Dataset)
        with pytest.raises(ObjbenchError, match=rf"'external' of / is kept in another file, .*{other.name}"):
            member(path, file, "external", h5py.Dataset)
