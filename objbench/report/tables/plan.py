"""What a table is to show: columns of (dataset, metric), and the rows that may stand under them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from objbench.report.rows.row import Row
from objbench.report.rows.success import Success
from objbench.spec.schema import Spec


@dataclass(frozen=True)
class Column:
    """A metric on a dataset, or the share of seeds that have `success` in it."""

    dataset: str
    metric: str
    success: Success | None = None


@dataclass(frozen=True)
class Plan:
    """What a table is to show: `rows` may hold more than fits the columns."""

    title: str
    columns: tuple[Column, ...]
    rows: list[Row]


def with_success(plan: Plan, success: Success) -> Plan:
    """The same table with a column for the share of successful seeds behind those of each dataset."""
    columns: list[Column] = []
    for dataset in dict.fromkeys(column.dataset for column in plan.columns):
        columns += [column for column in plan.columns if column.dataset == dataset]
        if any(row.dataset == dataset and success.of(row.values.get(success.metric)) for row in plan.rows):
            columns.append(Column(dataset, success.metric, success))
    return replace(plan, columns=tuple(columns))


def dataset_plans(
    rows: Iterable[Row], datasets: Sequence[str], spec: Spec, metrics: Sequence[str] = ()
) -> list[Plan]:
    """A plan per dataset and protocol that has measured rows; published rows stand in each of their dataset.

    datasets: `DATASET[@PROTOCOL]`, a bare name for every protocol in the records; none: all in the records.
    metrics: the columns, where any row has a value for them; none: those that `metrics:` gives a column.
    """
    rows = list(rows)
    metrics = metrics or list(spec.columns())
    plans = []
    for reference in _references(rows, datasets, spec):
        name = reference.partition("@")[0]
        members = [row for row in rows if row.dataset_ref == (name if row.published else reference)]
        columns = [Column(name, m) for m in metrics if any(m in row.values for row in members)]
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
