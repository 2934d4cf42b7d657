"""The results of a bench, as JSON with every repeat and as a table."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console, JustifyMethod, RenderableType
from rich.table import Table
from rich.text import Text

from benches.timing import Timing, quartiles

PIPE_WIDTH = 220
LEGEND = (
    "Medians over the repeats, quartiles in brackets; a speed-up is taken within each round of repeats.\n"
    "cores: those that the candidate kept busy, waiting in a spin included; others: those that other programs did."
)


@dataclass(frozen=True)
class Speedup:
    """The speed relative to `against` in each round; the median should reach `aim`."""

    against: str
    samples: list[float]
    aim: float | None = None


@dataclass(frozen=True)
class Row:
    """One candidate.

    Attributes:
        name: Name of the candidate.
        samples: One value per repeat, in the unit of the section; none if the candidate failed.
        threads: Number of threads.
        timing: The times behind the samples.
        speedup: The speed relative to another candidate.
        aim: The value that the median should reach.
        figures: Further values, by the heading of their column.
        remark: A comment on the candidate.
    """

    name: str
    samples: list[float]
    threads: int | None = None
    timing: Timing | None = None
    speedup: Speedup | None = None
    aim: float | None = None
    figures: dict[str, float] = field(default_factory=dict)
    remark: str = ""


@dataclass(frozen=True)
class Check:
    """A condition, `value` <= `limit`, without which the bench fails."""

    name: str
    value: float
    limit: float

    @property
    def passed(self) -> bool:
        """Whether the condition holds; false for NaN."""
        return self.value <= self.limit


@dataclass(frozen=True)
class Section:
    """Rows that were measured together, in one unit.

    Attributes:
        title: What was measured.
        unit: Unit of the rows' samples.
        rows: The candidates.
        checks: Conditions that must hold.
        note: What a reader of the table must know.
        origin: Commit, date and versions behind the rows, if a report holds rows of several runs of the bench.
    """

    title: str
    unit: str
    rows: list[Row]
    checks: list[Check] = field(default_factory=list)
    note: str = ""
    origin: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Report:
    """All sections of a bench, and the parameters of the measurement.

    A long bench may give an iterator that measures while it is consumed: each section is written when it is finished.
    """

    parameters: Mapping[str, Any]
    sections: Iterable[Section]

    @property
    def passed(self) -> bool:
        """Whether every check holds."""
        return all(check.passed for section in self.sections for check in section.checks)


def as_json(bench: str, machine: Mapping[str, Any], report: Report, finished: bool = True) -> str:
    """The report as JSON; `finished` is false if sections are missing."""
    content = {
        "bench": bench,
        "finished": finished,
        "passed": report.passed,
        "machine": dict(machine),
        "parameters": dict(report.parameters),
        "sections": [
            {
                "title": section.title,
                "unit": section.unit,
                "note": section.note,
                "origin": dict(section.origin),
                "rows": [_json_row(row) for row in section.rows],
                "checks": [{**asdict(check), "passed": check.passed} for check in section.checks],
            }
            for section in report.sections
        ],
    }
    return json.dumps(content, indent=2) + "\n"


def print_report(report: Report, machine: Mapping[str, Any]) -> None:
    """Print the report: in the width of the terminal, or as plain text if stdout is not a terminal."""
    shown: list[RenderableType] = [part for section in report.sections for part in _shown(section)]
    shown.append(Text(f"{LEGEND}\n{_footer(report, machine)}"))
    if sys.stdout.isatty():
        Console().print(*shown, sep="\n")
        return
    plain = Console(file=io.StringIO(), width=PIPE_WIDTH, color_system=None)
    with plain.capture() as captured:
        plain.print(*shown, sep="\n")
    print("\n".join(line.rstrip() for line in captured.get().splitlines()))


def _json_row(row: Row) -> dict[str, Any]:
    content = {**asdict(row), **_spread(row.samples)}
    if row.speedup is not None:
        content["speedup"] |= _spread(row.speedup.samples)
    return content


def _spread(samples: Sequence[float]) -> dict[str, float]:
    if not samples:
        return {}
    low, median, high = quartiles(samples)
    return {"median": median, "first_quartile": low, "third_quartile": high}


def _shown(section: Section) -> list[RenderableType]:
    table = Table(box=SIMPLE_HEAD)
    figures = list(dict.fromkeys(name for row in section.rows for name in row.figures))
    headings = (
        "candidate",
        "threads",
        section.unit,
        "speed-up",
        "aim",
        *figures,
        "cores",
        "others",
        "remark",
    )
    cells = [_cells(row, figures) for row in section.rows]
    used = [i for i in range(len(headings)) if any(row[i] for row in cells)]
    for i in used:
        justify: JustifyMethod = "left" if headings[i] in ("candidate", "remark") else "right"
        table.add_column(headings[i], justify=justify, overflow="fold")
    for row in cells:
        table.add_row(*(Text(row[i]) for i in used))
    lines = [section.note] if section.note else []
    lines += [
        f"{check.name}: {_number(check.value)} (at most {_number(check.limit)}): "
        f"{'passed' if check.passed else 'FAILED'}"
        for check in section.checks
    ]
    return [Text(section.title, style="bold"), table, *(Text(f"  {line}") for line in lines), ""]


def _cells(row: Row, figures: Sequence[str]) -> list[str]:
    return [
        row.name,
        str(row.threads or ""),
        _with_spread(row.samples),
        _with_spread(row.speedup.samples) if row.speedup else "",
        _aim(row.samples, row.aim) or (_aim(row.speedup.samples, row.speedup.aim) if row.speedup else ""),
        *(_number(row.figures[name]) if name in row.figures else "" for name in figures),
        *_cores(row.timing),
        row.remark,
    ]


def _aim(samples: Sequence[float], aim: float | None) -> str:
    if aim is None:
        return ""
    return f"{_number(aim)} {'reached' if quartiles(samples)[1] >= aim else 'missed'}"


def _cores(timing: Timing | None) -> list[str]:
    if timing is None:
        return ["", ""]
    return [
        "" if used is None else _share(used, timing.seconds)
        for used in (timing.cpu_seconds, timing.other_seconds)
    ]


def _share(used: Sequence[float], seconds: Sequence[float]) -> str:
    shares = [processor / wall for processor, wall in zip(used, seconds, strict=True)]
    return f"{quartiles(shares)[1]:.2f}"


def _with_spread(samples: Sequence[float]) -> str:
    if not samples:
        return ""
    low, median, high = (_number(value) for value in quartiles(samples))
    return median if len(samples) == 1 else f"{median} ({low} to {high})"


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def _footer(report: Report, machine: Mapping[str, Any]) -> str:
    parameters = ", ".join(f"{name} {value}" for name, value in report.parameters.items())
    start, end = machine["load_average_at_start"][0], machine["load_average_at_end"][0]
    return (
        f"{machine['cpu']}, {machine['cores']} cores, load {start} at the start and {end} at the end; "
        f"torch {machine['torch']}; objbench {machine['commit']}; {machine['date']}\n{parameters}"
    )
