"""The progress bar of a download."""

from __future__ import annotations

import contextlib

from objbench import progress

_MB = 1_000_000


def bar(total: int) -> contextlib.AbstractContextManager[progress.Advance]:
    """A bar for a download of `total` bytes, in megabytes."""
    return progress.bar("downloading", -(-total // _MB), "MB")


class Meter:
    """Shows bytes as megabytes. A file that starts over moves the bar back."""

    def __init__(self, advance: progress.Advance) -> None:
        self._advance = advance
        self._before = self._shown = 0

    def begin(self, received: int) -> None:
        """Start a file of which `received` bytes have arrived in an earlier run."""
        self._move(received, resumed=True)

    def show(self, received: int, note: str) -> None:
        """Show that `received` bytes of the file have arrived."""
        self._move(received, note=note)

    def note(self, note: str) -> None:
        """Show what is done now."""
        self._advance(0, note=note)

    def close(self, length: int) -> None:
        """Finish a file of `length` bytes."""
        self._move(length)
        self._before += length

    def _move(self, received: int, note: str | None = None, resumed: bool = False) -> None:
        shown = -(-(self._before + received) // _MB)
        step, self._shown = shown - self._shown, shown
        self._advance(0 if resumed else step, note=note, resumed=step if resumed else 0)
