"""objbench report: measured numbers beside published ones, and nothing beside what it cannot be compared with."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from objbench.cli.common import Context, say, verb
from objbench.errors import ObjbenchError, RequestError, unknown_name

if TYPE_CHECKING:
    from objbench.report.rows import Row
    from objbench.report.tables import Plan
    from objbench.spec import Spec

FORMATS = ("terminal", "markdown", "csv", "json")


@verb
def report(
    context: Context,
    dataset: Annotated[
        list[str] | None,
        typer.Option(help="DATASET[@PROTOCOL], repeatable; without it, every dataset that has records."),
    ] = None,
    table: Annotated[
        str | None, typer.Option(help="Arrange as the paper's table of this number, 1 to 6.")
    ] = None,
    select: Annotated[
        str,
        typer.Option(help="Seeds: all, or top:N:METRIC, the best N on the training dataset's test split."),
    ] = "all",
    definition: Annotated[
        str | None,
        typer.Option(help="Only scores by this definition: clevrtex, deepmind or emorl; by default all."),
    ] = None,
    format: Annotated[str | None, typer.Option(help="terminal, markdown, csv or json.")] = None,
    output: Annotated[Path | None, typer.Option(help="Write to this file instead of stdout.")] = None,
    strict: Annotated[bool, typer.Option("--strict", help="Refuse rows that cannot be compared.")] = False,
    all_seeds: Annotated[bool, typer.Option("--all-seeds", help="Show every seed below its mean.")] = False,
    intervals: Annotated[
        bool,
        typer.Option(
            "--intervals", help="Show the 95 % bootstrap interval over images of each seed's score."
        ),
    ] = False,
) -> None:
    """Show measured numbers beside published ones."""
    from objbench.registry import names
    from objbench.report.measured import Selection
    from objbench.report.paper import paper_plans
    from objbench.report.show import collect
    from objbench.report.tables import dataset_plans

    chosen_format = _format(format, context.json)
    selection = Selection.parse(select, names("metrics"))
    datasets = dataset or []
    if definition is not None and definition not in names("definitions"):
        raise unknown_name("definition", definition, names("definitions"))
    collected = collect(context.spec, context.runs, selection)
    for line in collected.skipped:
        say(f"objbench: skipped {line}")
    rows = [row for row in collected.rows if row.published or definition in (None, row.definition)]
    _check_datasets(datasets, rows, context.spec)
    plans = paper_plans(table, rows, datasets) if table else dataset_plans(rows, datasets, context.spec)
    _say_what_is_missing(plans, collected.measured, context.runs)
    if strict:
        _refuse_mixtures(plans)
    _write(plans, chosen_format, output, context.spec, all_seeds, intervals)


def _format(name: str | None, as_json: bool) -> str:
    if name is not None and name not in FORMATS:
        raise unknown_name("format", name, FORMATS)
    if as_json and name not in (None, "json"):
        raise RequestError(f"--json and --format {name} exclude each other")
    return "json" if as_json else name or "terminal"


def _check_datasets(datasets: Sequence[str], rows: Sequence[Row], spec: Spec) -> None:
    """A dataset may be known to benchmarks.yaml, to a paper, or to a record."""
    known = {*spec.datasets, *(row.dataset for row in rows)}
    for reference in datasets:
        name, at, protocol = reference.partition("@")
        if name not in known:
            raise unknown_name("dataset", name, known)
        protocols = {row.protocol for row in rows if row.dataset == name and not row.published}
        protocols |= set(spec.datasets[name].protocols) if name in spec.datasets else set()
        if at and protocol not in protocols:
            raise unknown_name(f"protocol of {name}", protocol, protocols)


def _say_what_is_missing(plans: Sequence[Plan], measured: Sequence[Row], runs: Path) -> None:
    shown = [row for plan in plans for row in plan.rows]
    if not shown:
        hint = (
            ""
            if measured
            else f" under {runs}: --runs names another folder, --dataset or --table shows published"
        )
        say(f"objbench: no records{hint or ' and nothing published for this'}")
    elif all(row.published for row in shown):
        say(f"objbench: no records for this under {runs}; all numbers shown are published ones")


def _refuse_mixtures(plans: Sequence[Plan]) -> None:
    from objbench.report.compare import conflicts

    lines: list[str] = []
    for plan in plans:
        metrics = list(dict.fromkeys(column.metric for column in plan.columns))
        lines += [f"  {line}" for line in conflicts(plan.rows, metrics)]
    if lines:
        refused = "\n".join(dict.fromkeys(lines))
        raise ObjbenchError(
            f"--strict: rows that cannot be compared stand in one table:\n{refused}\n"
            "A dataset is comparable where all rows are of its standard splits and protocol; without --strict each "
            "difference is marked, and --definition keeps the scores of one definition"
        )


def _write(
    plans: Sequence[Plan], name: str, output: Path | None, spec: Spec, all_seeds: bool, intervals: bool
) -> None:
    from objbench.report import export, render
    from objbench.report.show import print_tables
    from objbench.report.tables import build

    if name in ("json", "csv"):
        content = export.as_json(plans) if name == "json" else export.as_csv(plans)
    else:
        tables = [build(plan, spec, all_seeds, intervals) for plan in plans if plan.rows]
        if name == "terminal" and output is None:
            print_tables(tables)
            return
        content = "\n".join(
            (render.markdown if name == "markdown" else render.text)(table) for table in tables
        )
    if output is None:
        sys.stdout.write(content)
        return
    output.write_text(content, encoding="utf-8")
    say(f"objbench: wrote {output}")
