"""Copies of the files of object stores on this disk: whole, checked, and fetched once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

from objbench import progress
from objbench.data.download.receipts import RECEIPT, Receipt, read_receipt, write_receipt
from objbench.errors import ObjbenchError, RequestError
from objbench.files import check_space, replacing, sha256_of
from objbench.folders import CACHE_VARIABLE, copy_folder
from objbench.locks import exclusive_lock
from objbench.os_errors import explain_os_errors
from objbench.stored import utc_now
from objbench.stores import Place, Store

CONNECTIONS = 8  # files that are fetched at the same time
_LARGE = 1_000_000_000  # bytes from which on one file has a progress bar
_ELSEWHERE = f"free some space, or name a folder on another disk in {CACHE_VARIABLE}"


@dataclass(frozen=True)
class Wanted:
    """A file of a store that is needed on this disk.

    Attributes:
        sha256: What it must hash to; None: it may be any.
        version: What the store calls this content of the file; None: that does not matter.
        remedy: What to do if it is missing or another one.
    """

    store: Store
    target: Path
    bytes: int
    sha256: str | None = None
    version: str | None = None
    remedy: str = "give the command again"

    @property
    def is_there(self) -> bool:
        """Whether the copy is there, whole and checked, and was not changed since, by its size and time."""
        receipt = read_receipt(self.target) if self.target.is_file() else None
        return (
            receipt is not None
            and receipt.is_valid(self.target)
            and receipt.url == str(self.store)
            and self.sha256 in (None, receipt.sha256)
            and self.version in (None, receipt.etag)
        )

    def fetch(self) -> None:
        """Copy the file, whole or not at all, unless another process was faster."""
        with exclusive_lock(self.target.with_name(f".{self.target.name}.lock")):
            if self.is_there:
                return
            with replacing(self.target) as partial:
                try:
                    self.store.get(partial)
                except FileNotFoundError:
                    raise ObjbenchError(f"{self.store}: this file is missing; {self.remedy}") from None
                found = sha256_of(partial)
                self._refuse_other(partial.stat().st_size, found)
            receipt = Receipt(
                url=str(self.store),
                etag=self.version,
                bytes=self.bytes,
                mtime_ns=self.target.stat().st_mtime_ns,
                sha256=found,
                checked=["sha256"] if self.sha256 else [],
                date=utc_now(),
            )
            write_receipt(self.target, receipt)

    def _refuse_other(self, size: int, sha256: str) -> None:
        """ObjbenchError if what was fetched is not what is wanted."""
        fault = None
        if size != self.bytes:
            fault = f"it has {size:,} bytes, expected {self.bytes:,}"
        elif self.sha256 not in (None, sha256):
            fault = f"its sha256 is {sha256}, expected {self.sha256}"
        elif self.version is not None and self.store.facts() != (self.bytes, self.version):
            fault = "it was replaced while it was fetched"
        if fault is not None:
            raise ObjbenchError(f"{self.store}: not the file that is wanted: {fault}; {self.remedy}")


def fetch_copies(files: Sequence[Wanted]) -> None:
    """Copy those files to the disk that are not there yet, several at the same time.

    Raises:
        ObjbenchError: A file is missing or not the one that is wanted, the store fails, or the disk has no room.
    """
    missing = [file for file in files if not file.is_there]
    if not missing:
        return
    folder, total = missing[0].target.parent, sum(file.bytes for file in missing)
    shown = len(missing) > 1 or total >= _LARGE
    with explain_os_errors(folder, CACHE_VARIABLE):
        for file in missing:
            file.target.parent.mkdir(parents=True, exist_ok=True)
        check_space(folder, total, "the copies of files of the store need", _ELSEWHERE)
        pool = ThreadPoolExecutor(min(CONNECTIONS, len(missing)), thread_name_prefix="objbench-fetch")
        title = f"fetching from {missing[0].store.parent}"
        with progress.bar(title, len(missing), "files") if shown else nullcontext(progress.silent) as advance:
            try:
                for _ in pool.map(Wanted.fetch, missing):
                    advance()
            finally:
                pool.shutdown(cancel_futures=True)


def copy_of(kind: str, where: Place, needed: Callable[[str], bool] = lambda name: True) -> Path:
    """A file or folder as one of this disk; one of a store is copied, and what changed there since is copied again.

    Args:
        kind: What it is: raw or runs.
        needed: Which files of a folder are needed, by their path in it.

    Raises:
        RequestError: There is nothing at this URL.
        ObjbenchError: The store fails, or the disk has no room.
    """
    if isinstance(where, Path):
        return where
    fetch_copies(wanted_of(kind, where, needed))
    return copy_folder(kind, where)


def wanted_of(kind: str, where: Store, needed: Callable[[str], bool] = lambda name: True) -> list[Wanted]:
    """The files of `copy_of`, those included that are on this disk already. Copies of files that are gone are removed.

    Receipts of an earlier download that lie in the store are none of them: a copy has its own in their place.

    Raises:
        RequestError: There is nothing at this URL.
        ObjbenchError: A name in the store leads out of the folder.
    """
    target, facts = copy_folder(kind, where), where.facts()
    if facts is not None:
        return [Wanted(where, target, facts.bytes, version=facts.version)]
    found = where.files()
    if not found:
        raise RequestError(f"{where}: no such file or folder in this store")
    for name in filter(needed, found):
        if "\\" in name or not {"", ".", ".."}.isdisjoint(name.removesuffix("/").split("/")):
            raise ObjbenchError(f"{where}: holds {name!r}, which names no file in a folder; remove it there")
    for receipt in target.rglob(f"*{RECEIPT}"):  # of files that are there no more
        path = receipt.with_name(receipt.name.removesuffix(RECEIPT))
        if str(path.relative_to(target)) not in found:
            path.unlink(missing_ok=True)
            receipt.unlink(missing_ok=True)
    return [
        Wanted(where / name, target / name, size, version=version)
        for name, (size, version) in found.items()
        if needed(name) and not name.endswith(("/", RECEIPT))
    ]
