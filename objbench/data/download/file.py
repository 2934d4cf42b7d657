"""One file on its way: from the first mirror that can give it, checked, to its place."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from objbench.data.download.http import ChangedError, Client, UnavailableError
from objbench.data.download.locate import Place, locate
from objbench.data.download.meter import Meter
from objbench.data.download.receipts import (
    Receipt,
    checksums,
    mismatches,
    read_receipt,
    receipt_path,
    today,
    write_receipt,
)
from objbench.data.download.remote import Remote
from objbench.data.download.transfer import Partial, Transfer
from objbench.data.download.zipped import inflate
from objbench.errors import ObjbenchError
from objbench.files import exclusive_lock, megabytes

RESTARTS = 2  # of a file that changes while it is downloaded, before its address is given up

Say = Callable[[str], None]


@dataclass(frozen=True)
class Item:
    """A file of a release: how much of it is there.

    bytes     to download, None where no server could tell; received: of these;  space: that it still takes
    problem   why no address can give it, where that is so
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
    """One file on its way from its addresses to its place."""

    def __init__(self, remote: Remote, folder: Path, client: Client) -> None:
        self.remote, self.path, self._client = remote, folder / remote.name, client
        self._partial = Partial(self.path)
        self._troubles: list[str] = []
        self._places = self._locate_all()

    def confirm(self, say: Say) -> bool:
        """Whether the file is there; ObjbenchError if another one stands in its place."""
        if not self.path.is_file():
            return False
        receipt, published = read_receipt(self.path), self.remote.published
        size = self.path.stat().st_size
        expected = receipt.bytes if receipt else self.remote.bytes
        if expected not in (None, size):
            raise self._other(f"it has {size:,} bytes, {expected:,} are expected")
        checked = receipt is not None and set(published) - {"sha256"} <= set(receipt.checked)
        if (
            receipt
            and checked
            and receipt.fits(self.path)
            and published.get("sha256", receipt.sha256) == receipt.sha256
        ):
            return True
        say(f"{self.path}: {'checking it again' if receipt else 'not downloaded by objbench: checking it'}")
        found = checksums(self.path, ["sha256", *published])
        if wrong := mismatches(found, {**({"sha256": receipt.sha256} if receipt else {}), **published}):
            raise self._other("; ".join(wrong))
        known = receipt or Receipt(bytes=size, mtime_ns=0, sha256=found["sha256"], checked=[], date=today())
        mtime = self.path.stat().st_mtime_ns
        write_receipt(self.path, known.model_copy(update={"mtime_ns": mtime, "checked": list(published)}))
        return True

    def describe(self) -> Item:
        """How much of the file is there."""
        name = self.remote.name
        if self.path.is_file():
            size = self.path.stat().st_size
            return Item(name, self.path, "here", None, size, size, 0, None)
        place, received = next(self._places, None), self._partial.received
        space = self.space(place) if place else self.remote.bytes or 0
        return Item(
            name=name,
            path=self.path,
            status="begun" if received else "missing",
            url=place.extent.offer.url if place else None,
            bytes=place.extent.length if place else self.remote.bytes,
            received=received,
            space=space,
            problem=None if place else "; ".join(self._troubles),
        )

    def first_place(self) -> Place:
        """The first address that can give the file; ObjbenchError if there is none."""
        place = next(self._places, None)
        if place is None:
            raise self._refusal()
        return place

    def space(self, place: Place) -> int:
        """The bytes of the disk that the rest of the file takes at most."""
        rest = max(0, place.extent.length - self._partial.on_disk)
        return rest + (place.bytes if place.deflated else 0)

    def run(self, place: Place, connections: int, say: Say, meter: Meter) -> None:
        """Download the file from `place`, or else from the addresses that come after it."""
        occupied = f"{self.path}: another process is downloading it"
        with exclusive_lock(self.path.with_name(f".{self.path.name}.lock"), occupied):
            if self.confirm(say):  # another process was faster
                return
            for candidate in itertools.chain([place], self._places):
                try:
                    self._run(candidate, connections, say, meter)
                    return
                except UnavailableError as error:
                    self._fail(candidate.extent.offer.url, error, say)
        raise self._refusal()

    def _run(self, place: Place, connections: int, say: Say, meter: Meter) -> None:
        for _ in range(RESTARTS + 1):
            try:
                self._receive(place, connections, say, meter)
            except ChangedError as change:
                say(f"{self.path}: the file on the server has changed: {change}; starting over")
                self._partial.discard()
                place = locate(self.remote, place.url, self._client)
            else:
                self._complete(place, meter)
                return
        raise UnavailableError(
            f"the file on the server keeps changing while it is downloaded ({RESTARTS + 1} attempts)"
        )

    def _receive(self, place: Place, connections: int, say: Say, meter: Meter) -> None:
        if reason := self._partial.begin(place.extent, checked=bool(place.published)):
            say(f"{self.path}: starting over: {reason}")
        transfer = Transfer(self._partial, place.extent, self._client, connections)
        if transfer.received:
            say(
                f"{self.path}: going on, {megabytes(transfer.received)} of {megabytes(place.extent.length)} "
                "are there"
            )
        meter.begin(transfer.received)
        transfer.run(lambda received, remark: meter.show(received, remark or self.remote.name))

    def _complete(self, place: Place, meter: Meter) -> None:
        """Check what has arrived and put it in its place; UnavailableError if it is not what it should be."""
        made = self._partial.path
        try:
            if place.deflated:
                meter.note(f"unpacking {self.remote.name}")
                made = self.path.with_name(f"{self.path.name}.unpacked")
                inflate(self._partial.path, made, place.bytes)
            meter.note(f"checking {self.remote.name}")
            found = checksums(made, {"sha256", *place.published})
            if wrong := mismatches(found, place.published):
                raise UnavailableError(
                    f"what it gave is damaged, or not the file that was published: {'; '.join(wrong)}"
                )
        except UnavailableError:
            made.unlink(missing_ok=True)
            self._partial.discard()
            raise
        with made.open("rb") as file:
            os.fsync(file.fileno())
        offer, state = place.extent.offer, made.stat()
        receipt = Receipt(
            url=offer.url,
            member=self.remote.member,
            etag=offer.etag,
            last_modified=offer.last_modified,
            bytes=state.st_size,
            mtime_ns=state.st_mtime_ns,
            sha256=found["sha256"],
            checked=list(place.published),
            date=today(),
        )
        write_receipt(self.path, receipt)
        made.replace(self.path)
        self._partial.discard()

    def _locate_all(self) -> Iterator[Place]:
        for url in self.remote.urls:
            try:
                yield locate(self.remote, url, self._client)
            except UnavailableError as error:
                self._troubles.append(f"{url}: {error}")

    def _fail(self, url: str, error: UnavailableError, say: Say) -> None:
        self._troubles.append(f"{url}: {error}")
        if len(self._troubles) < len(self.remote.urls):
            say(f"{self._troubles[-1]}; trying the next address")

    def _refusal(self) -> ObjbenchError:
        what = f"{self.path} (member {self.remote.member})" if self.remote.member else str(self.path)
        kept = " (what has arrived is kept)" if self._partial.received else ""
        return ObjbenchError(
            f"{what}: could not be downloaded: {'; '.join(self._troubles)}. Try again later{kept}, or download it by "
            "other means and give it with --raw PATH, or use --source generated where the dataset has it"
        )

    def _other(self, what: str) -> ObjbenchError:
        return ObjbenchError(
            f"{self.path}: not the file that belongs here: {what}. Delete it and {receipt_path(self.path).name}; "
            "the same command then downloads it"
        )
