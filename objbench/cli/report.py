"""objbench report: measured numbers next to published ones."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from objbench.cli.common import Context, say, verb
from objbench.cli.options import complete_dataset, complete_format, complete_method, local_path
from objbench.errors import RequestError, one_of
from objbench.registry import names


@partial(verb, own_json=True)
def report(
    context: Context,
    dataset: Annotated[
        list[str] | None,
        typer.Option(
            metavar="DATASET[@PROTOCOL]",
            autocompletion=complete_dataset,
            help="Dataset to report on. Repeatable. Default: all that have records.",
        ),
    ] = None,
    table: Annotated[
        str | None,
        typer.Option(
            metavar="N",
            help="Arrange the rows as in this table of the paper: 1 to 6 (results) or 7 to 9 (hyper-parameters).",
        ),
    ] = None,
    figure: Annotated[
        str | None,
        typer.Option(
            metavar="N", help="Draw this figure of the paper, 3 to 12, into --output (.png or .pdf)."
        ),
    ] = None,
    method: Annotated[
        list[str] | None,
        typer.Option(
            metavar="METHOD[:VARIANT]",
            autocompletion=complete_method,
            help="With --figure: method to draw. Repeatable. Default: objmae, or the best method.",
        ),
    ] = None,
    seed: Annotated[int | None, typer.Option(metavar="N", min=0, help="With --figure: seed to draw.")] = None,
    compare: Annotated[
        list[str] | None,
        typer.Option(
            metavar="METHOD[:VARIANT]",
            autocompletion=complete_method,
            help="Given twice: print the difference of two methods on the same images, with an interval.",
        ),
    ] = None,
    probes: Annotated[
        str | None,
        typer.Option(
            metavar="PROBE|all",
            help="What objbench probe found: linear, mlp, gradient_boosting, each with +loss where paired so, or all.",
        ),
    ] = None,
    metrics: Annotated[
        str | None,
        typer.Option(
            metavar="METRIC,...", help="Metrics to show, in this order (see objbench list metrics)."
        ),
    ] = None,
    select: Annotated[
        str,
        typer.Option(
            metavar="all|top:N:METRIC",
            help="Seeds: all, or top:N:METRIC for the best N on the test split of the training dataset.",
        ),
    ] = "all",
    success: Annotated[
        str | None,
        typer.Option(
            metavar="METRIC:THRESHOLD",
            help="Add the share of seeds that are better than this, such as ari_fg:0.9.",
        ),
    ] = None,
    definition: Annotated[
        str | None,
        typer.Option(
            metavar="DEFINITION",
            help=f"Show only scores by this definition of the metrics: {one_of(sorted(names('definitions')))}. Default: all.",
        ),
    ] = None,
    format: Annotated[
        str | None,
        typer.Option(
            metavar="FORMAT",
            autocompletion=complete_format,
            help="Output format: terminal, markdown, latex, csv, json or html. Default: by the name of --output, else terminal.",
        ),
    ] = None,
    bibtex: Annotated[
        bool,
        typer.Option(
            "--bibtex", help="Write the BibTeX entries of all that the tables cite, not the tables."
        ),
    ] = False,
    output: Annotated[
        Path | None, typer.Option(parser=local_path, metavar="PATH", help="File to write instead of stdout.")
    ] = None,
    no_titles: Annotated[
        bool,
        typer.Option(
            "--no-titles", help="With --figure: leave title and notes out of the picture and print them."
        ),
    ] = False,
    no_published: Annotated[
        bool, typer.Option("--no-published", help="Leave published numbers out.")
    ] = False,
    strict: Annotated[bool, typer.Option("--strict", help="Fail if rows cannot be compared.")] = False,
    all_seeds: Annotated[bool, typer.Option("--all-seeds", help="Show each seed below the mean.")] = False,
    intervals: Annotated[
        bool,
        typer.Option(
            "--intervals", help="Show each seed's score with its 95 % bootstrap interval over images."
        ),
    ] = False,
) -> None:
    """Compare measured with published numbers.

    Example:
        objbench report
        objbench report --dataset clevr6 --output clevr6.tex
        objbench report --dataset clevr6 --bibtex --output clevr6.bib
        objbench report --compare objmae --compare slot_attention --metrics ari_fg,miou
        objbench report --probes all --dataset clevr6
        objbench report --figure 7 --dataset tetrominoes --output curves.png
        objbench report --output report.html
    """
    options = {name: value for name, value in locals().items() if name != "context"}
    from objbench.report.report import write_report
    from objbench.report.request import ReportRequest, format_of

    if context.json and figure is not None:
        raise RequestError(f"--json is not for --figure {figure}, which is a picture")
    options["format"] = format_of(format, context.json, output, figure is not None or bibtex)
    request = ReportRequest(spec=context.spec, runs=context.runs_to_read, **options)
    write_report(request, lambda line: say(f"objbench: {line}"))
