"""Opening HDF5 files: every fault of h5py as one plain message with the file's name and the remedy."""

from __future__ import annotations

import errno
import os
import re
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py

from objbench.errors import ObjbenchError

FAULTS = (
    OSError,
    RuntimeError,
    LookupError,
    TypeError,
    ValueError,
    ArithmeticError,
)  # of h5py, for a damaged file
ANOTHER_COPY = "get another copy of it"
_NO_LOCKING = "set HDF5_USE_FILE_LOCKING=FALSE in the environment"
_LOCKED = (
    "locked: another process has it open for writing; close it there (in a notebook?) and try again. If no process "
    f"writes to it, {_NO_LOCKING}"
)
_UNCLOSED = (
    "not closed: a program is still writing it, or ended without closing it; close it there, or, if nothing was being "
    "written, repair it with h5clear -s FILE"
)
_ZIP = "a zip archive, and HDF5 cannot be read inside one: unpack it, and give the folder with --raw"
_OF_THE_CONTENT = (errno.EINVAL, errno.EFAULT, errno.EOVERFLOW, errno.EFBIG)  # a damaged address leads there


@contextmanager
def opened(path: Path) -> Iterator[h5py.File]:
    """Open an HDF5 file for reading.

    Raises:
        ObjbenchError: It cannot be opened, or HDF5 fails on it inside the `with` block. The message has the file's
            name, the fault (no permission, locked, a file system without locks, not closed, no HDF5, truncated,
            damaged) and the remedy.
    """
    try:
        with h5py.File(path, "r") as file:
            yield file
    except FAULTS as error:
        raise ObjbenchError(f"{path}: {_explained(path, error)}") from error


def member(path: Path, group: h5py.Group, name: str, kind: type[Any]) -> Any:
    """The group or dataset `name` in `group`.

    Raises:
        ObjbenchError: It is not there, of another kind, a link that leads nowhere, or kept in another file.
    """
    try:
        found = group[name]
    except KeyError as error:
        if name in map(str, group):
            raise ObjbenchError(
                f"{path}: damaged, or a link to nothing: '{name}' of {group.name}: HDF5 says: {one_line(error)}; "
                f"{ANOTHER_COPY}"
            ) from error
        raise missing(path, group, f"'{name}'") from error
    if not isinstance(found, kind):
        what = "a group" if isinstance(found, h5py.Group) else "no group"
        expected = "a group" if issubclass(kind, h5py.Group) else "an array"
        raise ObjbenchError(f"{path}: {found.name} is {what}, expected {expected}")
    if found.file.filename != group.file.filename:
        raise ObjbenchError(
            f"{path}: '{name}' of {group.name} is kept in another file, {found.file.filename}"
        )
    return found


def missing(path: Path, group: h5py.Group, what: str) -> ObjbenchError:
    """The error for a group that lacks something."""
    there = ", ".join(sorted(map(str, group))) or "nothing"
    return ObjbenchError(f"{path}: {group.name} has no {what}; it has: {there}")


def one_line(error: Exception) -> str:
    """What h5py says, which may have several lines."""
    return " ".join(str(error.args[0] if isinstance(error, KeyError) and error.args else error).split())


def _explained(path: Path, error: Exception) -> str:
    """What is wrong with a file that HDF5 cannot open or read, and what to do."""
    text, code = one_line(error), getattr(error, "errno", None)
    if "unable to lock file" in text:
        return _without_lock(code)
    if code in (errno.EACCES, errno.EPERM):
        return (
            f"no permission to read it ({os.strerror(code)}); see to its permissions and those of its folder"
        )
    if code and code not in _OF_THE_CONTENT:
        return f"cannot be read: {os.strerror(code)}; see to its disk, or {ANOTHER_COPY}"
    return _foreign(path) or _damaged(text)


def _without_lock(code: int | None) -> str:
    if code in (errno.EAGAIN, errno.EACCES):
        return _LOCKED
    why = os.strerror(code) if code else "no reason given"
    return f"its file system gives no locks ({why}); {_NO_LOCKING}, or copy it to another file system"


def _damaged(text: str) -> str:
    if "already open for" in text:
        return _UNCLOSED
    if sizes := re.search(r"truncated file: eof = (\d+).*stored_eof = (\d+)", text):
        found, expected = map(int, sizes.groups())
        return f"damaged or truncated: it has {found:,} of the {expected:,} bytes that it should have; {ANOTHER_COPY}"
    return f"damaged: HDF5 says: {text}; {ANOTHER_COPY}"


def _foreign(path: Path) -> str:
    """What a file is that is no HDF5; empty for one that is."""
    if h5py.is_hdf5(path):
        return ""
    if zipfile.is_zipfile(path):
        return _ZIP
    with path.open("rb") as file:
        head = file.read(8)
    if head[:2] == b"\x1f\x8b":
        return "not an HDF5 file, but something compressed by gzip: unpack it with gunzip"
    return f"not an HDF5 file ({'it is empty' if not head else f'it begins with {head!r}'}); {ANOTHER_COPY}"
