"""Locks that processes hold on files."""

from __future__ import annotations

import errno
import fcntl
import logging
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from objbench.errors import ObjbenchError
from objbench.os_errors import naming

_SILENT_WAIT = 5.0  # seconds for a lock before the waiting is announced
log = logging.getLogger("objbench")


class LockedError(ObjbenchError):
    """Another process holds the lock."""


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


@contextmanager
def folder_lock(folder: Path, occupied: str) -> Iterator[None]:
    """Hold an exclusive lock on a folder itself, which leaves no file behind; none where its file system has no such lock.

    Raises:
        LockedError: Another process holds the lock; it says `occupied`.
    """
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise LockedError(occupied) from None
        except OSError as error:  # NFS gives none on what is opened for reading, as folders are
            log.debug("%s: no lock (%s)", folder, error.strerror)
        yield
    finally:
        os.close(descriptor)


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
