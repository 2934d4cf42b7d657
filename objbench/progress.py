"""Progress of long jobs on stderr: a bar with rate and remaining time on a terminal, otherwise plain lines."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

PLAIN_SECONDS = 10.0


class Advance(Protocol):
    """Reports that `amount` more units are done; `note` replaces the text at the end of the line.

    `resumed` units were done by an earlier process: they count as done, but not for the rate.
    """

    def __call__(self, amount: int = 1, note: str = "", resumed: int = 0) -> None: ...


def silent(amount: int = 1, note: str = "", resumed: int = 0) -> None:
    """An Advance that shows nothing."""


@contextmanager
def bar(description: str, total: int | None, unit: str) -> Iterator[Advance]:
    """Show the progress of a job of `total` units (None: unknown). Yields the function that reports it."""
    if sys.stderr.isatty():
        yield from _rich_bar(description, total, unit)
    else:
        yield from _plain_lines(description, total, unit)


def _rich_bar(description: str, total: int | None, unit: str) -> Iterator[Advance]:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn(
            "{task.completed:,.0f}/{task.total:,.0f}" if total is not None else "{task.completed:,.0f}"
        ),
        TextColumn(f"{{task.fields[rate]}} {unit}/s"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
    )
    start = time.monotonic()
    with Progress(*columns, console=Console(stderr=True), transient=False) as display:
        task = display.add_task(description, total=total, rate="-", note="")

        done_here = 0

        def advance(amount: int = 1, note: str = "", resumed: int = 0) -> None:
            nonlocal done_here
            done_here += amount
            rate = done_here / max(time.monotonic() - start, 1e-9)
            shown = f"{rate:,.1f}" if rate < 100 else f"{rate:,.0f}"
            note = note or display.tasks[0].fields["note"]
            display.update(task, advance=amount + resumed, rate=shown, note=note)

        yield advance


def _plain_lines(description: str, total: int | None, unit: str) -> Iterator[Advance]:
    start = shown = time.monotonic()
    done_here, earlier, last_note = 0, 0, ""

    def line() -> str:
        seconds = max(time.monotonic() - start, 1e-9)
        rate, done = done_here / seconds, done_here + earlier
        of = f"/{total:,}" if total is not None else ""
        left = (
            f", {(total - done) / rate:,.0f} s left"
            if total is not None and done_here > 0 and done < total
            else ""
        )
        return f"{description}: {done:,}{of} {unit}, {rate:,.1f} {unit}/s{left} {last_note}".rstrip()

    def advance(amount: int = 1, note: str = "", resumed: int = 0) -> None:
        nonlocal done_here, earlier, shown, last_note
        done_here += amount
        earlier += resumed
        last_note = note or last_note
        if time.monotonic() - shown >= PLAIN_SECONDS:
            print(line(), file=sys.stderr, flush=True)
            shown = time.monotonic()

    yield advance
    print(line(), file=sys.stderr, flush=True)
