"""A table that is ready to be written in any format: cells, lines, footnotes, and numbers as text."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from objbench.report.rows.row import Row, Statistic
from objbench.report.rows.success import SuccessRate
from objbench.spec.metrics import MetricSpec
from objbench.spec.published import Reference


@dataclass(frozen=True)
class Cell:
    """A printed value, the letters of its footnotes, and whether it is the best among those it can be compared with."""

    text: str
    marks: tuple[str, ...] = ()
    best: bool = False


@dataclass(frozen=True)
class Line:
    """A printed line: label, facts about it, and one cell per column.

    Attributes:
        section: Lines of the same section follow each other; a rule separates sections.
        rows: What the line shows.
        seed: The one seed that it shows; None for the mean over all.
    """

    section: str
    label: Cell
    facts: tuple[str, ...]
    cells: list[Cell]
    rows: tuple[Row, ...] = ()
    seed: int | None = None


@dataclass(frozen=True)
class Table:
    """A table that is ready to be written.

    Attributes:
        first: Heading of the labels.
        facts: Headings of the facts; the first fact is text, the others are counts.
        groups: Heading above each of `headings`; equal neighbours are one group, "" is none.
        explained: What the signs in the table mean.
        legend: (letter, text) of the footnotes.
        references: (key, reference) of the papers that are cited.
    """

    title: str
    first: str
    facts: tuple[str, ...]
    groups: list[str]
    headings: list[str]
    lines: list[Line]
    explained: list[str] = field(default_factory=list)
    legend: list[tuple[str, str]] = field(default_factory=list)
    references: list[tuple[str, Reference]] = field(default_factory=list)

    def full_headings(self, between: str = " ") -> list[str]:
        """All headings, each with the heading of its group before it."""
        below = [f"{g}{between}{h}" if g else h for g, h in zip(self.groups, self.headings, strict=True)]
        return [self.first, *self.facts, *below]

    @property
    def has_best(self) -> bool:
        """Whether any cell is marked as the best."""
        return any(cell.best for line in self.lines for cell in line.cells)


@dataclass
class Footnotes:
    """Footnotes in the order of their first use: text -> letter."""

    texts: dict[str, str] = field(default_factory=dict)

    def letters(self, notes: Iterable[str]) -> tuple[str, ...]:
        """Return the letters of these texts; a new text gets the next letter."""
        return tuple(self.texts.setdefault(note, _letter(len(self.texts))) for note in notes)

    def legend(self) -> list[tuple[str, str]]:
        """(letter, text) in the order of the letters."""
        return [(letter, text) for text, letter in self.texts.items()]


def _letter(index: int) -> str:
    """a, b, ..., z, aa, ab, ..., zz, aaa, ...

    >>> [_letter(index) for index in (0, 25, 26, 701, 702)]
    ['a', 'z', 'aa', 'zz', 'aaa']
    """
    before, last = divmod(index, 26)
    return (_letter(before - 1) if before else "") + chr(ord("a") + last)


def printed(value: Statistic, places: int, intervals: bool) -> str:
    """Print `mean ± std`, or the value of a single seed."""
    if len(value.seeds) == 1:
        return of_seed(value, next(iter(value.seeds)), places, intervals)
    mean = value.metric.format(value.mean, places)
    return mean if value.std is None else f"{mean} ± {value.metric.format(value.std, places)}"


def of_seed(value: Statistic, seed: int, places: int, intervals: bool) -> str:
    """Print the value of one seed, with its interval over images if asked for and known."""
    mean = value.metric.format(value.seeds[seed], places)
    if not intervals or seed not in value.intervals:
        return mean
    return f"{mean} {bounds(value.metric, value.intervals[seed], places)}"


def bounds(metric: MetricSpec, interval: tuple[float, float], places: int = 1) -> str:
    """Print `[low, high]`."""
    low, high = (metric.format(bound, places) for bound in interval)
    return f"[{low}, {high}]"


def rate(found: SuccessRate) -> str:
    """Print `count/n [low, high]`, the bounds in percent."""
    return f"{found.count}/{found.n} [{100 * found.low:.0f}, {100 * found.high:.0f}]"
