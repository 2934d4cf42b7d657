"""objbench report: measured numbers next to published ones."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from objbench.cli.common import Context, say, verb
from objbench.registry import BUILT_IN


@verb
def report(
    context: Context,
    dataset: Annotated[
        list[str] | None,
        typer.Option(help="DATASET[@PROTOCOL], repeatable. Default: every dataset that has records."),
    ] = None,
    table: Annotated[
        str | None,
        typer.Option(help="The paper's table of this number: 1 to 6, or 7 to 9 for hyper-parameters."),
    ] = None,
    figure: Annotated[
        str | None,
        typer.Option(help="Draw the paper's figure of this number, 3 to 12, to --output (.png, .pdf)."),
    ] = None,
    method: Annotated[
        list[str] | None,
        typer.Option(help="With --figure: METHOD[:VARIANT], repeatable. Default: objmae, else the best."),
    ] = None,
    seed: Annotated[int | None, typer.Option(help="With --figure: draw this seed.")] = None,
    compare: Annotated[
        list[str] | None,
        typer.Option(
            help="METHOD[:VARIANT], given twice: their difference on the same images, with an interval."
        ),
    ] = None,
    metrics: Annotated[
        str | None,
        typer.Option(
            metavar="NAME,...", help="The metrics to show, in this order. See: objbench list metrics."
        ),
    ] = None,
    select: Annotated[
        str,
        typer.Option(help="Seeds: all, or top:N:METRIC, the best N on the training dataset's test split."),
    ] = "all",
    success: Annotated[
        str | None,
        typer.Option(help="METRIC:THRESHOLD, such as ari_fg:0.9: add the share of seeds above it."),
    ] = None,
    definition: Annotated[
        str | None,
        typer.Option(
            help=f"Only scores by this definition: {', '.join(BUILT_IN['definitions'])}. Default: all."
        ),
    ] = None,
    format: Annotated[str | None, typer.Option(help="terminal, markdown, latex, csv, json or html.")] = None,
    output: Annotated[Path | None, typer.Option(help="Write to this file instead of stdout.")] = None,
    strict: Annotated[bool, typer.Option("--strict", help="Refuse rows that cannot be compared.")] = False,
    all_seeds: Annotated[bool, typer.Option("--all-seeds", help="Show every seed below the mean.")] = False,
    intervals: Annotated[
        bool,
        typer.Option(
            "--intervals", help="Show the 95 % bootstrap interval over images of each seed's score."
        ),
    ] = False,
) -> None:
    """Show measured numbers next to published ones."""
    options = {name: value for name, value in locals().items() if name != "context"}
    from objbench.report.report import write_report
    from objbench.report.request import ReportRequest, json_or

    options["format"] = json_or(format, context.json)
    request = ReportRequest(spec=context.spec, runs=context.runs, **options)
    write_report(request, lambda line: say(f"objbench: {line}"))
