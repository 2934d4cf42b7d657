"""The training curves of each run, thinned to what a chart can show."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

from objbench.errors import ObjbenchError
from objbench.report.html.runs import ShownRun
from objbench.spec.metrics import MetricSpec
from objbench.train.log import LOG, read_log

LOSS = "loss"
MOST_POINTS = 40_000  # of all curves of a page together: about 0.6 MB
_POINTS = (10, 150)  # of a curve, at the least and at the most


def curves_of(
    runs: Iterable[ShownRun], metrics: Mapping[str, MetricSpec]
) -> tuple[dict[str, Any], list[str]]:
    """Read the training curves of all runs.

    Args:
        runs: Whose logs are read.
        metrics: The curves, by their values on the validation split; "loss", each method's own total, is one more.

    Returns:
        Run id -> name of a curve -> {"x": steps, "y": values}, in percent for metrics that tables print so; and a
        line per log that could not be read.
    """
    logged: dict[str, dict[str, list[tuple[int, float]]]] = {}
    unread = []
    for run in runs:
        try:
            logged[run.id] = _points(read_log(run.folder), metrics) if (run.folder / LOG).exists() else {}
        except (ObjbenchError, OSError) as error:
            unread.append(f"{run.series} seed {run.record.seed}: no curve, {LOG} cannot be read ({error})")
    count = sum(len(of_run) for of_run in logged.values())
    most = min(max(MOST_POINTS // max(count, 1), _POINTS[0]), _POINTS[1])
    return {
        run: {name: _thinned(points, most) for name, points in of_run.items()}
        for run, of_run in logged.items()
        if of_run
    }, unread


def _points(
    lines: list[dict[str, Any]], metrics: Mapping[str, MetricSpec]
) -> dict[str, list[tuple[int, float]]]:
    found: dict[str, list[tuple[int, float]]] = {}
    for line in lines:
        values = line.get("val", {}) | {LOSS: line.get("losses", {}).get("total")}
        for name in (*metrics, LOSS):
            value = values.get(name)
            if value is not None and math.isfinite(value):
                percent = 100 if name in metrics and metrics[name].percent else 1
                found.setdefault(name, []).append((int(line["step"]), float(f"{percent * value:.5g}")))
    return found


def _thinned(points: list[tuple[int, float]], most: int) -> dict[str, Any]:
    """Keep every n-th point and the last one, n as small as `most` allows; "every" gives n if it is not 1."""
    every = math.ceil(len(points) / most)
    kept = points[::every]
    if kept[-1] != points[-1]:
        kept.append(points[-1])
    shown: dict[str, Any] = {"x": [step for step, _ in kept], "y": [value for _, value in kept]}
    return shown if every == 1 else shown | {"every": every}
