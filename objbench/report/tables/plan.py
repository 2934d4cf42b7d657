"""The plan of a table: its columns, each a metric on a dataset, and its rows."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from objbench.report.rows.row import Row
from objbench.report.rows.success import Success
from objbench.spec.schema import Spec


@dataclass(frozen=True)
class Column:
    """A metric on a dataset, or the share of seeds with `success` in it."""

    dataset: str
    metric: str
    success: Success | None = None


@dataclass(frozen=True)
class Plan:
    """What a table shows.

    Attributes:
        rows: Some of them may have no value in any of the columns.
        protocol: The only one that the table is of, if that is not the default one of its dataset.
    """

    title: str
    columns: tuple[Column, ...]
    rows: list[Row]
    protocol: str | None = None

    def notes(self, row: Row, spec: Spec) -> tuple[str, ...]:
        """The notes of a row in this table: published numbers that are not of its protocol say so."""
        if not row.published or not self.protocol or (row.test_id or "").partition("/")[0] == self.protocol:
            return row.notes
        return (*row.notes, f"on {spec.dataset_title(row.dataset)}, not on its protocol {self.protocol}")


def with_success(plan: Plan, success: Success) -> Plan:
    """The plan with one more column per dataset, after its others: the share of successful seeds."""
    columns: list[Column] = []
    for dataset in dict.fromkeys(column.dataset for column in plan.columns):
        columns += [column for column in plan.columns if column.dataset == dataset]
        if any(row.dataset == dataset and success.of(row.values.get(success.metric)) for row in plan.rows):
            columns.append(Column(dataset, success.metric, success))
    return replace(plan, columns=tuple(columns))


def dataset_plans(
    rows: Iterable[Row], datasets: Sequence[str], spec: Spec, metrics: Sequence[str] = ()
) -> list[Plan]:
    """A plan per dataset and protocol with measured rows. Published rows are in every plan of their dataset.

    Args:
        rows: Measured and published rows.
        datasets: `DATASET[@PROTOCOL]`; a bare name means every protocol in the records. Empty: all datasets in the
            records.
        spec: Gives the order of datasets and the default columns.
        metrics: The columns, as far as any row has a value for them. Empty: the metrics that have a column by default.
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
            protocol = reference.partition("@")[2]
            title = spec.dataset_title(name, protocol)
            plans.append(Plan(title, tuple(columns), members, protocol or None))
    return plans


def _references(rows: list[Row], datasets: Sequence[str], spec: Spec) -> list[str]:
    order = list(spec.datasets)
    present = {row.dataset_ref for row in rows if not row.published}
    ranked = sorted(present, key=lambda ref: (_rank(order, ref.partition("@")[0]), ref))
    if not datasets:
        return ranked
    wanted: list[str] = []
    for dataset in datasets:
        name, at, protocol = dataset.partition("@")
        default = protocol == spec.default_protocol(name)
        asked = name if default else dataset
        found = [ref for ref in ranked if ref == asked or (not at and ref.partition("@")[0] == name)]
        wanted += found or [asked]
    return list(dict.fromkeys(wanted))


def _rank(order: list[str], name: str) -> tuple[int, str]:
    return (order.index(name) if name in order else len(order), name)
