"""How long runs are expected to take: as long a step as those on record."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from statistics import fmean

from miniatures.plan import SMALL_CLEVR, Run
from objbench.records import Run as Record
from objbench.records import find_records
from objbench.spec.resolve import run_label
from objbench.spec.schema import Spec
from objbench.train.run_state import RunState

TRIVIAL = 0.2  # minutes: the trivial baselines in results/README.md
PREPARING = {SMALL_CLEVR: 18.0}  # minutes of two free processors: results/bench/generate-2-cores.json, clevr6
OTHER_PREPARING = 1.0

Steps = Mapping[tuple[str, str], float]


def measured_steps(spec: Spec, *folders: Path) -> Steps:
    """(METHOD[-VARIANT][+hash6], dataset) -> mean milliseconds of a step, of the records in the folders."""
    found: dict[tuple[str, str], list[float]] = defaultdict(list)
    for folder in folders:
        for record in (each.record for each in find_records(folder).records):
            if isinstance(record, Record) and record.steps:
                label = run_label(record.method, record.variant, record.overrides)
                where = str(spec.dataset(record.dataset_ref))
                found[label, where].append(1000 * record.train_seconds / record.steps)
    return {run: fmean(values) for run, values in found.items()}


def minutes_left(run: Run, state: RunState, spec: Spec, steps: Steps) -> float | None:
    """Minutes that are left of a run; None if nothing is known about it.

    Args:
        run: The run.
        state: What its folder says.
        spec: The benchmarks.
        steps: As `measured_steps` gives them.
    """
    if state.state == "finished":
        return 0.0
    config = run.resolved(spec)
    if spec.method(config.method).trivial:
        return TRIVIAL
    step = steps.get((config.label, run.dataset))
    total = config.config["recipe"]["steps"]
    return None if step is None or total is None else step * max(total - (state.step or 0), 0) / 60_000
