"""The curves of the page: units, columns, and how many points."""

from __future__ import annotations

import json

import pytest
from helpers.html import shown_runs
from helpers.run_artifacts import save_run
from helpers.synthetic import record

from objbench.report.html.curves import curves_of
from objbench.spec.load import load_spec


def test_curves_are_in_percent_and_losses_as_they_are(document):
    course = document.data["curves"]["r0"]
    assert course["ari_fg"]["x"][-1] == 6000
    assert course["ari_fg"]["y"][-1] == 90.0
    assert course["loss"]["y"][-1] == pytest.approx(0.3 * 0.9**30 + 0.001, rel=1e-4)


def test_curves_are_those_of_the_columns_and_only_scores_are_in_percent(document, tmp_path):
    assert document.data["percent"] == ["ari_fg", "ari", "miou", "miou_fg"]
    save_run(tmp_path / "a", record())
    lines = [json.dumps({"step": i, "val": {"mse": i / 1000, "mbo": 0.5, "ari": 0.5}}) + "\n" for i in (1, 2)]
    (tmp_path / "a/metrics.jsonl").write_text("".join(lines))
    metrics = {name: load_spec().metric(name) for name in ("mse", "mbo")}
    assert curves_of(shown_runs(tmp_path), metrics)[0]["r0"] == {
        "mse": {"x": [1, 2], "y": [0.001, 0.002]},
        "mbo": {"x": [1, 2], "y": [50.0, 50.0]},
    }


def test_long_curves_are_thinned_to_every_nth_point_and_the_last(tmp_path):
    save_run(tmp_path / "a", record())
    lines = [json.dumps({"step": i, "val": {"ari_fg": i / 1000}}) + "\n" for i in range(1, 1001)]
    (tmp_path / "a/metrics.jsonl").write_text("".join(lines))
    shown = curves_of(shown_runs(tmp_path), load_spec().columns())[0]["r0"]["ari_fg"]
    assert shown["every"] == 7
    assert shown["x"][:2] == [1, 8]
    assert (shown["x"][-1], shown["y"][-1]) == (1000, 100.0)
    assert len(shown["x"]) == len(shown["y"]) == 144


def test_a_log_that_cannot_be_read_is_told_and_a_mistake_of_the_program_is_not_taken_for_one(tmp_path):
    save_run(tmp_path / "a", record())
    log = tmp_path / "a/metrics.jsonl"
    log.write_text('{"step": 1, "val": {"ari": "high"}}\n')
    (line,) = curves_of(shown_runs(tmp_path), load_spec().columns())[1]
    assert line.startswith("objmae seed 0: no curve, metrics.jsonl cannot be read (")
    log.write_text('{"step": 1, "val": {"ari": 0.5}}\n')
    with pytest.raises(AttributeError):
        curves_of(shown_runs(tmp_path), {"ari": None})
