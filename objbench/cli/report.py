"""objbench report: measured numbers next to published ones."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from objbench.cli.common import Context, one_of, say, verb
from objbench.registry import names


@verb
def report(
    context: Context,
    dataset: Annotated[
        list[str] | None,
        typer.Option(
            help="Dataset, as DATASET or DATASET@PROTOCOL. Repeatable. Default: all that have records."
        ),
    ] = None,
    table: Annotated[
        str | None,
        typer.Option(
            help="Arrange the rows as in this table of the paper: 1 to 6 (results) or 7 to 9 (hyper-parameters)."
        ),
    ] = None,
    figure: Annotated[
        str | None,
        typer.Option(help="Draw this figure of the paper, 3 to 12, into --output (.png or .pdf)."),
    ] = None,
    method: Annotated[
        list[str] | None,
        typer.Option(
            help="With --figure: METHOD[:VARIANT] to draw. Repeatable. Default: objmae, or the best method."
        ),
    ] = None,
    seed: Annotated[int | None, typer.Option(help="With --figure: seed to draw.")] = None,
    compare: Annotated[
        list[str] | None,
        typer.Option(
            help="METHOD[:VARIANT], given twice: print their difference on the same images, with an interval."
        ),
    ] = None,
    metrics: Annotated[
        str | None,
        typer.Option(metavar="NAME,...", help="Metrics to show, in this order (see objbench list metrics)."),
    ] = None,
    select: Annotated[
        str,
        typer.Option(
            help="Seeds: all, or top:N:METRIC for the best N on the test split of the training dataset."
        ),
    ] = "all",
    success: Annotated[
        str | None,
        typer.Option(help="METRIC:THRESHOLD, such as ari_fg:0.9: add the share of seeds that are better."),
    ] = None,
    definition: Annotated[
        str | None,
        typer.Option(
            help=f"Show only scores by this definition of the metrics: {one_of(names('definitions'))}. Default: all."
        ),
    ] = None,
    format: Annotated[
        str | None, typer.Option(help="Output format: terminal, markdown, latex, csv, json or html.")
    ] = None,
    output: Annotated[Path | None, typer.Option(help="File to write instead of stdout.")] = None,
    strict: Annotated[bool, typer.Option("--strict", help="Fail if rows cannot be compared.")] = False,
    all_seeds: Annotated[bool, typer.Option("--all-seeds", help="Show each seed below the mean.")] = False,
    intervals: Annotated[
        bool,
        typer.Option(
            "--intervals", help="Show each seed's score with its 95 % bootstrap interval over images."
        ),
    ] = False,
) -> None:
    """Compare measured with published numbers."""
    options = {name: value for name, value in locals().items() if name != "context"}
    from objbench.report.report import write_report
    from objbench.report.request import ReportRequest, json_or

    options["format"] = json_or(format, context.json)
    request = ReportRequest(spec=context.spec, runs=context.runs, **options)
    write_report(request, lambda line: say(f"objbench: {line}"))
