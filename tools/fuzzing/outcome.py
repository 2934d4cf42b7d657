"""What came of a trial, and the rules by which it is judged."""

from __future__ import annotations

import errno
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from objbench.errors import ObjbenchError
from objbench.one_line import in_a_line
from objbench.os_errors import explain_os_errors
from objbench.printable import printable

MOST_LETTERS = 2000  # of a message: nobody reads more


class Outcome(StrEnum):
    """What came of a trial. The last four are failures."""

    SAME = "same"  # the content of the undamaged input
    NAMED = "named"  # an error that names the input
    FOUND = "found"  # a finding, or a warning, that names the input
    UNCHECKED = "unchecked"  # other content without a word, of a format that has no checksum
    SILENT = "silent"  # other content without a word
    UNNAMED = "unnamed"  # an error nobody foresaw, or one that does not name the input
    HANG = "hang"  # no end within the time limit
    DIED = "died"  # the process ended by a signal


FAILURES = (Outcome.SILENT, Outcome.UNNAMED, Outcome.HANG, Outcome.DIED)


@dataclass(frozen=True)
class Result:
    """What came of a trial, and the message or difference that shows it."""

    outcome: Outcome
    detail: str = ""

    @property
    def failed(self) -> bool:
        """Whether the project promises that this does not happen."""
        return self.outcome in FAILURES


@dataclass(frozen=True)
class Reading:
    """What a reader gave.

    Attributes:
        content: Whatever must not change, comparable and printable.
        said: What it told besides: warnings and findings.
        loose: Content that comes from a part of the format without a checksum.
    """

    content: object
    said: str = ""
    loose: object = None


class HangError(BaseException):
    """The time limit of a trial; no `except Exception` of a reader may swallow it."""


class CommandError(Exception):
    """A command of objbench that ended with another exit code than 0."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


def judge_reading(reading: Reading, good: Reading, names: Iterable[str], checked: bool) -> Result:
    """Judge a reader that returned.

    Args:
        good: What it gives of the undamaged input.
        names: One of these must be in what it says, to count as an answer.
        checked: Whether the format has a checksum of what was damaged.
    """
    if (reading.content, reading.loose) == (good.content, good.loose):
        return Result(Outcome.SAME)
    if reading.said != good.said and any(name in reading.said for name in names):
        return _plain(reading.said, Outcome.FOUND)
    if reading.content == good.content:
        return Result(Outcome.UNCHECKED, f"expected {_short(good.loose)}, found {_short(reading.loose)}")
    difference = f"expected {_short(good.content)}, found {_short(reading.content)}"
    return Result(Outcome.SILENT if checked else Outcome.UNCHECKED, difference)


def judge_error(error: Exception, folder: Path, names: Iterable[str]) -> Result:
    """Judge a reader that raised `error`, by the line that a user would read."""
    message, code = _shown(error, folder)
    if code not in (1, 2):
        return Result(Outcome.UNNAMED, f"exit code {code}: {message}")
    if not any(name in message for name in names):
        return Result(Outcome.UNNAMED, f"names none of {', '.join(names)}: {message}")
    return _plain(message, Outcome.NAMED)


def _plain(message: str, good: Outcome) -> Result:
    """`good` if the message is one that a user can read."""
    raw = "(unexpected, at" in message or "Traceback (most recent" in message
    if raw or not message.replace("\n", "").isprintable() or len(message) > MOST_LETTERS:
        return Result(Outcome.UNNAMED, message[:MOST_LETTERS])
    return Result(good, message)


def _shown(error: Exception, folder: Path) -> tuple[str, int]:
    """What the command line would print of an error, and its exit code."""
    if isinstance(error, CommandError):
        return str(error), error.code
    try:
        with explain_os_errors(folder, "--data"):
            raise error
    except ObjbenchError as known:
        return printable(str(known)), known.exit_code
    except OSError as known:
        if known.errno in (None, errno.EINVAL) and known.filename is None:
            return f"{type(known).__name__}: {known} (unexpected, at the system)", 1
        return in_a_line(known), 1
    except Exception as unknown:
        return in_a_line(unknown), 1


def _short(content: object) -> str:
    text = str(content)
    return text if len(text) <= 300 else f"{text[:300]}..."
