"""The folder of a dataset: whose it is, what already stands there, and what the file system refuses."""

from __future__ import annotations

import contextlib
import errno
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path

import filelock

from objbench.data.manifest import MANIFEST
from objbench.data.raw import CACHE
from objbench.data.shards import Journal
from objbench.data.sources.base import SPLITS
from objbench.errors import ObjbenchError, RequestError
from objbench.spec import dotted


def refuse_other(folder: Path, what: str, here: Mapping[str, object], asked: Mapping[str, object]) -> None:
    """RequestError that names every setting in which `asked` differs from what stands in `folder`."""
    there, now = dotted(dict(here)), dotted(dict(asked))
    differences = [
        f"{key.removeprefix('settings.')} is {there.get(key, 'not given')} there, {now.get(key, 'not given')} asked"
        for key in sorted({*there, *now})
        if there.get(key) != now.get(key)
    ]
    if differences:
        raise RequestError(
            f"{folder}: {what} with other settings stands here: {'; '.join(differences)}. "
            "--force replaces it, --data chooses another place"
        )


def check_space(folder: Path, needed: int) -> None:
    """ObjbenchError unless `needed` bytes are free where `folder` is."""
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise ObjbenchError(
            f"{folder}: the shards still need about {megabytes(needed)}, only {megabytes(free)} are free; "
            "free some space, choose another place with --data, or make smaller splits"
        )


def megabytes(count: int) -> str:
    """A number of bytes for people.

    >>> megabytes(3_200_000_000)
    '3,200 MB'
    """
    return f"{count / 1e6:,.0f} MB" if count >= 1e7 else f"{count / 1e6:,.1f} MB"


def clear(folder: Path) -> None:
    """Remove what a prepare makes, the manifest first: from then on nothing here counts as complete."""
    (folder / MANIFEST).unlink(missing_ok=True)
    for split in SPLITS:
        for path in (*folder.glob(f"{split}-*.tar"), *folder.glob(f"{split}-*.tar.partial")):
            path.unlink()
    shutil.rmtree(folder / CACHE, ignore_errors=True)
    Journal(folder).close()


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Let no second prepare into `folder`; ObjbenchError at once if there is one already."""
    folder.mkdir(parents=True, exist_ok=True)
    lock = filelock.FileLock(folder / ".lock", timeout=0)
    try:
        lock.acquire()
    except filelock.Timeout:
        raise ObjbenchError(f"{folder}: another prepare is at work here; wait for it or stop it") from None
    try:
        yield
    finally:
        lock.release()


@contextlib.contextmanager
def plain_errors(folder: Path) -> Iterator[None]:
    """Turn what the file system refuses into a message that says where and what to do."""
    remedy = {
        errno.ENOSPC: "free some space; the same command then goes on where it stood",
        errno.EDQUOT: "free some of your quota; the same command then goes on where it stood",
        errno.EACCES: "choose a folder that you may write with --data",
        errno.EPERM: "choose a folder that you may write with --data",
        errno.EROFS: "choose a folder that you may write with --data",
    }
    try:
        yield
    except OSError as error:
        if error.errno not in remedy:
            raise
        raise ObjbenchError(f"{error.filename or folder}: {error.strerror}; {remedy[error.errno]}") from error
