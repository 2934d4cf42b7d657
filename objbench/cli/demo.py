"""objbench demo: prepare, train, evaluate and report on generated Tetrominoes, in minutes on two CPU cores."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Annotated

import typer

from objbench.cli.common import Context, print_json, say, verb

DATASET = "tetrominoes"
METHODS = ("objmae:small", "color_kmeans", "grid", "one_slot")
QUICK_STEPS, QUICK_SIZES = 120, {"train": 2000, "val": 64, "test": 64}


@verb
def demo(
    context: Context,
    quick: Annotated[
        bool, typer.Option("--quick", help="Take a minute: show that everything works, learn little.")
    ] = False,
) -> None:
    """Prepare generated Tetrominoes, train objmae and the trivial baselines, print the report.

    Example:
        objbench demo --quick
        objbench demo --data demo/data --runs demo/runs
    """
    from objbench.data.prepare.prepare import PrepareRequest
    from objbench.data.workers import available
    from objbench.progress import bar
    from objbench.report.report import write_report
    from objbench.report.request import ReportRequest
    from objbench.spec.datasets import GENERATED
    from objbench.spec.resolve import resolve
    from objbench.train.run import run_seed
    from objbench.train.run_data import prepared_run_data

    start = time.perf_counter()
    context.interrupts.advice = "the same command continues where it stopped"
    if quick:
        context = replace(context, data=context.data / "quick", runs_place=context.runs / "quick")
    reference = context.spec.dataset(DATASET)
    say(f"1. prepare {DATASET}: scenes are generated, nothing is downloaded")
    request = PrepareRequest(reference, GENERATED, context.data, sizes=QUICK_SIZES if quick else {})
    if request.finished() is None:
        preparation = request.plan()
        with bar("preparing", preparation.scenes, "scenes") as advance:
            preparation.run(available(), advance)
    run_data = prepared_run_data(context.spec, reference, GENERATED, context.data, "auto")
    records = []
    for number, name in enumerate(METHODS, 2):
        say(f"{number}. run {name}")
        overrides = {"recipe.steps": QUICK_STEPS} if quick and name.startswith("objmae") else {}
        folder, record = run_seed(
            context.spec,
            resolve(context.spec, name, reference, overrides),
            run_data,
            0,
            context.runs,
            say=say,
            interrupts=context.interrupts,
        )
        records.append((folder, record))
    if context.json:
        print_json([record.model_dump() for _, record in records])
    else:
        write_report(ReportRequest(spec=context.spec, runs=context.runs, dataset=(DATASET,)), say)
    say(f"pictures: {records[0][0] / 'samples.png'}")
    say(f"the demo took {(time.perf_counter() - start) / 60:.1f} minutes")
