"""From what is asked for to what is written: records and published numbers, arranged and put where they belong."""

from __future__ import annotations

import sys
from collections.abc import Callable, Collection, Sequence
from pathlib import Path

from objbench.errors import ObjbenchError
from objbench.report.request import Ask, check_datasets, check_metrics
from objbench.report.rows.collect import Collected, collect, print_tables
from objbench.report.rows.comparability import conflicts
from objbench.report.rows.row import Row
from objbench.report.tables.build import build
from objbench.report.tables.hyperparameters import settings, settings_csv, settings_json, settings_table
from objbench.report.tables.paper import paper_plans
from objbench.report.tables.plan import Plan, dataset_plans, with_success
from objbench.report.tables.table import Table
from objbench.report.write import export, text
from objbench.report.write.latex import latex
from objbench.spec.schema import Spec

Tell = Callable[[str], None]


def answer(ask: Ask, spec: Spec, runs: Path, tell: Tell) -> None:
    """Write what is asked for to stdout or into a file; `tell` is for what a person should know besides."""
    if ask.settings:
        assert ask.table is not None
        found = settings(ask.table, spec, ask.datasets)
        _write(
            ask,
            spec,
            tell,
            [settings_table(found)],
            lambda: settings_json(found),
            lambda: settings_csv(found),
        )
        return
    collected = collect(spec, runs, ask.selection)
    for line in collected.skipped:
        tell(f"skipped {line}")
    rows = [row for row in collected.rows if row.published or ask.definition in (None, row.definition)]
    check_metrics(ask.metrics, rows, spec)
    check_datasets(ask.datasets, rows if ask.figure is None else collected.rows, spec)
    if ask.figure:
        _draw(ask, collected, spec, tell)
    elif ask.compare:
        _compare(ask, rows, spec, tell)
    else:
        _tabulate(ask, rows, collected, spec, runs, tell)


def _draw(ask: Ask, collected: Collected, spec: Spec, tell: Tell) -> None:
    from objbench.report.figures import SUCCESS, draw

    assert ask.figure is not None
    assert ask.output is not None
    chosen = (ask.methods, ask.seed, ask.success or SUCCESS, tell)
    for path in draw(ask.figure, collected.found, spec, ask.selection, ask.datasets, ask.output, *chosen):
        tell(f"wrote {path}")


def _compare(ask: Ask, rows: Sequence[Row], spec: Spec, tell: Tell) -> None:
    from objbench.report.tables.pairwise import versus, versus_csv, versus_json, versus_table

    wanted = [row for row in rows if not ask.datasets or _asked(row, ask.datasets)]
    pairs, refused = versus(wanted, ask.compare, ask.metrics or list(spec.columns()))
    order = [*spec.datasets, *(pair.first.dataset for pair in pairs)]
    _tell_unmeasured(ask.metrics, {name for pair in pairs for name in pair.by_metric}, tell)
    pairs.sort(key=lambda pair: order.index(pair.first.dataset))
    for line in refused:
        tell(f"not compared: {line}")
    _write(
        ask,
        spec,
        tell,
        [versus_table(p) for p in pairs],
        lambda: versus_json(pairs),
        lambda: versus_csv(pairs),
    )


def _asked(row: Row, datasets: Sequence[str]) -> bool:
    return not {row.dataset, f"{row.dataset}@{row.protocol}"}.isdisjoint(datasets)


def _tabulate(ask: Ask, rows: list[Row], collected: Collected, spec: Spec, runs: Path, tell: Tell) -> None:
    if ask.table:
        plans = paper_plans(ask.table, rows, ask.datasets)
    else:
        plans = dataset_plans(rows, ask.datasets, spec, ask.metrics)
    if ask.success is not None:
        plans = [with_success(plan, ask.success) for plan in plans]
    _tell_what_is_missing(plans, collected.measured, runs, tell)
    present = {name for plan in plans for row in plan.rows for name in row.values}
    _tell_unmeasured(ask.metrics, present, tell)
    if ask.strict:
        _refuse_mixtures(plans)
    if ask.format == "html":
        from objbench.report.html import page

        content = page(plans, collected.found, spec, ask.intervals, all_seeds=ask.all_seeds)
        _put(content, ask.output, tell)
        return
    tables = [build(plan, spec, ask.all_seeds, ask.intervals) for plan in plans if plan.rows]
    _write(
        ask,
        spec,
        tell,
        tables,
        lambda: export.as_json(plans, ask.metrics),
        lambda: export.as_csv(plans, ask.metrics),
    )


def _tell_what_is_missing(plans: Sequence[Plan], measured: Sequence[Row], runs: Path, tell: Tell) -> None:
    shown = [row for plan in plans for row in plan.rows]
    if not shown:
        hint = (
            ""
            if measured
            else f" under {runs}: --runs names another folder, --dataset or --table shows published"
        )
        tell(f"no records{hint or ' and nothing published for this'}")
    elif all(row.published for row in shown):
        tell(f"no records for this under {runs}; all numbers shown are published ones")


def _tell_unmeasured(metrics: Sequence[str], present: Collection[str], tell: Tell) -> None:
    if absent := [name for name in metrics if name not in present]:
        tell(f"no record here has {' or '.join(absent)}")


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
            "difference is marked, and --definition keeps the scores of one definition"
        )


def _write(
    ask: Ask,
    spec: Spec,
    tell: Tell,
    tables: Sequence[Table],
    as_json: Callable[[], str],
    as_csv: Callable[[], str],
) -> None:
    if ask.format == "terminal" and ask.output is None:
        print_tables(tables)
        return
    writers: dict[str, Callable[[Table], str]] = {
        "terminal": text.text,
        "markdown": text.markdown,
        "latex": lambda table: latex(table, spec),
    }
    if ask.format in writers:
        content = "\n".join(map(writers[ask.format], tables))
    elif ask.format == "html":
        from objbench.report.html import page

        content = page([], [], spec, tables=tables)
    else:
        content = as_json() if ask.format == "json" else as_csv()
    _put(content, ask.output, tell)


def _put(content: str, output: Path | None, tell: Tell) -> None:
    if output is None:
        sys.stdout.write(content)
        return
    output.write_text(content, encoding="utf-8")
    tell(f"wrote {output}")
