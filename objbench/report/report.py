"""Writes the report that is asked for: collects measured and published rows, arranges and prints them."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path

from objbench.errors import ObjbenchError
from objbench.files import replacing_output
from objbench.progress import Say
from objbench.report.request import ALL_PROBES, ReportRequest
from objbench.report.rows.collect import Collected, collect
from objbench.report.rows.comparability import conflicts
from objbench.report.rows.row import Measured, Row
from objbench.report.tables.build import build, cited
from objbench.report.tables.hyperparameters import (
    hyperparameters,
    hyperparameters_csv,
    hyperparameters_json,
    hyperparameters_table,
)
from objbench.report.tables.paper import paper_plans
from objbench.report.tables.plan import Plan, dataset_plans, with_success
from objbench.report.tables.probes import probe_table, probed, probes_csv, probes_json
from objbench.report.tables.table import Table
from objbench.report.write import export, text
from objbench.report.write.bibtex import bibtex
from objbench.report.write.latex import latex
from objbench.report.write.terminal import print_tables


def write_report(request: ReportRequest, tell: Say) -> None:
    """Write the report that `request` asks for, to stdout or into a file.

    Args:
        request: What is asked for.
        tell: Called with each line for the user that is not part of the report.

    Raises:
        ObjbenchError: There is nothing to report on, or rows that cannot be compared and `strict` is asked for.
    """
    if request.kind == "hyper-parameters":
        assert request.table is not None
        found = hyperparameters(request.table, request.spec, request.dataset)
        exports = {"json": lambda: hyperparameters_json(found), "csv": lambda: hyperparameters_csv(found)}
        _write([hyperparameters_table(found, request.spec)], exports, request, tell)
        return
    collected = collect(request.spec, request.runs, request.select)
    for line in collected.skipped:
        tell(f"skipped {line}")
    request.check_names(collected.rows)
    rows = [row for row in collected.rows if _is_by(row, request.definition)]
    rows = [row for row in rows if not (row.published and request.no_published)]
    if request.figure:
        _draw(request, collected, tell)
    elif request.compare:
        _compare(request, rows, tell)
    elif request.probes:
        _probes(request, rows, tell)
    else:
        _tabulate(request, rows, collected, tell)


def _is_by(row: Row, definition: str | None) -> bool:
    return not isinstance(row, Measured) or definition in (None, row.scored.definition)


def _draw(request: ReportRequest, collected: Collected, tell: Say) -> None:
    from objbench.report.figures import SUCCESS, FigureRequest, draw

    assert request.figure is not None
    assert request.output is not None
    figure = FigureRequest(
        number=request.figure,
        measured=collected.measured,
        spec=request.spec,
        datasets=request.dataset,
        methods=request.method,
        selection=request.select,
        seed=request.seed,
        success=request.success or SUCCESS,
        titled=not request.no_titles,
        tell=tell,
    )
    for path in draw(figure, request.output):
        tell(f"wrote {path}")


def _compare(request: ReportRequest, rows: Sequence[Row], tell: Say) -> None:
    from objbench.report.tables.pairwise import compare_methods, pairwise_csv, pairwise_json, pairwise_table

    wanted = [row for row in rows if not request.dataset or _is_on(row, request.dataset)]
    pairs, refused = compare_methods(wanted, request.compare, request.metrics, list(request.spec.columns()))
    order = [*request.spec.datasets, *(pair.first.dataset for pair in pairs)]
    pairs.sort(key=lambda pair: order.index(pair.first.dataset))
    for line in refused:
        tell(f"not compared: {line}")
    exports = {"json": lambda: pairwise_json(pairs), "csv": lambda: pairwise_csv(pairs)}
    _write([pairwise_table(pair, request.spec) for pair in pairs], exports, request, tell)


def _probes(request: ReportRequest, rows: Sequence[Row], tell: Say) -> None:
    groups = probed(rows, request.dataset, None if request.probes == ALL_PROBES else request.probes)
    if not groups:
        raise ObjbenchError(
            f"no record under {request.runs} has such probes: objbench probe RUN adds them to the record of a run"
        )
    exports = {"json": lambda: probes_json(groups), "csv": lambda: probes_csv(groups)}
    _write([probe_table(group, request.spec) for group in groups], exports, request, tell)


def _is_on(row: Row, datasets: Sequence[str]) -> bool:
    return not {row.dataset, f"{row.dataset}@{row.protocol}"}.isdisjoint(datasets)


def _tabulate(request: ReportRequest, rows: list[Row], collected: Collected, tell: Say) -> None:
    if request.table:
        plans = paper_plans(request.table, rows, request.dataset)
    else:
        plans = dataset_plans(rows, request.dataset, request.spec, request.metrics)
        if not plans and dataset_plans(rows, request.dataset, request.spec):
            raise ObjbenchError(_without(request.metrics))
    if request.success is not None:
        plans = [with_success(plan, request.success) for plan in plans]
    _refuse_nothing(plans, collected.measured, request.runs, tell)
    present = {name for plan in plans for row in plan.rows for name in row.values}
    _tell_unmeasured(request.metrics, present, tell)
    if request.strict:
        _refuse_mixtures(plans)
    if request.bibtex:
        _put(bibtex(cited([row for plan in plans for row in plan.rows], request.spec)), request.output, tell)
        return
    if request.format == "html":
        from objbench.report.html.page import page

        tables = [probe_table(group, request.spec) for group in probed(rows, request.dataset)]
        made = page(plans, request.spec, request.intervals, tables, request.all_seeds)
        _put_page(made, request, tell)
        return
    tables = [build(plan, request.spec, request.all_seeds, request.intervals) for plan in plans if plan.rows]
    exports = {
        "json": lambda: export.as_json(plans, request.metrics),
        "csv": lambda: export.as_csv(plans, request.metrics),
    }
    _write(tables, exports, request, tell)


def _refuse_nothing(plans: Sequence[Plan], measured: Sequence[Row], runs: Path, tell: Say) -> None:
    """Refuse a report without rows; tell if all that there are are published ones."""
    shown = [row for plan in plans for row in plan.rows]
    if not shown:
        raise ObjbenchError(
            f"no records and nothing published for this; objbench list runs --runs {runs} shows all records"
            if measured
            else f"no records under {runs}: --runs names another folder, --dataset or --table shows published numbers"
        )
    if all(row.published for row in shown):
        tell(f"no records for this under {runs}; all numbers shown are published ones")


def _tell_unmeasured(metrics: Sequence[str], present: Collection[str], tell: Say) -> None:
    if absent := [name for name in metrics if name not in present]:
        tell(_without(absent))


def _without(metrics: Sequence[str]) -> str:
    return f"no record here has {' or '.join(metrics)}"


def _refuse_mixtures(plans: Sequence[Plan]) -> None:
    lines: list[str] = []
    for plan in plans:
        metrics = list(dict.fromkeys(column.metric for column in plan.columns))
        lines += [f"  {line}" for line in conflicts(plan.rows, metrics)]
    if lines:
        refused = "\n".join(dict.fromkeys(lines))
        raise ObjbenchError(
            f"--strict: rows that cannot be compared stand in one table:\n{refused}\n"
            "A dataset is comparable where all rows are of its standard splits and protocol; without --strict each "
            "difference is marked. --no-published leaves published numbers out, --definition keeps the scores of one definition"
        )


def _write(
    tables: Sequence[Table], exports: Mapping[str, Callable[[], str]], request: ReportRequest, tell: Say
) -> None:
    """Write `tables`, or the export of the format that is asked for."""
    if request.format == "terminal" and request.output is None:
        print_tables(tables)
    elif request.format == "html":
        from objbench.report.html.page import page

        _put_page(page([], request.spec, tables=tables), request, tell)
    elif request.format in exports:
        _put(exports[request.format](), request.output, tell)
    else:
        _put("\n".join(_text(table, request) for table in tables), request.output, tell)


def _text(table: Table, request: ReportRequest) -> str:
    if request.format == "latex":
        return latex(table)
    return text.markdown(table) if request.format == "markdown" else text.text(table)


def _put_page(content: str, request: ReportRequest, tell: Say) -> None:
    """Write an HTML page: in UTF-8, as it says of itself, whatever the encoding of stdout is."""
    if request.output is None and isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(encoding="utf-8")
    _put(content, request.output, tell)


def _put(content: str, output: Path | None, tell: Say) -> None:
    if output is None:
        sys.stdout.write(content)
        return
    with replacing_output(output) as partial:
        partial.write_text(content, encoding="utf-8")
    tell(f"wrote {output}")
