"""The data of the templates: the tables of the report, the filters over them, and the list of runs."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from objbench.progress import duration
from objbench.records import Run
from objbench.report.html.runs import ShownRun, facts, tested_on
from objbench.report.rows.row import Measured, Row
from objbench.report.tables.plan import Column, Plan
from objbench.report.tables.table import Cell, Line, Table
from objbench.spec.schema import Spec

ORIGINS = ("measured", "measured on generated data", "published")
_WIDEST_MARKS = 12


@dataclass
class Facets:
    """The values to filter by: value -> number. The page uses the numbers, so that names can have any characters.

    Attributes:
        titles: Dataset -> its name on the page.
    """

    dataset: dict[str, int] = field(default_factory=dict)
    method: dict[str, int] = field(default_factory=dict)
    seed: dict[str, int] = field(default_factory=dict)
    origin: dict[str, int] = field(default_factory=dict)
    titles: dict[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, plans: Sequence[Plan], runs: Sequence[ShownRun], spec: Spec) -> Facets:
        """Collect the values of all rows of `plans` and of `runs`."""
        rows = [row for plan in plans for row in plan.rows]
        origins = {origin(row) for row in rows}
        return cls(
            _numbered(row.dataset for row in sorted(rows, key=lambda row: row.published)),
            _numbered(
                [
                    *(run.title for run in runs),
                    *(row.title for row in sorted(rows, key=lambda row: row.published)),
                ]
            ),
            _numbered(str(seed) for seed in sorted({run.record.seed for run in runs})),
            _numbered(name for name in ORIGINS if name in origins),
            {row.dataset: spec.dataset_title(row.dataset) for row in rows},
        )


@dataclass(frozen=True)
class Heading:
    """The heading of a column.

    Attributes:
        first: The sort order that puts the best values first.
        room: Characters that its longest footnote mark needs.
    """

    text: str
    datasets: str = ""
    first: str = "ascending"
    room: int = 0


@dataclass(frozen=True)
class ShownLine:
    """A line with the numbers of its facets; empty if it shows no row."""

    line: Line
    datasets: str = ""
    method: str = ""
    origin: str = ""
    note: str = ""


@dataclass(frozen=True)
class TableView:
    """A table with its lines grouped.

    Attributes:
        groups: (heading, number of columns it spans).
        sections: (name, lines), each line with the lines of its seeds.
    """

    id: str
    table: Table
    headings: list[Heading]
    groups: list[tuple[str, int]]
    sections: list[tuple[str, list[tuple[ShownLine, list[ShownLine]]]]]
    datasets: str = ""


@dataclass(frozen=True)
class RunView:
    """A run in the list of runs."""

    run: ShownRun
    datasets: str
    method: int
    seed: int
    origin: int
    place: str
    time: str
    facts: list[tuple[str, str]]
    tested_on: list[tuple[str, list[tuple[str, str]]]]


def table_view(number: int, plan: Plan, table: Table, facets: Facets, spec: Spec) -> TableView:
    """Prepare `table`, made of `plan` with all seeds."""
    headings = [
        Heading(text, str(facets.dataset[column.dataset]), _best_first(column, spec), _room(table.lines, i))
        for i, (text, column) in enumerate(zip(table.headings, plan.columns, strict=True))
    ]
    datasets = " ".join(dict.fromkeys(heading.datasets for heading in headings))
    lines = [_shown(line, facets) for line in table.lines]
    return TableView(f"t{number}", table, headings, _groups(table), _sections(lines), datasets)


def plain_view(number: int, table: Table) -> TableView:
    """Prepare a table without rows behind it, which filters do not touch."""
    headings = [Heading(text) for text in table.headings]
    return TableView(
        f"t{number}", table, headings, _groups(table), _sections([ShownLine(line) for line in table.lines])
    )


def run_view(run: ShownRun, facets: Facets, spec: Spec) -> RunView:
    """Prepare a run with its provenance."""
    scored = [run.record.scored[key].dataset for key in run.evaluations]
    name = ORIGINS[1] if run.generated else ORIGINS[0]
    return RunView(
        run=run,
        datasets=_numbers(facets.dataset[dataset] for dataset in scored),
        method=facets.method[run.title],
        seed=facets.seed[str(run.record.seed)],
        origin=facets.origin[name],
        place=spec.place_title(run.record.place),
        time=duration(run.record.wall_seconds) if isinstance(run.record, Run) else "",
        facts=facts(run),
        tested_on=tested_on(run),
    )


def origin(row: Row) -> str:
    """The element of ORIGINS for a row."""
    if not isinstance(row, Measured):
        return ORIGINS[2]
    return ORIGINS[0] if row.scored.generator is None else ORIGINS[1]


def marks_text(cell: Cell) -> str:
    """The footnote letters of a cell as printed."""
    return ",".join(cell.marks)


def facts_text(line: Line, names: Sequence[str]) -> str:
    """The facts of a line in one text, for screens without room for their columns: `emorl, n 2, train 59,680`."""
    first, *rest = line.facts
    told = [f"{name} {fact}" for name, fact in zip(names[1:], rest, strict=True) if fact != "-"]
    return ", ".join([first, *told])


def _shown(line: Line, facets: Facets) -> ShownLine:
    first = line.rows[0]
    return ShownLine(
        line,
        _numbers(facets.dataset[row.dataset] for row in line.rows),
        str(facets.method[first.title]),
        str(facets.origin[origin(first)]),
        first.who.settings,
    )


def _sections(lines: Iterable[ShownLine]) -> list[tuple[str, list[tuple[ShownLine, list[ShownLine]]]]]:
    """Group lines by section, and the lines of single seeds with the line of their mean."""
    sections: list[tuple[str, list[tuple[ShownLine, list[ShownLine]]]]] = []
    for shown in lines:
        if not sections or sections[-1][0] != shown.line.section:
            sections.append((shown.line.section, []))
        groups = sections[-1][1]
        if shown.line.seed is None:
            groups.append((shown, []))
        else:
            groups[-1][1].append(shown)
    return sections


def _groups(table: Table) -> list[tuple[str, int]]:
    """The headings of groups, each with the number of its columns; empty if there are none."""
    spans = [(text, len(list(same))) for text, same in itertools.groupby(table.groups)]
    return spans if any(text for text, _ in spans) else []


def _best_first(column: Column, spec: Spec) -> str:
    higher = column.success is not None or spec.metric(column.metric).sign > 0
    return "descending" if higher else "ascending"


def _room(lines: Iterable[Line], column: int) -> int:
    """Number of characters of the longest footnote mark of a column."""
    return min(max((len(marks_text(line.cells[column])) for line in lines), default=0), _WIDEST_MARKS)


def _numbered(names: Iterable[str]) -> dict[str, int]:
    return {name: number for number, name in enumerate(dict.fromkeys(names))}


def _numbers(values: Iterable[int]) -> str:
    return " ".join(dict.fromkeys(str(value) for value in values))
