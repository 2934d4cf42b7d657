"""stdin, stdout and stderr as a command needs them: closed ones, narrow encodings, readers that left, full disks."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from typing import Any, TextIO

_JSON: ContextVar[TextIO | None] = ContextVar("stdout of a command that prints JSON", default=None)
BROKEN_PIPE = 141  # as a shell reports a program that SIGPIPE ended


class UnwrittenError(Exception):
    """Stdout cannot be written to. No OSError, which would be taken for one of the files that a verb writes.

    Attributes:
        exit_code: The exit code of the command.
        message: What to say about it; "" for a pipe whose reader left: `objbench list | head -1` ends like other tools.
    """

    def __init__(self, error: OSError) -> None:
        broken = isinstance(error, BrokenPipeError)
        self.exit_code = BROKEN_PIPE if broken else 1
        self.message = "" if broken else f"stdout: {error.strerror or error}"
        super().__init__(self.message)


@contextmanager
def standard_streams() -> Iterator[None]:
    """Within this block the three streams are open, and characters that they cannot encode are printed as escapes.

    A message that cannot be written to stderr is dropped: it never stops the work. Data that cannot be written to
    stdout raise UnwrittenError, at the latest at the end of the block.
    """
    _open_closed()
    before = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = _over(sys.stdout, _Data(1)), _over(sys.stderr, _Messages(2))
    try:
        yield
        sys.stdout.flush()
    finally:
        sys.stdout, sys.stderr = before


@contextmanager
def only_json() -> Iterator[None]:
    """Within this block stdout has what `json_stream` gets alone; what else is printed, as by a method, goes to stderr."""
    stdout = sys.stdout
    token = _JSON.set(stdout)
    sys.stdout = sys.stderr
    try:
        yield
    finally:
        sys.stdout = stdout
        _JSON.reset(token)


def json_stream() -> TextIO:
    """Where a command prints its JSON."""
    return _JSON.get() or sys.stdout


def _open_closed() -> None:
    """Open descriptors 0 to 2 where they are closed; else the next file would get such a number, and messages in it.

    Descriptor 1 cannot be written to then, so that lost data are an error.
    """
    for number, mode in enumerate((os.O_RDONLY, os.O_RDONLY, os.O_WRONLY)):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, mode)  # gets the lowest free number, this one


def _over(stream: TextIO | None, raw: _Data | _Messages) -> TextIO:
    """A text stream over `raw` that encodes as `stream` does; `stream` itself if it is not that of the process."""
    if stream is None:
        return io.TextIOWrapper(io.BufferedWriter(raw), "utf-8")
    if not isinstance(stream, io.TextIOWrapper):
        return stream
    if stream is not (sys.__stdout__ if raw.fileno() == 1 else sys.__stderr__):
        stream.reconfigure(errors=_lenient(stream.errors))
        return stream
    stream.flush()
    at_once = stream.line_buffering or stream.write_through
    writer = io.BufferedWriter(raw)
    return io.TextIOWrapper(writer, stream.encoding, _lenient(stream.errors), line_buffering=at_once)


def _lenient(errors: str | None) -> str:
    return (
        "backslashreplace" if errors in (None, "strict", "surrogateescape") else errors
    )  # the last: LC_ALL=C


class _Messages(io.FileIO):
    """Stderr, by its descriptor. Drops what cannot be written: its reader left, its disk is full, its terminal is gone."""

    def __init__(self, descriptor: int) -> None:
        super().__init__(descriptor, "w", closefd=False)

    def write(self, content: Any) -> int:
        with suppress(OSError):
            return super().write(content)
        return len(content)


class _Data(io.FileIO):
    """Stdout, by its descriptor. What cannot be written raises UnwrittenError once; what follows goes to nowhere."""

    def __init__(self, descriptor: int) -> None:
        super().__init__(descriptor, "w", closefd=False)
        self._failed = False

    def write(self, content: Any) -> int:
        if self._failed:
            return len(content)
        try:
            return super().write(content)
        except OSError as error:
            self._failed = True
            raise UnwrittenError(error) from None
