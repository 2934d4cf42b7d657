"""Expected minutes: those of records by the step; a checkpoint counts."""

from __future__ import annotations

import pytest
from helpers.paths import ROOT
from miniatures.cost import TRIVIAL, measured_steps, minutes_left
from miniatures.plan import ALIGNED, PARTS, SMALL_CLEVR, Run

from objbench.spec.load import load_spec
from objbench.train.run_state import RunState

SPEC = load_spec()
START = RunState("to start")


def test_a_step_takes_as_long_as_those_on_record():
    steps = measured_steps(
        SPEC, ROOT / "results/miniature/demos/tetrominoes@aligned/generated/objmae-demo/seed-0"
    )
    record = 9.4 * 60_000 / 4500  # results/README.md: 9 minutes of training, 4,500 steps
    assert steps["objmae-demo", ALIGNED] == pytest.approx(record, rel=0.01)
    assert minutes_left(Run("objmae:demo", ALIGNED, 3), START, SPEC, steps) == pytest.approx(9.4, abs=0.1)


def test_only_what_is_left_of_a_run_counts():
    run, steps = Run("comet:demo", SMALL_CLEVR, 0), {("comet-demo", SMALL_CLEVR): 238.0}
    assert minutes_left(run, START, SPEC, steps) == pytest.approx(6000 * 0.238 / 60)
    half = RunState("stopped", step=2500, total=6000)
    assert minutes_left(run, half, SPEC, steps) == pytest.approx(3500 * 0.238 / 60)
    assert minutes_left(run, RunState("finished"), SPEC, steps) == 0.0
    assert minutes_left(Run("grid", SMALL_CLEVR, 0), START, SPEC, {}) == TRIVIAL
    assert minutes_left(run, START, SPEC, {}) is None


def test_the_length_of_every_run_of_the_miniature_is_known():
    steps = measured_steps(SPEC, ROOT / "results")
    runs = [run for part in PARTS.values() for command in part(SPEC) for run in command.runs]
    assert [run for run in runs if minutes_left(run, START, SPEC, steps) is None] == []
