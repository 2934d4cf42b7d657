"""Progress of long jobs on stderr: a bar with rate and remaining time on a terminal, otherwise plain lines."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol

FIRST_SECONDS, PLAIN_SECONDS = 2.0, 10.0  # before the first plain line, and between two of them
_BAR = 10  # columns that a bar needs to say anything


Say = Callable[[str], None]  # is told lines for the user


class Advance(Protocol):
    """Reports that `amount` more units are done; `note` replaces the text at the end of the line ("": none).

    `resumed` units were done by an earlier process: they count as done, but not for the rate.
    """

    def __call__(self, amount: int = 1, note: str | None = None, resumed: int = 0) -> None: ...


def silent(amount: int = 1, note: str | None = None, resumed: int = 0) -> None:
    """An Advance that shows nothing."""


@contextmanager
def bar(description: str, total: int | None, unit: str) -> Iterator[Advance]:
    """Show the progress of a job of `total` units (None: unknown). Yields the function that reports it."""
    if sys.stderr.isatty():
        yield from _rich_bar(Job(description, total, unit))
    else:
        yield from _plain_lines(Job(description, total, unit))


class Job:
    """How far a job is.

    Attributes:
        description: What it is.
        total: Its units; None if that is not known.
        unit: Their name, plural.
        done: Finished units, those of earlier processes included.
        note: What else is to be said, parts separated by ", ".
    """

    def __init__(self, description: str, total: int | None, unit: str) -> None:
        self.description, self.total, self.unit = description, total, unit
        self.done, self.note = 0, ""
        self._here, self._start = 0, time.monotonic()
        self._begun = False

    def advance(self, amount: int, note: str | None, resumed: int) -> bool:
        """Count what is done. The clock of the rate starts anew with a first report of nothing done here.

        Returns whether the job goes on here where an earlier process left it.
        """
        goes_on = not self._begun and resumed > 0
        if not self._begun and amount == 0:
            self._start = time.monotonic()
        self._begun = True
        self._here += amount
        self.done += amount + resumed
        self.note = self.note if note is None else note
        return goes_on

    @property
    def rate(self) -> float:
        """Units a second, of this process."""
        return self._here / max(time.monotonic() - self._start, 1e-9)

    def counts(self) -> str:
        """Such as 1,200/154,440."""
        return f"{self.done:,}/{self.total:,}" if self.total is not None else f"{self.done:,}"

    def speed(self) -> list[str]:
        """Rate and time left, as far as they are known; before the first unit is done, how long it takes already."""
        if not self._here:
            waited = time.monotonic() - self._start
            return [f"{duration(waited)} so far"] if waited >= 1 else []
        shown = [f"{self.rate:,.1f} {self.unit}/s" if self.rate < 100 else f"{self.rate:,.0f} {self.unit}/s"]
        if self.total is not None and self.done < self.total:
            shown.append(f"{duration((self.total - self.done) / self.rate)} left")
        return shown

    def plain(self) -> str:
        """Everything, in a line of any length."""
        counted = f"{self.description}: {self.counts()} {self.unit}"
        return ", ".join(filter(None, (counted, *self.speed(), self.note)))

    def fitted(self, width: int) -> str:
        """A line of at most `width` columns: counts, time left and rate first, then notes, then a bar in what is left."""
        kept = [self.counts()]
        parts = [(part, 12) for part in reversed(self.speed())]
        parts += [(part, 16) for part in self.note.split(", ") if part]
        for part, least in parts:  # the name is cut for it, but not below this length
            if min(len(self.description), least) + 1 + len("  ".join([*kept, part])) > width:
                break
            kept.append(part)
        text = "  ".join(kept)
        name = _cut(self.description, width - len(text) - 1)
        room = width - len(name) - len(text) - 2
        drawn = f"{self._bar(min(room, 30))} " if self.total and room > _BAR else ""
        return f"{name} {drawn}{text}"[:width]

    def _bar(self, width: int) -> str:
        assert self.total
        filled = width * min(self.done, self.total) // self.total
        return "━" * filled + "·" * (width - filled)


def duration(seconds: float) -> str:
    """For people.

    >>> duration(0.42), duration(50), duration(600), duration(9000), duration(400_000)
    ('0.4 s', '50 s', '10 min', '2.5 h', '4.6 days')
    """
    if seconds < 1:
        return f"{seconds:.1f} s"
    if seconds < 100:
        return f"{seconds:.0f} s"
    if seconds < 6000:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h" if seconds < 48 * 3600 else f"{seconds / 86400:.1f} days"


def _cut(text: str, width: int) -> str:
    return text if len(text) <= width else f"{text[: max(width - 1, 0)]}…"


def _rich_bar(job: Job) -> Iterator[Advance]:
    from rich.console import Console
    from rich.progress import Progress, ProgressColumn, Task
    from rich.text import Text

    console = Console(stderr=True)

    class Line(ProgressColumn):
        def render(self, task: Task) -> Text:
            return Text(job.fitted(console.width - 1), no_wrap=True)

    with Progress(Line(), console=console) as display:
        display.add_task(job.description, total=job.total)

        def advance(amount: int = 1, note: str | None = None, resumed: int = 0) -> None:
            job.advance(amount, note, resumed)

        yield advance


def _plain_lines(job: Job) -> Iterator[Advance]:
    """A line every ten seconds and at the end, and one where a job goes on, so that its output tells from where."""
    due = time.monotonic() + FIRST_SECONDS

    def advance(amount: int = 1, note: str | None = None, resumed: int = 0) -> None:
        nonlocal due
        goes_on = job.advance(amount, note, resumed)
        if goes_on or time.monotonic() >= due:
            print(job.plain(), file=sys.stderr, flush=True)
            due = time.monotonic() + PLAIN_SECONDS

    yield advance
    print(job.plain(), file=sys.stderr, flush=True)
