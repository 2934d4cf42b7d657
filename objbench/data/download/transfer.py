"""A file that is being downloaded: pieces over several connections, and a state file that says what has arrived.

The state is written after the data is synced to the disk, a few times a second, so all that it claims is there.
"""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from pydantic import ConfigDict, Field

from objbench.data.download.http import Client, ResourceInfo, receive
from objbench.data.download.patience import ATTEMPTS, Backoff, RateWatch, TransientError
from objbench.files import sync_open
from objbench.os_errors import naming
from objbench.stored import Stored, Strict

SMALLEST_PIECE, LARGEST_PIECE = 8 << 20, 256 << 20
PIECES_PER_CONNECTION = 4
SAVE_SECONDS = 0.25
LEAVE_SECONDS = 2.0  # how long to wait for connections to end

Spans = list[tuple[int, int]]


class ByteRange(Strict):
    """The bytes [start, start + length) of a file on a server."""

    model_config = ConfigDict(populate_by_name=True)

    resource: ResourceInfo = Field(validation_alias="offer", serialization_alias="offer")
    start: int
    length: int


class PartialState(Stored):
    """What has arrived of `part`: spans relative to its start, in order."""

    model_config = ConfigDict(populate_by_name=True)

    part: ByteRange = Field(validation_alias="extent", serialization_alias="extent")
    received: Spans


class Partial:
    """The unfinished form of the file `path`: the bytes so far, and their state file."""

    def __init__(self, path: Path) -> None:
        self.path = path.with_name(f"{path.name}.partial")
        self._state_path = path.with_name(f"{path.name}.partial.json")

    def state(self) -> PartialState | None:
        """What has arrived; None if nothing has, or the state file does not fit the bytes."""
        state = PartialState.read_if_valid(self._state_path)
        if state is None or not self.path.is_file() or self.path.stat().st_size != state.part.length:
            return None
        sound = merged(state.received) == state.received
        return state if sound and all(stop <= state.part.length for _, stop in state.received) else None

    @property
    def received(self) -> int:
        """Number of bytes that have arrived."""
        state = self.state()
        return sum(stop - start for start, stop in state.received) if state else 0

    @property
    def on_disk(self) -> int:
        """Bytes that it takes on the disk: in a sparse file those that are missing take none."""
        return self.path.stat().st_blocks * 512 if self.path.exists() else 0

    def begin(self, part: ByteRange, checked: bool) -> str | None:
        """Prepare to receive `part`, keeping what has arrived of it.

        Args:
            checked: A checksum will tell whether bytes from two addresses belong together.

        Returns:
            Why what has arrived is useless for `part` and was dropped; None if it was not.
        """
        state = self.state()
        reason = _why_not_resumable(state, part, checked) if state and state.received else None
        received = state.received if state and reason is None else []
        if not received:
            with self.path.open("wb") as file:
                file.truncate(part.length)
        self.save(part, received)
        return reason

    def save(self, part: ByteRange, received: Spans) -> None:
        """Save what has arrived, after syncing it to the disk."""
        with naming(self.path), self.path.open("rb") as file:
            sync_open(file.fileno())
        PartialState(part=part, received=received).save(self._state_path)

    def discard(self) -> None:
        """Remove the bytes and the state."""
        self._state_path.unlink(missing_ok=True)
        self.path.unlink(missing_ok=True)


@dataclass
class Piece:
    """The bytes [start, stop) of the part to receive, of which those before `at` have arrived.

    Attributes:
        transferred: All bytes that came, those that had to come again included.
    """

    start: int
    stop: int
    at: int
    transferred: int = 0


class Transfer:
    """Receives the missing pieces of a partial file over several connections."""

    def __init__(self, partial: Partial, part: ByteRange, client: Client, connections: int) -> None:
        self._partial, self._part, self._client = partial, part, client
        state = partial.state()
        self._earlier: Spans = list(state.received) if state else []
        self._pieces = _missing_pieces(part, self._earlier, connections)
        self._waiting = iter(self._pieces)  # shared by the threads: next() of a list's iterator is atomic
        self._stopped = threading.Event()
        self._abandoned = False
        self._error: BaseException | None = None
        self._problem = ""
        self._watch = RateWatch()
        self._threads = [
            threading.Thread(target=self._work, daemon=True, name=f"download-{number}")
            for number in range(min(connections, len(self._pieces)))
        ]

    @property
    def received(self) -> int:
        """Number of bytes that have arrived, in this run and before."""
        return sum(stop - start for start, stop in self._received())

    def run(self, report: Callable[[int, str], None]) -> None:
        """Receive everything; what has arrived is saved whatever happens.

        Args:
            report: Is called with the number of bytes that have arrived, and the current problem or "".

        Raises:
            ChangedError, PermanentError, OSError: The transfer failed.
        """
        try:
            for thread in self._threads:
                thread.start()
            for thread in self._threads:
                while thread.is_alive() and not self._stopped.is_set():
                    thread.join(SAVE_SECONDS)
                    self._save()
                    report(self.received, self._problem)
                    self._watch.check(sum(piece.transferred for piece in self._pieces))
        finally:
            self._stopped.set()
            deadline = time.monotonic() + LEAVE_SECONDS
            for thread in self._threads:
                if thread.ident is not None:
                    thread.join(max(0.0, deadline - time.monotonic()))
            self._abandoned = True  # a connection that hangs must not write any more
            self._save()
        if self._error is not None:
            raise self._error
        report(self.received, "")

    def _work(self) -> None:
        """What one connection does: piece after piece, until none is left or one fails."""
        try:
            with naming(self._partial.path), self._partial.path.open("r+b", buffering=0) as file:
                for piece in self._waiting:
                    self._fetch(piece, file)
        except BaseException as error:
            self._error = self._error or error
            self._stopped.set()

    def _fetch(self, piece: Piece, file: BinaryIO) -> None:
        backoff = Backoff(ATTEMPTS, self._stopped)
        while piece.at < piece.stop and not self._stopped.is_set():
            before = piece.at
            try:
                self._read(piece, file)
            except TransientError as failure:
                if not self._part.resource.ranges:
                    piece.at = piece.start
                elif piece.at > before:
                    backoff.reset()
                self._problem = f"{failure}; trying again"
                self._watch.excuse(failure)
                backoff.wait(failure)
                self._problem = ""

    def _read(self, piece: Piece, file: BinaryIO) -> None:
        base = self._part.start
        with self._client.open_range(self._part.resource, base + piece.at, base + piece.stop) as response:
            file.seek(piece.at)
            while piece.at < piece.stop and not self._stopped.is_set():
                data = memoryview(receive(response, piece.stop - piece.at))
                while data and not self._abandoned:  # a full disk may take a part and refuse the next
                    written = file.write(data)
                    piece.at += written
                    piece.transferred += written
                    data = data[written:]

    def _received(self) -> Spans:
        return merged([*self._earlier, *((piece.start, piece.at) for piece in self._pieces)])

    def _save(self) -> None:
        """Save what has arrived by now; what arrives during the sync waits for the next save."""
        self._partial.save(self._part, self._received())


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


def _missing_pieces(part: ByteRange, received: Spans, connections: int) -> list[Piece]:
    """What is missing, cut so that all connections stay busy until near the end."""
    if not part.resource.ranges:
        return [] if received else [Piece(0, part.length, 0)]
    even = -(-part.length // (PIECES_PER_CONNECTION * connections))
    size = max(SMALLEST_PIECE, min(LARGEST_PIECE, even))
    borders = [0, *itertools.chain.from_iterable(received), part.length]
    gaps = zip(borders[::2], borders[1::2], strict=True)
    return [Piece(at, min(at + size, stop), at) for start, stop in gaps for at in range(start, stop, size)]


def _why_not_resumable(state: PartialState, part: ByteRange, checked: bool) -> str | None:
    """Why what has arrived cannot be completed with `part`, None if it can."""
    earlier, complete = state.part, state.received == [(0, state.part.length)]
    if not part.resource.ranges and not complete:
        return "the server cannot go on in the middle"
    if earlier.resource.url == part.resource.url:
        if difference := part.resource.differs(earlier.resource):
            return f"the file on the server has changed: {difference}"
    elif not checked:
        return (
            "it was begun from another address, and no checksum would tell whether the parts belong together"
        )
    if earlier.length != part.length:
        return f"the file on the server has {part.length:,} bytes, {earlier.length:,} when it was begun"
    return None
