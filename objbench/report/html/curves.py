"""The course of training of each run, thinned to what a chart can show."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

from objbench.errors import ObjbenchError
from objbench.report.html.runs import Run
from objbench.report.rows.row import is_percent
from objbench.train.log import LOG, read_log

CURVES = ("ari_fg", "ari", "miou", "loss")
MOST_POINTS = 40_000  # of all curves of a page together: about 0.6 MB
_POINTS = (10, 150)  # of a curve, at the least and at the most


def curves_of(runs: Iterable[Run]) -> tuple[dict[str, Any], list[str]]:
    """Run id -> name of a curve -> {"x": steps, "y": values}; and a line per log that could not be read.

    Scores in percent, as tables print them; "loss" is each method's own total.
    """
    logged: dict[str, dict[str, list[tuple[int, float]]]] = {}
    unread = []
    for run in runs:
        try:
            logged[run.id] = _points(read_log(run.folder)) if (run.folder / LOG).exists() else {}
        except (ObjbenchError, OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            unread.append(f"{run.series} seed {run.record.seed}: no curve, {LOG} cannot be read ({error})")
    count = sum(len(of_run) for of_run in logged.values())
    most = min(max(MOST_POINTS // max(count, 1), _POINTS[0]), _POINTS[1])
    return {
        run: {name: _thinned(points, most) for name, points in of_run.items()}
        for run, of_run in logged.items()
        if of_run
    }, unread


def _points(lines: list[dict[str, Any]]) -> dict[str, list[tuple[int, float]]]:
    found: dict[str, list[tuple[int, float]]] = {}
    for line in lines:
        values = line.get("val", {}) | {"loss": line.get("losses", {}).get("total")}
        for name in CURVES:
            value = values.get(name)
            if value is not None and math.isfinite(value):
                percent = 100 if name != "loss" and is_percent(name) else 1
                found.setdefault(name, []).append((int(line["step"]), float(f"{percent * value:.5g}")))
    return found


def _thinned(points: list[tuple[int, float]], most: int) -> dict[str, Any]:
    """Every n-th point with the last one, n as small as `most` allows; said by "every" where n is not 1."""
    every = math.ceil(len(points) / most)
    kept = points[::every]
    if kept[-1] != points[-1]:
        kept.append(points[-1])
    shown: dict[str, Any] = {"x": [step for step, _ in kept], "y": [value for _, value in kept]}
    return shown if every == 1 else shown | {"every": every}
