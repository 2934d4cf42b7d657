"""Files that no kill, full disk or second process can leave half written; locks, hashes and free space."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import logging
import os
import secrets
import shutil
import tempfile
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from objbench.errors import ObjbenchError, RequestError

CHUNK = 1 << 22
_NO_SYNC = {errno.EINVAL, errno.EOPNOTSUPP, errno.ENOSYS}  # of file systems that have no such thing
_NO_SYNC_OF_FOLDERS = {*_NO_SYNC, errno.EBADF, errno.EACCES}
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_SILENT_WAIT = 5.0  # seconds for a lock before the waiting is announced
log = logging.getLogger("objbench")


class LockedError(ObjbenchError):
    """Another process holds the lock."""


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
        copied = error.errno in _FULL and error.filename2 in names[1:]  # shutil names first what was read
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


def path_of(where: Any) -> Path:
    """What a caller in Python names a file or folder by.

    Raises:
        RequestError: It is neither a text nor a path.
    """
    if not isinstance(where, str | os.PathLike):
        raise RequestError(f"expected a path, found {where!r}")
    return Path(where)


def resolved(path: Path) -> Path:
    """The absolute path without links; links in a circle stay as they are, so that opening them fails by name."""
    return Path(os.path.realpath(path))


def check_output(path: Path) -> None:
    """Refuse a file that a user named with --output, before any work, unless its folder is there.

    Raises:
        RequestError: There is no such folder, or `path` is a folder itself.
    """
    folder = path.parent
    if folder.is_dir() and not path.is_dir():
        return
    if path.is_dir():
        raise RequestError(f"--output {path}: a folder, expected the name of a file")
    found = "is no folder" if folder.exists() else "does not exist; make it first, or choose another"
    raise RequestError(f"--output {path}: the folder {folder} {found}")


def check_folder(option: str, path: Path) -> None:
    """Refuse a folder, there or to be made, that a user named with `option`, if it or one above it is a file.

    Raises:
        RequestError: It is.
    """
    there = next((place for place in (path, *path.parents) if os.path.exists(place)), path)
    if os.path.exists(there) and not os.path.isdir(there):
        which = "" if there == path else f"{there} is "
        raise RequestError(f"{option} {path}: {which}a file, expected a folder; choose another place")


def refuse_special(path: Path) -> None:
    """Refuse what has the name of a file and is none, before opening it waits for a pipe's other end.

    Raises:
        ObjbenchError: `path` is a link to nothing, a pipe, a device or a folder.
    """
    if os.path.isfile(path):
        return
    found = (
        "a folder" if path.is_dir() else "a pipe or device" if os.path.exists(path) else "a link to nothing"
    )
    raise ObjbenchError(f"{path}: {found}, expected a file; move it away")


def walk(
    root: Path, onerror: Callable[[OSError], None] = lambda error: None
) -> Iterator[tuple[Path, list[str], list[str]]]:
    """Each folder in and below `root`, once, with the sorted names of its folders and of its files.

    Links to folders are followed. Folders whose name begins with a dot are left out.

    Args:
        root: The folder.
        onerror: Called with the error of a folder that cannot be read.
    """
    seen = {os.path.realpath(root)}
    for folder, folders, files in os.walk(root, onerror=onerror, followlinks=True):
        below = sorted(name for name in folders if not name.startswith("."))
        yield Path(folder), below, sorted(files)
        folders.clear()
        for name in sorted(below, key=lambda name: os.path.islink(os.path.join(folder, name))):
            if (real := os.path.realpath(os.path.join(folder, name))) not in seen:
                seen.add(real)
                folders.append(name)


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


@contextmanager
def exclusive_lock(path: Path, occupied: str | None = None) -> Iterator[None]:
    """Hold an exclusive lock on the file `path`, which is made if needed.

    Args:
        occupied: What to say if another process holds the lock; None: wait until it is free.

    Raises:
        LockedError: `occupied` is given, and another process holds the lock.
        ObjbenchError: `occupied` is given, and the file system has no locks.
        OSError: `occupied` is not given, and the file system has no locks; or it refuses the file. `path` is its
            filename.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(path)
    try:
        with naming(path):
            _acquire(lock, _SILENT_WAIT if occupied is None else 0)
    except Timeout:
        remedy = f"If it ended with its machine, remove its lock file {path}"
        if occupied is not None:
            raise LockedError(f"{occupied}{_holder(path)}; wait for it or stop it. {remedy}") from None
        log.warning("waiting for another process%s that holds a lock. %s", _holder(path), remedy)
        with naming(path):
            _acquire(lock, -1)
    except OSError as error:
        if error.errno not in (errno.ENOLCK, errno.EOPNOTSUPP) or occupied is None:
            raise
        raise ObjbenchError(
            f"{path}: this file system gives no locks ({error.strerror}); choose a folder on another one with --data "
            "or --runs, or have its lock service started"
        ) from error
    try:
        yield
    finally:
        lock.release()


def _acquire(lock: FileLock, timeout: float) -> None:
    """Acquire a lock. Without flock (ENOSYS), filelock takes the existence of the file for one, and warns in vain."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "flock not supported", UserWarning)
        lock.acquire(timeout=timeout)


def _holder(path: Path) -> str:
    """Who holds the lock, where its file says so: only on file systems without flock."""
    try:
        process, host = path.read_text(encoding="utf-8").split()[:2]
    except (OSError, ValueError):
        return ""
    return f" (process {process} on {host})"


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
            "; the same command then continues where it stopped" if goes_on and error.errno in _FULL else ""
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
    if code in _FULL:
        elsewhere = ", or name a folder on another disk in TMPDIR" if temporary else ""
        return f"free some space (or quota){elsewhere}"
    if code in (errno.EACCES, errno.EPERM, errno.EROFS):
        return f"choose a folder that you can write to with {option}" if option else "see to its permissions"
    if code == errno.ENOTDIR:
        return "a file stands where a folder is expected: choose another place"
    return None


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
