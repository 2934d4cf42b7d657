"""Rows for programs, with all provenance: JSON, and long CSV with a line per row, metric and seed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import Any

from objbench.json_text import for_programs
from objbench.report.rows.notes import cell_notes
from objbench.report.rows.row import Measured, Published, Row, Training
from objbench.report.rows.success import SuccessRate
from objbench.report.tables.csv_cells import csv_text
from objbench.report.tables.plan import Plan
from objbench.scores import Scored

_FIRST_COLUMNS = (
    "kind", "dataset", "protocol", "source", "split", "method", "variant", "overrides", "trivial", "n", "selection",
    "std_kind", "fingerprint", "standard", "generator", "resolution", "n_images", "definition", "trained_on",
    "n_train", "standard_n_train", "steps", "config_hash", "devices", "citation",
    "quoted_in", "tables", "test_set", "notes",
)  # fmt: skip
_FIELDS = [*Scored.model_fields, *Training.model_fields]
# Fields of the types that are not among these follow them; "resolution" is height and width.
_COLUMNS = (
    *_FIRST_COLUMNS,
    *(name for name in _FIELDS if name not in (*_FIRST_COLUMNS, "height", "width")),
    *("dataset_slots", "evaluation_slots", "crowded", "repeated", "masks", "code_version", "torch_version"),
)


def as_json(plans: Sequence[Plan], metrics: Sequence[str] = ()) -> str:
    """Write an array of row objects.

    Scores are fractions, also those that papers print in percent.

    Args:
        plans: Whose rows are written.
        metrics: Which values; none for all.
    """
    return for_programs([_object(row, rates) for row, rates in _shown(plans, metrics)]) + "\n"


def as_csv(plans: Sequence[Plan], metrics: Sequence[str] = ()) -> str:
    """Write a line per row, metric and seed, and one for the mean: `seed` is a number, "mean", or "share" (of successes).

    Args:
        plans: Whose rows are written.
        metrics: Which values; none for all.
    """
    lines: list[list[Any]] = [
        [*_COLUMNS, "metric", "metric_definition", "seed", "value", "std", "low", "high", "marks", "images"]
    ]
    for row, rates in _shown(plans, metrics):
        provenance = _facts(row)
        for metric, value in row.values.items():
            marks = "; ".join(dict.fromkeys([*row.notes, *cell_notes(row, metric)]))
            start = [*provenance, metric, row.definitions.get(metric)]
            images = value.n_images[0] if len(value.n_images) == 1 else value.n_images
            lines.append([*start, "mean", value.mean, value.std, None, None, marks, images])
            for seed, score in sorted(value.seeds.items()):
                low, high = value.intervals.get(seed, (None, None))
                count = value.images[seed].n if seed in value.images else None
                lines.append([*start, seed, score, None, low, high, marks, count])
        for text, rate in rates.items():
            counted = [*provenance, text, f"share of {rate.n} seeds", "share", rate.share, None]
            lines.append([*counted, rate.low, rate.high, "; ".join(row.notes), None])
    return csv_text(lines)


def _facts(row: Row) -> list[Any]:
    """The values of `_COLUMNS` for a row; None if not known."""
    known = {"devices": (), "tables": (), **vars(row.who), **vars(row), "kind": row.kind, "notes": ()}
    if isinstance(row, Measured):
        known |= {**dict(row.scored), **dict(row.trained or {"trained_on": row.said_of_training})}
        known["resolution"] = (row.scored.height, row.scored.width)
        known |= {name: row.made_by(name) for name in ("code_version", "torch_version")}
    elif isinstance(row, Published):
        known["notes"] = row.remarks
    return [known.get(name) for name in _COLUMNS]


def _shown(plans: Sequence[Plan], metrics: Sequence[str]) -> list[tuple[Row, dict[str, SuccessRate]]]:
    """Return every row of the plans once, narrowed to `metrics` if any are named, with its success rates."""
    found: dict[int, tuple[Row, dict[str, SuccessRate]]] = {}
    for plan in plans:
        successes = {column.success for column in plan.columns if column.success}
        for row in plan.rows:
            rates = {str(s): s.of(row.values.get(s.metric)) for s in successes}
            known = {text: rate for text, rate in rates.items() if rate is not None}
            found.setdefault(id(row), (_narrowed(row, metrics), known))
    return list(found.values())


def _narrowed(row: Row, metrics: Sequence[str]) -> Row:
    if not metrics:
        return row
    values = {name: row.values[name] for name in metrics if name in row.values}
    definitions = {name: text for name, text in row.definitions.items() if name in values}
    return replace(row, values=values, definitions=definitions)


def _object(row: Row, rates: dict[str, SuccessRate]) -> dict[str, Any]:
    content: dict[str, Any] = {"name": row.label, "dataset_ref": row.dataset_ref}
    content |= zip(_COLUMNS, _facts(row), strict=True)
    content["definitions"] = row.definitions
    marks = [*row.notes, *(note for metric in row.values for note in cell_notes(row, metric))]
    content["marks"] = list(dict.fromkeys(marks))
    content["values"] = {
        metric: {
            "mean": value.mean,
            "std": value.std,
            "seeds": {str(seed): score for seed, score in value.seeds.items()},
            "intervals": {str(seed): interval for seed, interval in value.intervals.items()},
            "images": {str(seed): images.n for seed, images in value.images.items()},
        }
        for metric, value in row.values.items()
    }
    if rates:
        content["success"] = {text: asdict(rate) for text, rate in rates.items()}
    return content
