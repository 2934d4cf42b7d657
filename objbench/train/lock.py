"""One process per run: a lock of the file system, and a lease with a heartbeat where its locks end at the machine.

`flock` is at once free when its process dies, but on some shared file systems (Lustre with `localflock`, NFS without a
lock service) it is known to one machine only. So the holder also leaves an owner record that it refreshes every ten
seconds (filelock's `SoftFileLease`): another host sees it, and takes over what has not been refreshed for half a minute.
"""

from __future__ import annotations

import errno
import os
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from filelock import SoftFileLease, Timeout

from objbench.locks import LockedError, exclusive_lock, log

LEASE_SECONDS = 30.0
_SHOWN_SECONDS = 4 * LEASE_SECONDS  # that long a record counts as alive where nobody waits for it
_NAMESPACE = "?pidns-"  # filelock adds it and a number to the name of the host in a container


class Holder(NamedTuple):
    """The process that is at work on a run."""

    host: str
    process: int


@contextmanager
def sole_owner(folder: Path, on_loss: Callable[[], None] = lambda: None) -> Iterator[None]:
    """Hold the run of `folder` alone.

    Args:
        folder: The folder of the run; the lock and the record of its owner stand beside it.
        on_loss: Called, in another thread, when another host took the run over because this process stood still.

    Raises:
        LockedError: Another process is at work on the run.
    """
    occupied = f"{folder}: another process is running this seed"
    with exclusive_lock(folder.with_name(f".{folder.name}.lock"), occupied):
        lease = SoftFileLease(
            _lease_path(folder),
            lease_duration=LEASE_SECONDS,
            on_compromise=lambda _: on_loss(),
            thread_local=False,
        )
        _acquire(lease, folder)
        try:
            yield
        finally:
            lease.release()


def _acquire(lease: SoftFileLease, folder: Path) -> None:
    """Take the lease; wait for a record of another host as long as it takes to see that nobody refreshes it."""
    try:
        lease.acquire(timeout=0)
        return
    except Timeout:
        owner = lease.owner
    where = f" (process {owner.pid} on {owner.hostname})" if owner is not None else ""
    log.warning(
        "%s: held by another process%s; watching for %.0f s whether it is alive", folder, where, LEASE_SECONDS
    )
    before = _refreshed(folder)
    try:
        lease.acquire(
            timeout=LEASE_SECONDS + 5,
            poll_interval=1,
            cancel_check=lambda: _refreshed(folder) not in (None, before),
        )
    except Timeout:
        raise LockedError(
            f"{folder}: another process{where} is running this seed; wait for it or stop it"
        ) from None


def _refreshed(folder: Path) -> float | None:
    try:
        return _lease_path(folder).stat().st_mtime
    except OSError:
        return None


def holder(folder: Path) -> Holder | None:
    """The process that is at work on the run of `folder`, by the record that it left; None if there is none.

    A record counts while it is refreshed, one of this host only while its process lives. Whoever must know tries the
    lock: a record of a killed process, in a container or on another host, counts for two minutes more.
    """
    refreshed = _refreshed(folder)
    owner = SoftFileLease(_lease_path(folder), lease_duration=LEASE_SECONDS).owner if refreshed else None
    if owner is None or refreshed is None or abs(time.time() - refreshed) >= _SHOWN_SECONDS:
        return None
    if owner.hostname == socket.gethostname() and not _lives(owner.pid):
        return None
    return Holder(owner.hostname.partition(_NAMESPACE)[0], owner.pid)


def _lives(process: int) -> bool:
    try:
        os.kill(process, 0)
    except OSError as error:
        return error.errno == errno.EPERM
    return True


def _lease_path(folder: Path) -> Path:
    return folder.with_name(f".{folder.name}.owner")
