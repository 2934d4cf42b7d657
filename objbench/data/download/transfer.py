"""A file in the making: pieces that arrive over several connections, and a note of what has arrived.

Whatever the note claims is on the disk: it is written after the data is synced, a few times a second.
"""

from __future__ import annotations

import itertools
import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from objbench.data.download.http import ATTEMPTS, Client, Offer, PassingError, Patience, receive
from objbench.stored import Stored, Strict

SMALLEST_PIECE, LARGEST_PIECE = 8 << 20, 256 << 20
PIECES_PER_CONNECTION = 4
NOTE_SECONDS = 0.25
LEAVE_SECONDS = 2.0  # how long to wait for connections that are given up

Spans = list[tuple[int, int]]


class Extent(Strict):
    """The bytes [start, start + length) of an offered file."""

    offer: Offer
    start: int
    length: int


class Note(Stored):
    """What has arrived of an extent: spans relative to its start, in order."""

    extent: Extent
    received: Spans


class Partial:
    """The unfinished form of `path`: its bytes so far, and the note beside them."""

    def __init__(self, path: Path) -> None:
        self.path = path.with_name(f"{path.name}.partial")
        self._note = path.with_name(f"{path.name}.partial.json")

    def note(self) -> Note | None:
        """What has arrived; None if nothing has, or nothing that can be trusted."""
        note = Note.read_if_valid(self._note)
        if note is None or not self.path.is_file() or self.path.stat().st_size != note.extent.length:
            return None
        sound = merged(note.received) == note.received
        return note if sound and all(stop <= note.extent.length for _, stop in note.received) else None

    @property
    def received(self) -> int:
        """Number of bytes that have arrived."""
        note = self.note()
        return sum(stop - start for start, stop in note.received) if note else 0

    @property
    def on_disk(self) -> int:
        """Bytes that it takes on the disk: those that have not arrived take none where the file system allows."""
        return self.path.stat().st_blocks * 512 if self.path.exists() else 0

    def begin(self, extent: Extent, checked: bool) -> str | None:
        """Be ready to receive `extent`; the reason where what has arrived is of no use for it and is dropped.

        checked: a checksum will tell whether parts that came from two addresses belong together
        """
        note = self.note()
        reason = _hindrance(note, extent, checked) if note and note.received else None
        received = note.received if note and reason is None else []
        if not received:
            with self.path.open("wb") as file:
                file.truncate(extent.length)
        self.save(extent, received)
        return reason

    def save(self, extent: Extent, received: Spans) -> None:
        """Note what has arrived, once it is safely on the disk."""
        with self.path.open("rb") as file:
            os.fsync(file.fileno())
        Note(extent=extent, received=received).save(self._note)

    def discard(self) -> None:
        """Remove it."""
        self._note.unlink(missing_ok=True)
        self.path.unlink(missing_ok=True)


@dataclass
class Piece:
    """The bytes [start, stop) of an extent, of which those before `at` have arrived."""

    start: int
    stop: int
    at: int


class Transfer:
    """Brings the missing pieces of a partial file over several connections."""

    def __init__(self, partial: Partial, extent: Extent, client: Client, connections: int) -> None:
        self._partial, self._extent, self._client = partial, extent, client
        note = partial.note()
        self._earlier: Spans = list(note.received) if note else []
        self._pieces = _pieces(extent, self._earlier, connections)
        self._waiting = iter(self._pieces)  # shared by the connections: next() of a list's iterator is atomic
        self._stopped = threading.Event()
        self._left = False
        self._trouble: BaseException | None = None
        self._remark = ""
        self._threads = [
            threading.Thread(target=self._work, daemon=True, name=f"download-{number}")
            for number in range(min(connections, len(self._pieces)))
        ]

    @property
    def received(self) -> int:
        """Number of bytes that have arrived, in this run and before."""
        return sum(stop - start for start, stop in self._received())

    def run(self, report: Callable[[int, str], None]) -> None:
        """Receive everything. `report` is told what has arrived in all, and what is the matter if anything is.

        Raises ChangedError, UnavailableError or OSError; what has arrived by then is noted.
        """
        try:
            for thread in self._threads:
                thread.start()
            for thread in self._threads:
                while thread.is_alive() and not self._stopped.is_set():
                    thread.join(NOTE_SECONDS)
                    self._save()
                    report(self.received, self._remark)
        finally:
            self._stopped.set()
            deadline = time.monotonic() + LEAVE_SECONDS
            for thread in self._threads:
                if thread.ident is not None:
                    thread.join(max(0.0, deadline - time.monotonic()))
            self._left = True  # a connection that hangs must not write any more
            self._save()
        if self._trouble is not None:
            raise self._trouble
        report(self.received, "")

    def _work(self) -> None:
        """What one connection does: piece after piece, until none is left or there is trouble."""
        try:
            with self._partial.path.open("r+b", buffering=0) as file:
                for piece in self._waiting:
                    self._fetch(piece, file)
        except BaseException as error:
            self._trouble = self._trouble or error
            self._stopped.set()

    def _fetch(self, piece: Piece, file: BinaryIO) -> None:
        patience = Patience(ATTEMPTS, self._stopped)
        while piece.at < piece.stop and not self._stopped.is_set():
            before = piece.at
            try:
                self._read(piece, file)
            except PassingError as failure:
                if not self._extent.offer.ranges:
                    piece.at = piece.start
                elif piece.at > before:
                    patience.renew()
                self._remark = f"{failure}; trying again"
                patience.bear(failure)
                self._remark = ""

    def _read(self, piece: Piece, file: BinaryIO) -> None:
        base = self._extent.start
        with self._client.piece(self._extent.offer, base + piece.at, base + piece.stop) as response:
            file.seek(piece.at)
            while piece.at < piece.stop and not self._stopped.is_set():
                data = memoryview(receive(response, piece.stop - piece.at))
                while data and not self._left:  # a full disk may take a part and refuse the next
                    written = file.write(data)
                    piece.at += written
                    data = data[written:]

    def _received(self) -> Spans:
        return merged([*self._earlier, *((piece.start, piece.at) for piece in self._pieces)])

    def _save(self) -> None:
        """Note what has arrived by now; what arrives while it is synced is left to the next note."""
        self._partial.save(self._extent, self._received())


def merged(spans: Spans) -> Spans:
    """The same bytes in as few spans as possible, in order.

    >>> merged([(4, 6), (0, 4), (8, 8), (9, 10)])
    [(0, 6), (9, 10)]
    """
    joined: Spans = []
    for start, stop in sorted(span for span in spans if span[0] < span[1]):
        if joined and start <= joined[-1][1]:
            joined[-1] = (joined[-1][0], max(joined[-1][1], stop))
        else:
            joined.append((start, stop))
    return joined


def _pieces(extent: Extent, received: Spans, connections: int) -> list[Piece]:
    """What is missing, cut so that all connections have something to do until near the end."""
    if not extent.offer.ranges:
        return [] if received else [Piece(0, extent.length, 0)]
    even = -(-extent.length // (PIECES_PER_CONNECTION * connections))
    size = max(SMALLEST_PIECE, min(LARGEST_PIECE, even))
    borders = [0, *itertools.chain.from_iterable(received), extent.length]
    gaps = zip(borders[::2], borders[1::2], strict=True)
    return [Piece(at, min(at + size, stop), at) for start, stop in gaps for at in range(start, stop, size)]


def _hindrance(note: Note, extent: Extent, checked: bool) -> str | None:
    """Why what has arrived cannot be completed with this extent."""
    earlier, complete = note.extent, note.received == [(0, note.extent.length)]
    if not extent.offer.ranges and not complete:
        return "the server cannot go on in the middle"
    if earlier.offer.url == extent.offer.url:
        if difference := extent.offer.differs(earlier.offer):
            return f"the file on the server has changed: {difference}"
    elif not checked:
        return (
            "it was begun from another address, and no checksum would tell whether the parts belong together"
        )
    if earlier.length != extent.length:
        return f"the file on the server has {extent.length:,} bytes, {earlier.length:,} when it was begun"
    return None
