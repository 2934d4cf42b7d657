"""Tables from plans: a line per method, a cell per column, footnotes for all in which numbers differ."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from objbench.registry import DEFAULT_DEFINITION
from objbench.report.rows.comparability import best
from objbench.report.rows.notes import cell_notes, seed_notes
from objbench.report.rows.row import Measured, Published, Row
from objbench.report.tables.plan import Column, Plan
from objbench.report.tables.table import Cell, Footnotes, Line, Table, of_seed, printed, rate
from objbench.spec.datasets import TEST
from objbench.spec.published import Reference
from objbench.spec.schema import Spec

_FACTS = ("data", "n", "train")
_EXPLAINED = "n: seeds; train: training scenes; ± of measured rows: sample std over seeds."
_INTERVALS = "[ , ]: 95 % bootstrap interval of one seed's mean over its test images."


def build(plan: Plan, spec: Spec, all_seeds: bool = False, intervals: bool = False) -> Table:
    """Lay out the rows of `plan`: measured lines first, then published ones, footnotes lettered from the top.

    Args:
        plan: What the table shows.
        spec: Has the references of published numbers.
        all_seeds: Whether each seed has a line below the mean.
        intervals: Whether the score of a seed is followed by its confidence interval over images.
    """
    footnotes = Footnotes()
    places = _places(plan)
    columns = [_Printer(column, plan.rows, places[column], intervals) for column in plan.columns]
    lines: list[Line] = []
    for members in _lines(plan):
        first = next(iter(members.values()))
        notes = {dataset: plan.notes(row, spec) for dataset, row in members.items()}
        shared = [note for note in plan.notes(first, spec) if all(note in found for found in notes.values())]
        label = Cell(_label(first), footnotes.letters(shared))
        cells = []
        for column in columns:
            row = members.get(column.dataset)
            own = [note for note in notes.get(column.dataset, ()) if note not in shared]
            cells.append(column.cell(row, own, footnotes))
        lines.append(_line(members, label, cells))
        if all_seeds:
            lines += _seed_lines(members, columns, footnotes)
    groups, headings = _headings(plan, spec)
    return Table(
        plan.title,
        "method",
        _FACTS,
        groups,
        headings,
        lines,
        [_EXPLAINED, *([_INTERVALS] if intervals else []), *_successes(plan, spec)],
        footnotes.legend(),
        list(_published_in(plan.rows, spec).items()),
    )


class _Printer:
    """Prints the values of one column; knows which of them are the best among those they can be compared with."""

    def __init__(self, column: Column, rows: list[Row], places: int, intervals: bool) -> None:
        self.dataset, self.metric, self.success = column.dataset, column.metric, column.success
        members = [row for row in rows if row.dataset == self.dataset and self.metric in row.values]
        self.places, self.intervals = places, intervals
        self.best = self._best(members)

    def cell(self, row: Row | None, notes: list[str], footnotes: Footnotes) -> Cell:
        """The value of `row`, with its footnotes."""
        value = row.values.get(self.metric) if row else None
        if row is None or value is None:
            return Cell("-")
        if self.success is not None:
            found = self.success.of(value)
            if found is None:
                return Cell("-")
            return Cell(rate(found), footnotes.letters([*notes, *cell_notes(row, self.metric)]))
        marks = footnotes.letters([*notes, *cell_notes(row, self.metric)])
        return Cell(printed(value, self.places, self.intervals), marks, id(row) in self.best)

    def of_seed(self, row: Row | None, seed: int, footnotes: Footnotes) -> Cell:
        """The value of one seed of `row`."""
        value = row.values.get(self.metric) if row else None
        if row is None or value is None or seed not in value.seeds or self.success is not None:
            return Cell("-")
        marks = footnotes.letters(seed_notes(row, self.metric, seed))
        return Cell(of_seed(value, seed, self.places, self.intervals), marks)

    def _best(self, rows: list[Row]) -> set[int]:
        if not rows or rows[0].values[self.metric].metric.cost:  # costs say nothing about the method
            return set()
        metric = rows[0].values[self.metric].metric
        return best(rows, self.metric, lambda mean: metric.rounded(mean, self.places))


def _places(plan: Plan) -> dict[Column, int]:
    """The decimals of each column: as many as the least exact of its published values has.

    A column without published values has as many as the others of the table.
    """
    stated: dict[Column, int] = {}
    for column in plan.columns:
        members = [row for row in plan.rows if row.dataset == column.dataset and column.metric in row.values]
        of_papers = [row.values[column.metric].decimals for row in members]
        if known := [places for places in of_papers if places is not None]:
            stated[column] = min(known)
    usual = max(stated.values(), default=1)
    return {column: stated.get(column, usual) for column in plan.columns}


def _lines(plan: Plan) -> list[dict[str, Row]]:
    """Join rows to lines, as dataset -> row: the same method on data of the same kind, over all datasets of the table."""
    shown = {(column.dataset, column.metric) for column in plan.columns}
    lines: dict[tuple[object, ...], list[dict[str, Row]]] = {}
    for row in sorted(plan.rows, key=lambda row: row.published):
        if not any((row.dataset, metric) in shown for metric in row.values):
            continue
        key = (row.kind, row.label, row.who, *_same_data(row))
        group = lines.setdefault(key, [])
        free = next((line for line in group if row.dataset not in line), None)
        if free is None:
            group.append({row.dataset: row})
        else:
            free[row.dataset] = row
    return [line for group in lines.values() for line in group]


def _same_data(row: Row) -> tuple[object, ...]:
    """What rows of several datasets must share to stand on one line."""
    if isinstance(row, Measured):
        on = row.scored
        return (on.source, None if row.default_protocol else on.protocol, on.split, on.definition)
    assert isinstance(row, Published)
    return (row.citation, row.quoted_in, row.selection)


def _line(members: Mapping[str, Row], label: Cell, cells: list[Cell]) -> Line:
    first = next(iter(members.values()))
    counts = [f"{row.n}" if row.n else "?" for row in members.values()]
    trained = [
        f"{row.learned.n_train:,}" if isinstance(row, Measured) and row.learned else "-"
        for row in members.values()
    ]
    section = "published" if first.published else "measured"
    return Line(section, label, (first.data, _one(counts), _one(trained)), cells, tuple(members.values()))


def _one(values: list[str]) -> str:
    """One value if all are the same, else all of them in the order of the columns."""
    return values[0] if len(set(values)) == 1 else "/".join(values)


def _label(row: Row) -> str:
    label = f"{row.title} (trivial)" if row.who.trivial else row.title
    if not isinstance(row, Measured):
        return label
    on = row.scored
    label += "" if on.definition == DEFAULT_DEFINITION else f" ({on.definition})"
    label += "" if row.default_protocol else f" @{on.protocol}"
    return label + ("" if on.split == TEST else f" on {on.split}")


def _seed_lines(members: Mapping[str, Row], columns: Sequence[_Printer], footnotes: Footnotes) -> list[Line]:
    rows = tuple(members.values())
    seeds = sorted({s for row in rows for value in row.values.values() for s in value.seeds})
    return [
        Line(
            "measured",
            Cell(f"  seed {seed}"),
            ("",) * len(_FACTS),
            [column.of_seed(members.get(column.dataset), seed, footnotes) for column in columns],
            rows,
            seed,
        )
        for seed in seeds
    ]


def _headings(plan: Plan, spec: Spec) -> tuple[list[str], list[str]]:
    """The headings above groups of columns, and above each column; what all columns share is in the title."""
    names = [_heading(column, spec) for column in plan.columns]
    datasets = [spec.dataset_title(column.dataset) for column in plan.columns]
    if len(set(datasets)) == 1:
        return [""] * len(names), names
    if len(set(names)) == 1:
        return [""] * len(names), datasets
    return datasets, names


def _heading(column: Column, spec: Spec) -> str:
    metric = spec.metric(column.metric)
    return column.success.text(metric) if column.success else metric.title


def _successes(plan: Plan, spec: Spec) -> list[str]:
    stated = dict.fromkeys(_heading(column, spec) for column in plan.columns if column.success)
    return [f"{text}: seeds of which that is true, [ , ] 95 % Wilson interval of their share in percent."
            for text in stated]  # fmt: skip


def cited(rows: Sequence[Row], spec: Spec) -> dict[str, Reference]:
    """Key -> reference of all that a paper with these rows cites: their numbers, methods and datasets."""
    methods = [spec.methods[row.who.method].citation for row in rows if row.who.method in spec.methods]
    datasets = [spec.datasets[row.dataset].citation for row in rows if row.dataset in spec.datasets]
    keys = dict.fromkeys([*filter(None, methods), *(key for keys in datasets for key in keys)])
    known = {key: spec.references[key] for key in keys if key in spec.references}
    return dict(sorted((_published_in(rows, spec) | known).items()))


def _published_in(rows: Iterable[Row], spec: Spec) -> dict[str, Reference]:
    published = [row for row in rows if isinstance(row, Published)]
    keys = {key: None for row in published for key in (row.citation, row.quoted_in) if key}
    return {key: spec.references[key] for key in keys}
