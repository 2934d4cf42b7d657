"""Files that no kill, full disk or second process can leave half written; hashes and free space."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import secrets
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from objbench.errors import ObjbenchError
from objbench.os_errors import FULL, explain_os_errors, naming
from objbench.paths import resolved

CHUNK = 1 << 22
_NO_SYNC = {errno.EINVAL, errno.EOPNOTSUPP, errno.ENOSYS}  # of file systems that have no such thing
_NO_SYNC_OF_FOLDERS = {*_NO_SYNC, errno.EBADF, errno.EACCES}


@contextmanager
def replacing(path: Path, alone: bool = True) -> Iterator[Path]:
    """Yield a path to write to; afterwards the file gets the name `path`, complete and synced to the disk.

    If the writing fails, `path` is as it was before, and nothing else is left behind.

    Args:
        path: The file.
        alone: A lock keeps other processes from writing it. What a killed process leaves, `NAME.partial`, the next
            one writes over. Otherwise each writer has a name of its own, and the last one to finish wins; a killed one
            leaves `objbench-SOMETHING.partial`.

    Raises:
        OSError: The file cannot be written; `path` is its filename.
    """
    partial = path.with_name(f"{path.name if alone else f'objbench-{secrets.token_hex(4)}'}.partial")
    try:
        with naming(path):
            yield partial
        sync(partial)
        partial.replace(path)
        sync(path.parent)
    except OSError as error:
        names = (None, partial, str(partial))  # a full disk names no file
        copied = error.errno in FULL and error.filename2 in names[1:]  # shutil names first what was read
        if error.filename in names or copied:
            error.filename, error.filename2 = str(path), None
        raise
    finally:
        with contextlib.suppress(OSError):  # the error that counts is that of the writing
            partial.unlink(missing_ok=True)


def sync(path: Path) -> None:
    """Wait until the disk has the content of a file, or the names in a folder, as far as its file system can."""
    with naming(path):
        try:
            descriptor = os.open(path, os.O_RDONLY)
            try:
                sync_open(descriptor)
            finally:
                os.close(descriptor)
        except OSError as error:
            if error.errno not in _NO_SYNC_OF_FOLDERS or not path.is_dir():
                raise


def sync_open(descriptor: int) -> None:
    """Wait until an open file is on the disk, where its file system can do that."""
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in _NO_SYNC:
            raise


@contextmanager
def replacing_output(path: Path) -> Iterator[Path]:
    """As `replacing`, for a file that a user named, maybe in two commands at once: a link stays one, and a device or pipe
    (/dev/stdout) is written to."""
    if path.exists() and not path.is_file():
        yield path
        return
    place = resolved(path) if path.is_symlink() else path
    with explain_os_errors(place, "--output", goes_on=False), replacing(place, alone=False) as partial:
        yield partial


def write_atomically(path: Path, content: str) -> None:
    """Write a text file completely or not at all. Other processes that may write it have to be locked out."""
    with replacing(path) as partial:
        partial.write_text(content, encoding="utf-8")


def sha256_of(path: Path, step: Callable[[int], None] = lambda amount: None) -> str:
    """The sha256 of a file. It is read in chunks; `step` is called with the size of each."""
    sha = hashlib.sha256()
    with naming(path), path.open("rb") as file:
        while chunk := file.read(CHUNK):
            sha.update(chunk)
            step(len(chunk))
    return sha.hexdigest()


def check_space(folder: Path, needed: int, what: str, remedy: str) -> None:
    """Raise ObjbenchError unless `needed` bytes are free on the disk where `folder` is or will be."""
    free = free_space(folder)
    if needed > free:
        raise ObjbenchError(
            f"{folder}: {what} {megabytes(needed)}, only {megabytes(free)} are free; {remedy}"
        )


def free_space(folder: Path) -> int:
    """Free bytes of the disk where `folder` is or will be."""
    there = next(path for path in (folder.absolute(), *folder.absolute().parents) if path.exists())
    return shutil.disk_usage(there).free


def megabytes(count: int) -> str:
    """A number of bytes for people.

    >>> megabytes(3_200_000_000)
    '3,200 MB'
    """
    return f"{count / 1e6:,.0f} MB" if count >= 1e7 else f"{count / 1e6:,.1f} MB"
