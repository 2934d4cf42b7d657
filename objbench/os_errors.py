"""Errors of the file system: the file that they are about, and what to do."""

from __future__ import annotations

import errno
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from objbench.errors import ObjbenchError

FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Add `path` to errors of the file system that name no file, as those of write() do."""
    try:
        yield
    except OSError as error:
        if error.filename is None and error.errno is not None:
            error.filename = str(path)
        raise


@contextmanager
def explain_os_errors(folder: Path, option: str, goes_on: bool = True) -> Iterator[None]:
    """Turn refusals of the file system into an ObjbenchError that names the file and the remedy.

    Args:
        folder: What the work writes to; the file, where an error does not name one.
        option: The command-line option that chose the folder.
        goes_on: Whether the same command continues where it stopped.
    """
    try:
        yield
    except OSError as error:
        path = Path(os.fsdecode(error.filename)) if isinstance(error.filename, str | bytes) else folder
        within = path.absolute().is_relative_to(folder.absolute())
        above = folder.absolute().is_relative_to(path.absolute())  # a folder that had to be made first
        remedy = remedy_of(error.errno, path, option if within or above else None)
        if remedy is None:
            raise
        again = (
            "; the same command then continues where it stopped" if goes_on and error.errno in FULL else ""
        )
        raise ObjbenchError(f"{path}: {error.strerror}; {remedy}{again}") from error


def remedy_of(code: int | None, path: Path, option: str | None = None) -> str | None:
    """What to do after an error of the file system, None if that is not known.

    Args:
        code: The number of the error.
        path: The file or folder.
        option: The command-line option that chose it; None: another file.
    """
    temporary = option is None and tempfile.tempdir is not None and path.is_relative_to(tempfile.tempdir)
    if code == errno.EFBIG:
        return "raise the limit on the size of files (ulimit -f)"
    if code in FULL:
        elsewhere = ", or name a folder on another disk in TMPDIR" if temporary else ""
        return f"free some space (or quota){elsewhere}"
    if code in (errno.EACCES, errno.EPERM, errno.EROFS):
        return f"choose a folder that you can write to with {option}" if option else "see to its permissions"
    if code == errno.ENOTDIR:
        return "a file stands where a folder is expected: choose another place"
    return None
