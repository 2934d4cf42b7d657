"""Rows from published numbers: one per method and dataset, the numbers of one paper and protocol merged."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from objbench.report.rows.notes import published_notes
from objbench.report.rows.row import ALL_SEEDS, MethodId, Published, Statistic
from objbench.spec.metrics import MetricSpec
from objbench.spec.published import PublishedRow
from objbench.spec.schema import Spec


def published_rows(spec: Spec) -> list[Published]:
    """Make a row per published method and dataset, in the order of benchmarks.yaml.

    Numbers that several tables of a paper give for the same runs (ARI-FG in one, mIoU in another) become one row,
    unless two tables give the same metric different values.
    """
    rows: dict[tuple[Any, ...], Published] = {}
    for block in spec.published:
        for dataset in block.values:
            row = _row(block, dataset, spec)
            key = _identity(row)
            while key in rows and not _agree(rows[key], row):
                key = (*key, "again")
            rows[key] = _merged(rows[key], row) if key in rows else row
    return [replace(row, notes=published_notes(row)) for row in rows.values()]


def _row(block: PublishedRow, dataset: str, spec: Spec) -> Published:
    name = f"{block.method}:{block.variant}" if block.variant else block.method
    return Published(
        label=block.label or name,
        title=block.label or spec.method_title(block.method, block.variant),
        who=MethodId(block.method, block.variant, {}, trivial=False),
        dataset=dataset,
        protocol=block.protocol,
        n=block.seeds,
        selection=block.selection or ALL_SEEDS,
        selected=block.selected,
        std_kind=block.std,
        definitions={
            name: block.definitions.get(name, spec.metric(name).meaning) for name in block.values[dataset]
        },
        values={
            name: _statistic(spec.metric(name), mean, std, block.decimals)
            for name, (mean, std) in block.values[dataset].items()
        },
        citation=block.citation,
        quoted_in=block.quoted_in,
        tables=(block.table,),
        test_set=block.test_set.get(dataset),
        remarks=tuple(filter(None, (block.note, *_told(block), block.dataset_notes.get(dataset)))),
        conditions=block.conditions,
    )


def _told(block: PublishedRow) -> list[str]:
    """What a reader is told of a row beside its conditions."""
    fixed = isinstance(block.clusters, int)
    return [f"always {block.clusters} segments"] * fixed + [f"read in {block.read_in}"] * bool(block.read_in)


def _statistic(metric: MetricSpec, mean: float, std: float | None, decimals: int) -> Statistic:
    if not metric.percent:
        return Statistic(metric, mean, std, decimals=decimals)
    return Statistic(metric, _fraction(mean), None if std is None else _fraction(std), decimals=decimals)


def _fraction(percent: float) -> float:
    return round(percent / 100, 6)  # 48.34 becomes 0.4834, not 0.48340000000000005


def _identity(row: Published) -> tuple[Any, ...]:
    """What two rows must share to be of the same runs; costs stay in a row of their own."""
    cost = any(value.metric.cost for value in row.values.values())
    stated = (row.protocol, row.selection, row.std_kind, row.n, row.remarks, row.conditions)
    return (row.dataset, row.who, row.citation, row.quoted_in, cost, *stated)


def _agree(one: Published, other: Published) -> bool:
    shared = set(one.values) & set(other.values)
    return all(
        one.values[m] == other.values[m] and one.definitions[m] == other.definitions[m] for m in shared
    )


def _merged(one: Published, other: Published) -> Published:
    return replace(
        one,
        values={**one.values, **other.values},
        definitions={**one.definitions, **other.definitions},
        tables=tuple(dict.fromkeys((*one.tables, *other.tables))),
    )
