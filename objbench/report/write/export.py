"""Rows for programs: JSON with all provenance, and long CSV with a line per row, metric and seed."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from objbench.report.rows.comparability import Peers, cell_notes, row_notes
from objbench.report.rows.row import Row
from objbench.report.rows.success import Share
from objbench.report.tables.plan import Plan

_PROVENANCE = (
    "kind", "dataset", "protocol", "source", "split", "method", "variant", "overrides", "trivial", "n", "selection",
    "std_kind", "fingerprint", "standard", "generator", "resolution", "n_images", "definition", "trained_on",
    "n_train", "standard_n_train", "steps", "config_hash", "devices", "citation",
    "quoted_in", "tables", "test_set", "notes",
)  # fmt: skip


@dataclass(frozen=True)
class _Shown:
    """A row with the footnotes that it has in its table, and the successes that are counted there."""

    row: Row
    marks: list[str]
    successes: dict[str, Share]


def _shown(plans: Sequence[Plan], metrics: Sequence[str]) -> list[_Shown]:
    """Every row of the plans once, with its values of `metrics` if any are named."""
    found: dict[int, _Shown] = {}
    for plan in plans:
        successes = {c.success for c in plan.columns if c.success}
        peers = Peers.by_dataset(plan.rows)
        for row in plan.rows:
            shares = {str(s): s.of(row.values.get(s.metric)) for s in successes}
            known = {text: share for text, share in shares.items() if share is not None}
            found.setdefault(
                id(row), _Shown(_narrowed(row, metrics), row_notes(row, peers[row.dataset]), known)
            )
    return list(found.values())


def _narrowed(row: Row, metrics: Sequence[str]) -> Row:
    if not metrics:
        return row
    values = {name: row.values[name] for name in metrics if name in row.values}
    definitions = {name: text for name, text in row.definitions.items() if name in values}
    return replace(row, values=values, definitions=definitions)


def as_json(plans: Sequence[Plan], metrics: Sequence[str] = ()) -> str:
    """An array of row objects; scores as fractions, also those that papers print in percent. No metrics: all."""
    content = _finite([_object(shown) for shown in _shown(plans, metrics)])
    return json.dumps(content, indent=2, allow_nan=False) + "\n"


def _object(shown: _Shown) -> dict[str, Any]:
    row = shown.row
    content: dict[str, Any] = {"name": row.label, "dataset_ref": row.dataset_ref}
    content |= {name: getattr(row, name) for name in _PROVENANCE}
    content["definitions"] = row.definitions
    content["marks"] = [*shown.marks, *(note for metric in row.values for note in cell_notes(row, metric))]
    content["values"] = {
        metric: {
            "mean": value.mean,
            "std": value.std,
            "seeds": {str(seed): score for seed, score in value.seeds.items()},
            "intervals": {str(seed): interval for seed, interval in value.intervals.items()},
        }
        for metric, value in row.values.items()
    }
    if shown.successes:
        content["success"] = {text: asdict(share) for text, share in shown.successes.items()}
    return content


def _finite(content: Any) -> Any:
    """JSON has no NaN and no infinity: null stands for them, wherever they are."""
    if isinstance(content, float):
        return content if math.isfinite(content) else None
    if isinstance(content, dict):
        return {key: _finite(value) for key, value in content.items()}
    return [_finite(value) for value in content] if isinstance(content, list | tuple) else content


def as_csv(plans: Sequence[Plan], metrics: Sequence[str] = ()) -> str:
    """One line per row, metric and seed, and one for the mean: `seed` is a number, "mean", or "share" (of successes)."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(
        [*_PROVENANCE, "metric", "metric_definition", "seed", "value", "std", "low", "high", "marks"]
    )
    for shown in _shown(plans, metrics):
        row = shown.row
        provenance = [_flat(getattr(row, name)) for name in _PROVENANCE]
        for metric, value in row.values.items():
            told = "; ".join([*shown.marks, *cell_notes(row, metric)])
            start = [*provenance, metric, row.definitions.get(metric, "")]
            writer.writerow([*start, "mean", value.mean, _flat(value.std), "", "", told])
            for seed, score in sorted(value.seeds.items()):
                low, high = value.intervals.get(seed, ("", ""))
                writer.writerow([*start, seed, score, "", low, high, told])
        for text, share in shown.successes.items():
            counted = [*provenance, text, f"share of {share.n} seeds", "share", share.share, ""]
            writer.writerow([*counted, share.low, share.high, "; ".join(shown.marks)])
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
