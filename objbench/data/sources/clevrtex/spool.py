"""What comes too early: kept in memory up to a bound, and beyond it in a temporary file."""

from __future__ import annotations

import tempfile
from typing import IO

from objbench.data.sources.clevrtex.names import Place
from objbench.errors import ObjbenchError

MEMORY = 256 << 20


class Spool:
    """Pieces of bytes by place, each put once and taken once.

    The file has no name, so that nothing is left of it however the process ends; it lies in the folder for
    temporary files ($TMPDIR), and is emptied whenever nothing in it is still to be taken.
    """

    def __init__(self, memory: int = MEMORY) -> None:
        self._room = memory
        self._held: dict[Place, bytes] = {}
        self._spooled: dict[Place, tuple[int, int]] = {}
        self._file: IO[bytes] | None = None

    def __contains__(self, place: Place) -> bool:
        return place in self._held or place in self._spooled

    def put(self, place: Place, content: bytes) -> None:
        """Keep a piece. Raises ObjbenchError if the temporary file cannot be written."""
        if len(content) <= self._room:
            self._held[place] = content
            self._room -= len(content)
            return
        try:
            if self._file is None:
                self._file = tempfile.TemporaryFile(prefix="objbench-")  # noqa: SIM115 - closed by close()
            at = self._file.seek(0, 2)
            self._file.write(content)
            self._file.flush()
        except OSError as error:
            raise ObjbenchError(
                f"{tempfile.gettempdir()}: {error.strerror}: the archives hold the scenes in another order, and those "
                "that come early are kept here; free some space, choose another folder with TMPDIR=FOLDER, or unpack "
                "the archives"
            ) from None
        self._spooled[place] = (at, len(content))

    def take(self, place: Place) -> bytes:
        """A piece that was put; it is then gone from here."""
        if place in self._held:
            content = self._held.pop(place)
            self._room += len(content)
            return content
        at, size = self._spooled.pop(place)
        assert self._file is not None
        self._file.seek(at)
        content = self._file.read(size)
        if not self._spooled:
            self._file.truncate(0)
        return content

    def close(self) -> None:
        """Remove the temporary file."""
        if self._file is not None:
            self._file.close()
            self._file = None
