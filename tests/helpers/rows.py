"""Rows of reports: of records, and those that papers published."""

from __future__ import annotations

from pathlib import Path

from objbench.records import External, FoundRecord, Run
from objbench.report.rows.measured import Selection, measured_rows
from objbench.report.rows.published import published_rows
from objbench.report.rows.row import Measured, Published
from objbench.spec.load import load_spec
from objbench.spec.schema import Spec


def measured(
    *records: Run | External, selection: Selection | None = None, spec: Spec | None = None
) -> list[Measured]:
    found = [FoundRecord(Path(str(i)), item) for i, item in enumerate(records)]
    return measured_rows(found, spec or load_spec(), selection or Selection()).rows


def published(method: str, dataset: str = "tetrominoes", variant: str | None = None) -> Published:
    rows = published_rows(load_spec())
    return next(r for r in rows if (r.who.method, r.dataset, r.who.variant) == (method, dataset, variant))
