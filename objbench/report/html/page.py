"""The page: the templates, style and scripts of assets/, filled with what the other modules prepare."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from importlib.resources import files
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

import objbench
from objbench.report.html.curves import LOSS, curves_of
from objbench.report.html.gallery import Gallery, gallery_of
from objbench.report.html.runs import runs_of
from objbench.report.html.view import (
    Facets,
    RunView,
    facts_text,
    marks_text,
    plain_view,
    run_view,
    table_view,
)
from objbench.report.tables.build import build
from objbench.report.tables.plan import Plan
from objbench.report.tables.table import Table
from objbench.report.write import text
from objbench.spec.schema import Spec

_ASSETS = files("objbench.report.html") / "assets"
_SCRIPTS = ("page.js", "filters.js", "tables.js", "curves.js", "segments.js", "gallery.js")


def page(
    plans: Sequence[Plan],
    spec: Spec,
    intervals: bool = False,
    tables: Sequence[Table] = (),
    all_seeds: bool = False,
) -> str:
    """Write a page with tables and the runs behind them, which needs no other file.

    Curves and images are read from the folders of the records behind the rows; what cannot be read or has no room is
    named on the page. The same input gives the same text.

    Args:
        plans: The tables.
        spec: The benchmarks.
        intervals: Whether the score of a seed is followed by its confidence interval over images.
        tables: Further tables, with no rows behind them.
        all_seeds: Whether the seeds below each mean are shown at first.
    """
    plans = [plan for plan in plans if plan.rows]
    runs = runs_of(plans, spec)
    facets = Facets.of(plans, runs, spec)
    shown = {column.metric: spec.metric(column.metric) for plan in plans for column in plan.columns}
    courses, without_curve = curves_of(runs, shown)
    titles = {name: metric.title for name, metric in shown.items()} | {LOSS: LOSS}
    pictures = gallery_of(runs, spec)
    listed = [run_view(run, facets, spec) for run in runs]
    built = [build(plan, spec, all_seeds=True, intervals=intervals) for plan in plans]
    views = [
        table_view(i, plan, table, facets, spec)
        for i, (plan, table) in enumerate(zip(plans, built, strict=True))
    ]
    views += [plain_view(i, table) for i, table in enumerate(tables, start=len(views))]
    style, script = _style(), _script()
    return _environment().get_template("page.html").render(
        version=objbench.__version__,
        facets=facets,
        tables=views,
        all_seeds=all_seeds,
        bold=text.BEST,
        runs=listed,
        gallery=pictures,
        unread=[*without_curve, *pictures.unread],
        curves={name: title for name, title in titles.items() if any(name in c for c in courses.values())},
        data={
            "runs": _described(listed),
            "curves": courses,
            "titles": {name: spec.metric(name).title for name in _scored(pictures)} | titles,
            "percent": [name for name, metric in shown.items() if metric.percent],
            "gallery": _for_script(pictures, facets),
        },
        style=Markup(style),
        script=Markup(script),
        style_hash=_hash(style),
        script_hash=_hash(script),
    )  # fmt: skip


def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("objbench.report.html", "assets"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {"marks_text": marks_text, "facts_text": facts_text}
    return environment


def _style() -> str:
    return "\n" + (_ASSETS / "style.css").read_text(encoding="utf-8")


def _script() -> str:
    parts = [(_ASSETS / name).read_text(encoding="utf-8") for name in _SCRIPTS]
    return "\n(() => {\n'use strict';\n" + "\n".join(parts) + "})();\n"


def _hash(text: str) -> str:
    """Hash of a style or script, by which the page's content security policy allows it and nothing else."""
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def _described(views: Sequence[RunView]) -> list[dict[str, Any]]:
    """The facts of each run that the charts and the gallery need."""
    return [
        {
            "id": view.run.id,
            "series": view.run.series,
            "seed": view.run.record.seed,
            "trained_on": view.place,
            "facets": {
                "dataset": view.datasets.split(" "),
                "method": [str(view.method)],
                "seed": [str(view.seed)],
                "origin": [str(view.origin)],
            },
        }
        for view in views
    ]


def _scored(pictures: Gallery) -> list[str]:
    """The metrics that images can be ordered by."""
    return sorted({name for entry in pictures.runs for name in entry["scores"]})


def _for_script(pictures: Gallery, facets: Facets) -> dict[str, Any]:
    shown = [entry | {"dataset": str(facets.dataset[entry["dataset"]])} for entry in pictures.runs]
    return {"sets": pictures.sets, "runs": shown}
