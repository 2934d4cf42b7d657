"""What all workers of a pool are doing, on stderr: one view on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

from objbench.launch.plan import Planned
from objbench.printable import printable
from objbench.progress import PLAIN_SECONDS
from objbench.train.run_state import run_state

if TYPE_CHECKING:
    from rich.live import Live


class View(Protocol):
    """Shows the runs at work. `finished` counts the runs that have ended."""

    finished: int

    def show(self, at_work: list[Planned]) -> None:
        """Show the state of these runs."""


@contextmanager
def view(total: int) -> Iterator[View]:
    """A view of `total` runs."""
    if sys.stderr.isatty():
        from rich.console import Console
        from rich.live import Live

        console = Console(stderr=True)
        also_stdout = sys.stdout.isatty()  # a pipe gets what is printed as it is
        with Live(console=console, transient=True, refresh_per_second=4, redirect_stdout=also_stdout) as live:
            yield _Screen(total, live)
    else:
        yield _Lines(total)


def lines(total: int, finished: int, at_work: list[Planned]) -> list[str]:
    """A line on the whole, and one for each run at work."""
    return [f"{finished} of {total} runs done"] + [
        f"  {planned.task}: {_doing(planned)}" for planned in at_work
    ]


def _doing(planned: Planned) -> str:
    state = run_state(planned.folder)
    if state.state != "at work":
        return "starting"
    return str(state._replace(where=None)).removeprefix("at work, ")


class _Screen:
    def __init__(self, total: int, live: Live) -> None:
        self.finished, self._total, self._live = 0, total, live

    def show(self, at_work: list[Planned]) -> None:
        from rich.text import Text

        text = "\n".join(printable(line) for line in lines(self._total, self.finished, at_work))
        self._live.update(Text(text, overflow="ellipsis", no_wrap=True))


class _Lines:
    def __init__(self, total: int) -> None:
        self.finished, self._total, self._shown = 0, total, time.monotonic()

    def show(self, at_work: list[Planned]) -> None:
        if time.monotonic() - self._shown >= PLAIN_SECONDS:
            self._shown = time.monotonic()
            for line in lines(self._total, self.finished, at_work):
                print(printable(line), file=sys.stderr, flush=True)
