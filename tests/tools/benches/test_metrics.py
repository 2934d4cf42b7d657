"""tools/bench metrics: every candidate in every repeat, and what follows from the times."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys

import pytest
import torch
from benches.metrics import max_difference
from benches.metrics_rivals import scikit_learn_loop
from benches.report import Check
from benches.scenes import label_maps
from helpers.paths import TOOLS

from objbench.metrics import score

REPEATS = 2


CANDIDATES = {
    "objbench, batch 1",
    "objbench, batch 4",
    "naive torch (ARI, ARI-FG, mIoU), batch 1",
    "naive torch (ARI, ARI-FG, mIoU), batch 4",
    "torchmetrics loop (ARI only)",
    "scikit-learn + scipy loop",
}


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    """What a small `tools/bench metrics` prints and writes."""
    path = tmp_path_factory.mktemp("bench") / "new" / "metrics.json"
    options = ["--quick", "--images", "4", "--repeats", str(REPEATS), "--threads", "1", "--json", str(path)]
    done = subprocess.run(
        [sys.executable, "-m", "benches", "metrics", *options, "--device", "cpu"],
        env=os.environ | {"PYTHONPATH": str(TOOLS)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert str(path) in done.stderr
    return done.stdout, json.loads(path.read_text())


def rows(content, section):
    return {row["name"]: row for row in content["sections"][section]["rows"]}


def test_metrics_times_every_candidate_in_every_repeat(measured):
    _, content = measured
    assert rows(content, 0).keys() == CANDIDATES
    assert rows(content, 1).keys() == {"objbench.labels.hard_labels", "torch.argmax over planes"}
    assert len(rows(content, 2)) == 4
    for section in content["sections"][:3]:
        for row in section["rows"]:
            timing = row["timing"]
            assert len(row["samples"]) == len(timing["seconds"]) == len(timing["cpu_seconds"]) == REPEATS
            for number in [*row["samples"], *timing["seconds"], *timing["cpu_seconds"], row["median"]]:
                assert number > 0
                assert math.isfinite(number)


def test_metrics_converts_times_and_ratios(measured):
    _, content = measured
    ours, loop = rows(content, 0)["objbench, batch 4"], rows(content, 0)["scikit-learn + scipy loop"]
    assert loop["speedup"] is None
    assert ours["samples"] == pytest.approx([1000 * s / 4 for s in ours["timing"]["seconds"]])
    ratios = [b / a for a, b in zip(ours["samples"], loop["samples"], strict=True)]
    assert ours["speedup"]["samples"] == pytest.approx(ratios)
    assert ours["speedup"]["against"] == "scikit-learn + scipy loop"
    per_second = rows(content, 2)["clevrtex 128x128, K=11"]
    assert per_second["samples"] == pytest.approx([4 / s for s in per_second["timing"]["seconds"]])


def test_metrics_agrees_with_scikit_learn(measured):
    _, content = measured
    assert content["passed"]
    (largest,) = content["sections"][0]["checks"]
    assert largest["value"] <= largest["limit"] == 1e-9


def test_json_says_where_and_with_what(measured):
    _, content = measured
    machine = content["machine"]
    assert machine["torch"] == torch.__version__
    assert machine["cores"] >= 1
    assert len(machine["load_average_at_start"]) == len(machine["load_average_at_end"]) == 3
    assert {"cpu", "commit", "date", "environment"} <= machine.keys()
    assert content["parameters"]["device"] == "cpu"
    assert content["parameters"]["images"] == 4


def test_table_is_plain_text_in_a_pipe(measured):
    printed, _ = measured
    for candidate in CANDIDATES:
        assert candidate in printed
    assert "\x1b" not in printed
    assert not any(line != line.rstrip() for line in printed.splitlines())


def test_the_largest_difference_is_found_and_nan_is_one():
    pred, true = label_maps(4, 32, 5)
    ours, loop = score(pred, true), scikit_learn_loop(pred.numpy(), true.numpy())
    assert max_difference(ours, loop) < 1e-12
    ours["msc"][2] += 0.25
    assert max_difference(ours, loop) == pytest.approx(0.25)
    ours["ari"][0] = math.nan
    assert not Check("largest difference", max_difference(ours, loop), 1e-9).passed
