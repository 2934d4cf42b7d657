"""The tables of Vikström and Ilin (2022): their columns and rows, with what was measured beside what they print."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from objbench.errors import RequestError
from objbench.report.rows.row import Published, Row
from objbench.report.tables.plan import Column, Plan

_THREE = ("tetrominoes", "multi_dsprites", "clevr6")
_ABLATIONS = ("4", "5", "6")


@dataclass(frozen=True)
class PaperTable:
    """One part of a table of the paper.

    Attributes:
        sources: The `table` keys of its published rows in benchmarks.yaml.
    """

    title: str
    datasets: tuple[str, ...]
    metrics: tuple[str, ...]
    sources: tuple[str, ...]


PAPER_TABLES: dict[str, list[PaperTable]] = {
    "1": [
        PaperTable("Table 1: comparison, ARI-FG", _THREE, ("ari_fg",), ("1",)),
        PaperTable("Table 1: comparison, ARI", _THREE, ("ari",), ("1",)),
    ],
    "2": [
        PaperTable("Table 2: ClevrTex", ("clevrtex",), ("miou", "ari_fg"), ("2",)),
        PaperTable(
            "Table 2: generalisation",
            ("clevrtex_ood", "clevrtex_camo"),
            ("miou", "ari_fg"),
            ("generalisation",),
        ),
    ],
    "3": [
        PaperTable("Table 3: cost per seed, hours", (*_THREE, "clevrtex"), ("hours",), ("3",)),
        PaperTable("Table 3: cost per seed, iterations", (*_THREE, "clevrtex"), ("iterations",), ("3",)),
    ],
    "4": [PaperTable("Table 4: ablations, ARI-FG", _THREE, ("ari_fg",), ("4",))],
    "5": [PaperTable("Table 5: ablations, ARI", _THREE, ("ari",), ("5",))],
    "6": [PaperTable("Table 6: ablations, mIoU", _THREE, ("miou",), ("6",))],
}


def paper_plans(number: str, rows: Sequence[Row], datasets: Sequence[str]) -> list[Plan]:
    """Plan the parts of Table `number`; measured rows are in the order of the paper's, those that it lacks at the end.

    Args:
        number: A key of PAPER_TABLES.
        rows: All rows of the report.
        datasets: The columns to show, as `DATASET[@PROTOCOL]`; none for all.

    Raises:
        RequestError: The table has no column for any of `datasets`.
    """
    names = [dataset.partition("@")[0] for dataset in datasets]
    plans = []
    for table in PAPER_TABLES[number]:
        columns = [Column(d, m) for d in table.datasets for m in table.metrics if not names or d in names]
        if columns:
            members = [row for row in rows if _belongs(row, table, number, rows, datasets)]
            shown = [row for row in members if _fits(row, columns)]
            plans.append(Plan(table.title, tuple(columns), _as_published(shown)))
    if not plans:
        there = ", ".join(dict.fromkeys(d for table in PAPER_TABLES[number] for d in table.datasets))
        raise RequestError(f"--table {number} has no column for {', '.join(datasets)}; it has {there}")
    return plans


def _as_published(rows: Sequence[Row]) -> list[Row]:
    """The rows, methods in the order of the published ones among them, then the others as they are, trivial ones last."""
    order = list(dict.fromkeys(row.who.method for row in rows if row.published))

    def place(row: Row) -> tuple[bool, int]:
        method = row.who.method
        return row.who.trivial, order.index(method) if method in order else len(order)

    return sorted(rows, key=place)


def _belongs(row: Row, table: PaperTable, number: str, rows: Sequence[Row], datasets: Sequence[str]) -> bool:
    if isinstance(row, Published):
        return not set(table.sources).isdisjoint(row.tables)
    narrowed = [dataset for dataset in datasets if "@" in dataset and dataset.startswith(f"{row.dataset}@")]
    if narrowed and f"{row.dataset}@{row.protocol}" not in narrowed:
        return False
    published = [other for other in rows if isinstance(other, Published)]
    ablated = {(r.who.method, r.who.variant) for r in published if not set(_ABLATIONS).isdisjoint(r.tables)}
    is_ablation = (row.who.method, row.who.variant) in ablated
    return is_ablation if number in _ABLATIONS else row.who.variant is None or not is_ablation


def _fits(row: Row, columns: Sequence[Column]) -> bool:
    return any(column.dataset == row.dataset and column.metric in row.values for column in columns)
