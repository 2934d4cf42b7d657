"""What is kept of the runs, and the reports on it: tables, curves, comparisons, the weights of the best seed."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

from kept import keep

from miniatures.plan import ABLATIONS, ALIGNED, APART, COLORED, SMALL_CLEVR, SPRITES, STABLE, STRIPED, Run
from objbench.records import Run as Record
from objbench.records import find_records
from objbench.report.report import write_report
from objbench.report.request import ReportRequest
from objbench.spec.schema import Spec
from objbench.train.checkpoint import WEIGHTS
from objbench.train.log import read_log

# ARI-FG above which a seed counts as a success: ten points above the better one of `grid` and `color_kmeans`.
SUCCESS = {
    ALIGNED: 0.73,
    STRIPED: 0.66,
    SPRITES: 0.63,
    APART: 0.84,
    SMALL_CLEVR: 0.61,
    COLORED: 0.69,
}
WITH_WEIGHTS = "objmae"


def keep_and_report(runs: Sequence[Run], made: Path, results: Path, spec: Spec) -> None:
    """Copy what is kept of the finished ones of `runs`, which are on one dataset, and report on all that is kept there.

    Args:
        runs: The runs.
        made: The folder of the runs.
        results: The folder of what is kept.
        spec: The benchmarks.
    """
    for method, seeds in groupby(runs, key=lambda run: run.method):
        folders = [run.folder(spec) for run in seeds]
        finished = [folder for folder in folders if keep(made / folder, results / folder, weights=False)]
        if finished and method.partition(":")[0] == WITH_WEIGHTS:
            _keep_weights(finished, made, results)
    dataset = runs[0].dataset
    if (results / dataset).exists():
        _report(dataset, results, spec)


def _keep_weights(seeds: list[Path], made: Path, results: Path) -> None:
    """Keep the weights of the seed with the best ARI-FG on validation scenes at the end, and of no other."""
    best = max(seeds, key=lambda seed: last_validation(made / seed))
    for seed in seeds:
        if seed != best:
            (results / seed / WEIGHTS).unlink(missing_ok=True)
    shutil.copy2(made / best / WEIGHTS, results / best / WEIGHTS)


def last_validation(run: Path) -> float:
    """The last ARI-FG on validation scenes of a training."""
    return float([event["val"]["ari_fg"] for event in read_log(run) if "val" in event][-1])


def _report(dataset: str, results: Path, spec: Spec) -> None:
    """DATASET.md: every seed, intervals, success. DATASET.png: curves. DATASET-VARIANT.md: the base beside a variant."""
    records = [found.record for found in find_records(results / dataset).records]
    learned = [r for r in records if isinstance(r, Record) and r.steps]
    methods = tuple(dict.fromkeys(r.method_label for r in learned))

    def write(name: str, **options: Any) -> None:
        output = results / name
        request = ReportRequest(spec=spec, runs=results, dataset=(dataset,), output=output, **options)
        write_report(request, lambda line: print(line, file=sys.stderr))

    success = f"ari_fg:{SUCCESS[dataset]}"
    write(f"{dataset}.md", format="markdown", all_seeds=True, intervals=True, success=success)
    if methods:
        write(f"{dataset}.png", figure="7", method=methods)
    for base, method in [*((STABLE, ablation) for ablation in ABLATIONS), ("objmae", STABLE)]:
        if {base, method} <= {*methods}:
            write(f"{dataset}-{method.partition(':')[2]}.md", compare=(base, method), format="markdown")
