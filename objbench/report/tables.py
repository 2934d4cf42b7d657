"""Rows to tables: one line per method, columns of (dataset, metric), footnotes for all that sets numbers apart."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from objbench.registry import DEFAULT_DEFINITION
from objbench.report.compare import cell_notes, row_notes
from objbench.report.rows import Row, Statistic, is_percent
from objbench.spec import Reference, Spec

METRICS = ("ari_fg", "ari", "miou", "miou_fg", "mse")


@dataclass(frozen=True)
class Column:
    """A metric on a dataset."""

    dataset: str
    metric: str


@dataclass(frozen=True)
class Plan:
    """What a table is to show: `rows` may hold more than fits the columns."""

    title: str
    columns: tuple[Column, ...]
    rows: list[Row]


@dataclass(frozen=True)
class Cell:
    """A printed value and the letters of its footnotes."""

    text: str
    marks: tuple[str, ...] = ()


@dataclass(frozen=True)
class Line:
    """A printed line: label, data and counts, then one cell per column. `section` changes where a rule belongs."""

    section: str
    label: Cell
    data: str
    n: str
    n_train: str
    cells: list[Cell]


@dataclass(frozen=True)
class Table:
    """A table ready for printing; `legend` has (letter, text), `references` (key, reference)."""

    title: str
    headings: list[str]
    lines: list[Line]
    legend: list[tuple[str, str]]
    references: list[tuple[str, Reference]]
    intervals: bool = False


def dataset_plans(rows: Iterable[Row], datasets: Sequence[str], spec: Spec) -> list[Plan]:
    """A plan per dataset and protocol that has measured rows; published rows stand in each of their dataset.

    datasets: `DATASET[@PROTOCOL]`, a bare name for every protocol in the records; none: all in the records.
    """
    rows = list(rows)
    plans = []
    for reference in _references(rows, datasets, spec):
        name = reference.partition("@")[0]
        members = [row for row in rows if row.dataset_ref == (name if row.published else reference)]
        columns = [Column(name, m) for m in METRICS if any(m in row.values for row in members)]
        members = [row for row in members if any(column.metric in row.values for column in columns)]
        if members:
            plans.append(Plan(reference, tuple(columns), members))
    return plans


def _references(rows: list[Row], datasets: Sequence[str], spec: Spec) -> list[str]:
    order = list(spec.datasets)
    present = {row.dataset_ref for row in rows if not row.published}
    ranked = sorted(present, key=lambda ref: (_place(order, ref.partition("@")[0]), ref))
    if not datasets:
        return ranked
    wanted: list[str] = []
    for dataset in datasets:
        name, at, protocol = dataset.partition("@")
        default = name in spec.datasets and protocol == spec.datasets[name].default_protocol
        asked = name if default else dataset
        found = [ref for ref in ranked if ref == asked or (not at and ref.partition("@")[0] == name)]
        wanted += found or [asked]
    return list(dict.fromkeys(wanted))


def _place(order: list[str], name: str) -> tuple[int, str]:
    return (order.index(name) if name in order else len(order), name)


def build(plan: Plan, spec: Spec, all_seeds: bool = False, intervals: bool = False) -> Table:
    """Lay out the rows of `plan`: measured lines first, then published ones, footnotes lettered from the top.

    all_seeds  every seed below its mean;  intervals  the confidence interval over images behind the score of a seed
    """
    footnotes = _Footnotes()
    decimals = [_decimals(column, plan.rows) for column in plan.columns]
    lines: list[Line] = []
    for members in _lines(plan):
        notes = {name: row_notes(row, _peers(row, plan.rows)) for name, row in members.items()}
        common = [
            note for note in next(iter(notes.values())) if all(note in other for other in notes.values())
        ]
        label = Cell(_label(next(iter(members.values()))), footnotes.letters(common))
        cells = []
        for column, places in zip(plan.columns, decimals, strict=True):
            row = members.get(column.dataset)
            value = row.values.get(column.metric) if row else None
            if row is None or value is None:
                cells.append(Cell("-"))
                continue
            own = [note for note in notes[column.dataset] if note not in common]
            marks = footnotes.letters([*own, *cell_notes(row, column.metric)])
            cells.append(Cell(_printed(column.metric, value, places, intervals), marks))
        lines.append(_line(members, label, cells))
        if all_seeds:
            lines += _seed_lines(members, plan.columns, decimals, intervals)
    return Table(plan.title, _headings(plan), lines, footnotes.legend(), _cited(plan.rows, spec), intervals)


def _lines(plan: Plan) -> list[dict[str, Row]]:
    """The rows of each line by dataset: the same method on data of the same kind, over the datasets of the table."""
    shown = {(column.dataset, column.metric) for column in plan.columns}
    lines: dict[tuple[object, ...], list[dict[str, Row]]] = {}
    for row in sorted(plan.rows, key=lambda row: row.published):
        if not any((row.dataset, metric) in shown for metric in row.values):
            continue
        overrides = tuple(sorted((key, str(value)) for key, value in row.overrides.items()))
        where = (row.citation, row.quoted_in) if row.published else (row.source, row.default_protocol)
        key = (row.kind, row.label, overrides, *where, row.selection if row.published else "")
        group = lines.setdefault(key, [])
        free = next((line for line in group if row.dataset not in line), None)
        if free is None:
            group.append({row.dataset: row})
        else:
            free[row.dataset] = row
    return [line for group in lines.values() for line in group]


def _peers(row: Row, rows: list[Row]) -> list[Row]:
    return [other for other in rows if other.dataset == row.dataset]


def _line(members: Mapping[str, Row], label: Cell, cells: list[Cell]) -> Line:
    first = next(iter(members.values()))
    data = str(first.citation if first.published else first.source)
    counts = [f"{row.n}" if row.n else "?" for row in members.values()]
    trained = [
        f"{row.n_train:,}" if row.n_train is not None and row.steps else "-" for row in members.values()
    ]
    return Line(
        "published" if first.published else "measured", label, data, _one(counts), _one(trained), cells
    )


def _one(values: list[str]) -> str:
    """One value where all are the same, else all of them in the order of the columns."""
    return values[0] if len(set(values)) == 1 else "/".join(values)


def _label(row: Row) -> str:
    label = f"{row.label} (trivial)" if row.trivial else row.label
    if row.published:
        return label
    protocol = "" if row.default_protocol else f" @{row.protocol}"
    label += "" if row.definition == DEFAULT_DEFINITION else f" ({row.definition})"
    return label + protocol + ("" if row.split == "test" else f" on {row.split}")


def _seed_lines(
    members: Mapping[str, Row], columns: Sequence[Column], decimals: list[int], intervals: bool
) -> list[Line]:
    by_seed: dict[int, list[Cell]] = {}
    seeds = sorted({s for row in members.values() for value in row.values.values() for s in value.seeds})
    for seed in seeds:
        for column, places in zip(columns, decimals, strict=True):
            row = members.get(column.dataset)
            value = row.values.get(column.metric) if row else None
            found = value is not None and seed in value.seeds
            text = _of_seed(column.metric, value, seed, places, intervals) if value and found else "-"
            by_seed.setdefault(seed, []).append(Cell(text))
    return [Line("measured", Cell(f"  seed {seed}"), "", "", "", cells) for seed, cells in by_seed.items()]


def _headings(plan: Plan) -> list[str]:
    datasets = {column.dataset for column in plan.columns}
    metrics = {column.metric for column in plan.columns}
    if len(datasets) == 1:
        return [column.metric for column in plan.columns]
    if len(metrics) == 1:
        return [column.dataset for column in plan.columns]
    return [f"{column.dataset} {column.metric}" for column in plan.columns]


def _decimals(column: Column, rows: list[Row]) -> int:
    """The decimals of measured values: as many as the published ones beside them print."""
    printed = [row.values[column.metric].decimals for row in rows if row.dataset == column.dataset
               and column.metric in row.values]  # fmt: skip
    return max((places for places in printed if places is not None), default=1)


def _printed(metric: str, value: Statistic, places: int, intervals: bool) -> str:
    """`mean ± std` as a table prints it; a published value with the decimals that its paper gives."""
    places = value.decimals or places
    if len(value.seeds) == 1:
        return _of_seed(metric, value, next(iter(value.seeds)), places, intervals)
    mean = _number(metric, value.mean, places)
    return mean if value.std is None else f"{mean} ± {_number(metric, value.std, places)}"


def _of_seed(metric: str, value: Statistic, seed: int, places: int, intervals: bool) -> str:
    mean = _number(metric, value.seeds[seed], places)
    if not intervals or seed not in value.intervals:
        return mean
    low, high = (_number(metric, bound, places) for bound in value.intervals[seed])
    return f"{mean} [{low}, {high}]"


def _number(metric: str, value: float, places: int) -> str:
    if is_percent(metric):
        return f"{100 * value:.{places}f}"
    return {"hours": f"{value:.3g}", "iterations": f"{value:,.0f}"}.get(metric, f"{value:.5f}")


def _cited(rows: list[Row], spec: Spec) -> list[tuple[str, Reference]]:
    keys = {key: None for row in rows for key in (row.citation, row.quoted_in) if key}
    return [(key, spec.references[key]) for key in keys]


@dataclass
class _Footnotes:
    """Texts in the order of their first use, each with a letter."""

    texts: dict[str, str] = field(default_factory=dict)

    def letters(self, notes: Iterable[str]) -> tuple[str, ...]:
        return tuple(self.texts.setdefault(note, _letter(len(self.texts))) for note in notes)

    def legend(self) -> list[tuple[str, str]]:
        return [(letter, text) for text, letter in self.texts.items()]


def _letter(index: int) -> str:
    """a, b, ..., z, aa, ab, ..."""
    first, last = divmod(index, 26)
    return (chr(ord("a") + first - 1) if first else "") + chr(ord("a") + last)
