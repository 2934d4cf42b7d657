"""Downloading one file: from the first address that gives it, checked, to its final name."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from objbench.data.download.http import Client
from objbench.data.download.locate import Location, locate
from objbench.data.download.meter import Meter
from objbench.data.download.patience import ChangedError, PermanentError
from objbench.data.download.receipts import (
    Receipt,
    checksums,
    mismatches,
    read_receipt,
    receipt_path,
    write_receipt,
)
from objbench.data.download.remote import Remote
from objbench.data.download.transfer import Partial, Transfer
from objbench.data.download.zipped import inflate
from objbench.errors import ObjbenchError
from objbench.files import free_space, megabytes, sync
from objbench.locks import exclusive_lock
from objbench.progress import Say
from objbench.stored import utc_now

RESTARTS = 2  # of a file that changes while it is downloaded, before the next address is tried


@dataclass(frozen=True)
class FileStatus:
    """How much of a file of a release is there.

    Attributes:
        url: The address that gives the file, None if it is here or no address gives it.
        bytes: To download, None if no server told.
        received: How many of these bytes have arrived.
        space: Bytes of the disk that the rest will take.
        problem: Why no address gives the file, None if one does.
    """

    name: str
    path: Path
    status: Literal["here", "begun", "missing"]
    url: str | None
    bytes: int | None
    received: int
    space: int
    problem: str | None


class Download:
    """One file: which of its addresses give it, how much has arrived, and the rest of the download."""

    def __init__(self, remote: Remote, folder: Path, client: Client) -> None:
        self.remote, self.path, self._client = remote, folder / remote.name, client
        self._partial = Partial(self.path)
        self._errors: list[str] = []
        self._locations = self._locate_all()

    def verify_existing(self, say: Say) -> bool:
        """Whether the file is there, and checked; ObjbenchError if another file has its name."""
        if not self.path.is_file():
            return False
        receipt, published = read_receipt(self.path), self.remote.published
        size = self.path.stat().st_size
        expected = receipt.bytes if receipt else self.remote.bytes
        if size == 0 and self.remote.member is None and self.remote.bytes != 0:
            raise self._wrong_file("it is empty")
        if expected not in (None, size):
            raise self._wrong_file(f"it has {size:,} bytes, {expected:,} are expected")
        checked = receipt is not None and set(published) - {"sha256"} <= set(receipt.checked)
        if (
            receipt
            and checked
            and receipt.is_valid(self.path)
            and published.get("sha256", receipt.sha256) == receipt.sha256
        ):
            return True
        say(f"{self.path}: {'checking it again' if receipt else 'not downloaded by objbench: checking it'}")
        found = checksums(self.path, ["sha256", *published])
        if wrong := mismatches(found, {**({"sha256": receipt.sha256} if receipt else {}), **published}):
            raise self._wrong_file("; ".join(wrong))
        known = receipt or Receipt(bytes=size, mtime_ns=0, sha256=found["sha256"], checked=[], date=utc_now())
        mtime = self.path.stat().st_mtime_ns
        write_receipt(self.path, known.model_copy(update={"mtime_ns": mtime, "checked": list(published)}))
        return True

    def describe(self) -> FileStatus:
        """How much of the file is there."""
        name = self.remote.name
        if self.path.is_file():
            size = self.path.stat().st_size
            return FileStatus(name, self.path, "here", None, size, size, 0, None)
        location, received = next(self._locations, None), self._partial.received
        space = self.space(location) if location else self.remote.bytes or 0
        return FileStatus(
            name=name,
            path=self.path,
            status="begun" if received else "missing",
            url=location.part.resource.url if location else None,
            bytes=location.part.length if location else self.remote.bytes,
            received=received,
            space=space,
            problem=None if location else "; ".join(self._errors),
        )

    def first_location(self) -> Location:
        """The first address that gives the file; ObjbenchError if there is none."""
        location = next(self._locations, None)
        if location is None:
            raise self._failure()
        return location

    def space(self, location: Location) -> int:
        """The most bytes of the disk that the rest of the file takes."""
        rest = max(0, location.part.length - self._partial.on_disk)
        return rest + (location.bytes if location.deflated else 0)

    def run(self, location: Location, connections: int, say: Say, meter: Meter) -> None:
        """Download the file from `location`, or from the addresses after it if that fails."""
        occupied = f"{self.path}: another process is downloading it"
        with exclusive_lock(self.path.with_name(f".{self.path.name}.lock"), occupied):
            if self.verify_existing(say):  # another process was faster
                return
            for candidate in itertools.chain([location], self._locations):
                try:
                    self._run(candidate, connections, say, meter)
                    return
                except PermanentError as error:
                    self._note_error(candidate.part.resource.url, error, say)
        raise self._failure()

    def _run(self, location: Location, connections: int, say: Say, meter: Meter) -> None:
        for _ in range(RESTARTS + 1):
            try:
                self._receive(location, connections, say, meter)
            except ChangedError as change:
                say(f"{self.path}: the file on the server has changed: {change}; starting over")
                self._partial.discard()
                location = locate(self.remote, location.url, self._client)
            else:
                self._complete(location, meter)
                return
        raise PermanentError(
            f"the file on the server keeps changing while it is downloaded ({RESTARTS + 1} attempts)"
        )

    def _receive(self, location: Location, connections: int, say: Say, meter: Meter) -> None:
        needed, free = self.space(location), free_space(self.path.parent)
        if (
            needed > free
        ):  # not what it said at first, or another address than the one that room was checked for
            raise PermanentError(f"it still needs {megabytes(needed)}, only {megabytes(free)} are free")
        if reason := self._partial.begin(location.part, checked=bool(location.published)):
            say(f"{self.path}: starting over: {reason}")
        transfer = Transfer(self._partial, location.part, self._client, connections)
        if transfer.received:
            say(
                f"{self.path}: going on, {megabytes(transfer.received)} of {megabytes(location.part.length)} "
                "are there"
            )
        meter.begin(transfer.received)
        transfer.run(lambda received, problem: meter.show(received, problem or self.remote.name))

    def _complete(self, location: Location, meter: Meter) -> None:
        """Check what has arrived and give it its final name; PermanentError if it is not the published file."""
        made = self._partial.path
        try:
            if location.deflated:
                meter.note(f"unpacking {self.remote.name}")
                made = self.path.with_name(f"{self.path.name}.unpacked")
                inflate(self._partial.path, made, location.bytes)
            meter.note(f"checking {self.remote.name}")
            found = checksums(made, {"sha256", *location.published})
            if wrong := mismatches(found, location.published):
                raise PermanentError(
                    f"what it gave is damaged, or not the file that was published: {'; '.join(wrong)}"
                )
        except BaseException as error:
            if location.deflated:
                made.unlink(missing_ok=True)
            if isinstance(error, PermanentError):
                self._partial.discard()
            raise
        sync(made)
        resource, state = location.part.resource, made.stat()
        receipt = Receipt(
            url=resource.url,
            member=self.remote.member,
            etag=resource.etag,
            last_modified=resource.last_modified,
            bytes=state.st_size,
            mtime_ns=state.st_mtime_ns,
            sha256=found["sha256"],
            checked=list(location.published),
            date=utc_now(),
        )
        write_receipt(self.path, receipt)
        made.replace(self.path)
        sync(self.path.parent)
        self._partial.discard()

    def _locate_all(self) -> Iterator[Location]:
        for url in self.remote.urls:
            try:
                yield locate(self.remote, url, self._client)
            except PermanentError as error:
                self._errors.append(f"{url}: {error}")

    def _note_error(self, url: str, error: PermanentError, say: Say) -> None:
        self._errors.append(f"{url}: {error}")
        if len(self._errors) < len(self.remote.urls):
            say(f"{self._errors[-1]}; trying the next address")

    def _failure(self) -> ObjbenchError:
        what = f"{self.path} (member {self.remote.member})" if self.remote.member else str(self.path)
        kept = " (what has arrived is kept)" if self._partial.received else ""
        return ObjbenchError(
            f"{what}: could not be downloaded: {'; '.join(self._errors)}. Try again later{kept}, or download it by "
            "other means and give it with --raw PATH, or use --source generated where the dataset has it"
        )

    def _wrong_file(self, what: str) -> ObjbenchError:
        return ObjbenchError(
            f"{self.path}: not the file that belongs here: {what}. Delete it and {receipt_path(self.path).name}; "
            "the same command then downloads it"
        )
