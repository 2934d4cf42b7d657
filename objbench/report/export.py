"""Rows for programs: JSON with all provenance, and long CSV with a line per row, metric and seed."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Sequence
from typing import Any

from objbench.report.compare import cell_notes, row_notes
from objbench.report.rows import Row
from objbench.report.tables import Plan

_PROVENANCE = (
    "kind", "dataset", "protocol", "source", "split", "method", "variant", "overrides", "trivial", "n", "selection",
    "std_kind", "fingerprint", "standard", "generator", "resolution", "n_images", "definition", "trained_on",
    "n_train", "standard_n_train", "steps", "config_hash", "devices", "citation",
    "quoted_in", "tables", "test_set", "notes",
)  # fmt: skip


def plan_rows(plans: Sequence[Plan]) -> list[tuple[Row, list[str]]]:
    """Every row of the plans once, with the footnotes that it has there."""
    found: dict[int, tuple[Row, list[str]]] = {}
    for plan in plans:
        for row in plan.rows:
            peers = [other for other in plan.rows if other.dataset == row.dataset]
            found.setdefault(id(row), (row, row_notes(row, peers)))
    return list(found.values())


def as_json(plans: Sequence[Plan]) -> str:
    """An array of row objects; scores as fractions, also those that papers print in percent."""
    return (
        json.dumps([_object(row, marks) for row, marks in plan_rows(plans)], indent=2, allow_nan=False) + "\n"
    )


def _object(row: Row, marks: list[str]) -> dict[str, Any]:
    content: dict[str, Any] = {"name": row.label, "dataset_ref": row.dataset_ref}
    content |= {name: getattr(row, name) for name in _PROVENANCE}
    content["definitions"] = row.definitions
    content["marks"] = [*marks, *(note for metric in row.values for note in cell_notes(row, metric))]
    content["values"] = {
        metric: {
            "mean": _finite(value.mean),
            "std": _finite(value.std),
            "seeds": {str(seed): _finite(score) for seed, score in value.seeds.items()},
            "intervals": {str(seed): interval for seed, interval in value.intervals.items()},
        }
        for metric, value in row.values.items()
    }
    return content


def _finite(value: float | None) -> float | None:
    """JSON has no NaN and no infinity: null stands for them."""
    return value if value is not None and math.isfinite(value) else None


def as_csv(plans: Sequence[Plan]) -> str:
    """One line per row, metric and seed, and one for the mean: `seed` is a number or "mean"."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(
        [*_PROVENANCE, "metric", "metric_definition", "seed", "value", "std", "low", "high", "marks"]
    )
    for row, marks in plan_rows(plans):
        provenance = [_flat(getattr(row, name)) for name in _PROVENANCE]
        for metric, value in row.values.items():
            told = "; ".join([*marks, *cell_notes(row, metric)])
            start = [*provenance, metric, row.definitions.get(metric, "")]
            writer.writerow([*start, "mean", value.mean, _flat(value.std), "", "", told])
            for seed, score in sorted(value.seeds.items()):
                low, high = value.intervals.get(seed, ("", ""))
                writer.writerow([*start, seed, score, "", low, high, told])
    return out.getvalue()


def _flat(value: Any) -> Any:
    """A value of one CSV field: nothing for None, JSON for mappings, words joined by `;`."""
    if value is None:
        return ""
    if isinstance(value, dict):
        return json.dumps(value, sort_keys=True) if value else ""
    if isinstance(value, tuple):
        return ";".join(str(item) for item in value)
    return value
