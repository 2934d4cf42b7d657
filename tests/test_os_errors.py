"""Errors of the file system name the file and the remedy."""

from __future__ import annotations

import errno
import os
import tempfile
from pathlib import Path

import pytest

from objbench.errors import ObjbenchError
from objbench.os_errors import explain_os_errors, naming


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
