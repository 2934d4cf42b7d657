"""The metrics that `objbench report` has columns for: those asked for, those of plugins, costs."""

from __future__ import annotations

import json
import re

import pytest
from helpers import commands
from helpers.synthetic import record, save, scores


def call(*arguments):
    return commands.call("report", *arguments)


@pytest.fixture
def scored_by_plugin(tmp_path):
    """Two methods with scores by a plugin's metric, of which lower is better, and the layer that says so."""
    for method, error in (("objmae", 0.05), ("monet", 0.4)):
        save(tmp_path / "runs" / method, record(0, method, {"test": scores(mbo=0.5, boundary_error=error)}))
    (tmp_path / "own.yaml").write_text(
        "metrics: {boundary_error: {title: Boundary error, better: lower, range: [0, null], column: true}}"
    )
    return tmp_path / "own.yaml"


BY_PLUGIN = ("--metrics", "boundary_error,mbo", "--dataset", "tetrominoes")


@pytest.mark.parametrize(
    ("format", "heading", "best"),
    [
        ("terminal", r"train  Boundary error +mBO$", r"^objmae .* 0\.05000 +50\.0$"),
        ("markdown", r"\| train \| Boundary error \| mBO \|$", r"^\| objmae .*\*\*0\.05000\*\* \| 50\.0 \|$"),
        ("latex", r"train & Boundary error & mBO \\\\$", r"^objmae .*\\textbf\{0\.05000\} & 50\.0 \\\\$"),
        ("html", r'data-first="ascending">Boundary error<', r"<strong>0\.05000</strong>"),
    ],
)
def test_chosen_metrics_are_the_columns_and_the_lowest_error_is_best(scored_by_plugin, format, heading, best):
    result = call(*BY_PLUGIN, "--config", scored_by_plugin, "--format", format)
    assert result.exit_code == 0, result.stderr
    printed = result.stdout
    assert re.search(heading, printed, re.MULTILINE)
    assert re.search(best, printed, re.MULTILINE)


def test_chosen_metrics_are_all_that_is_exported(scored_by_plugin):
    rows = json.loads(call(*BY_PLUGIN, "--config", scored_by_plugin, "--json").stdout)
    assert [list(row["values"]) for row in rows] == [["boundary_error", "mbo"]] * 2
    assert list(rows[0]["definitions"]) == ["mbo"]
    lines = call(*BY_PLUGIN, "--config", scored_by_plugin, "--format", "csv").stdout.splitlines()
    metric = lines[0].split(",").index("metric")
    assert {line.split(",")[metric] for line in lines[1:]} == {"boundary_error", "mbo"}
    everything = json.loads(call("--dataset", "tetrominoes", "--json").stdout)
    assert {"boundary_error", "hours", "ari_fg"} <= everything[0]["values"].keys()


def test_a_metric_has_a_column_by_default_where_a_layer_says_so(scored_by_plugin):
    heading = call("--config", scored_by_plugin).stdout.splitlines()[2].split()
    assert heading[-7:] == ["ARI-FG", "ARI", "mIoU", "mIoU-FG", "MSE", "Boundary", "error"]
    assert call().stdout.splitlines()[2].split()[-5:] == ["ARI-FG", "ARI", "mIoU", "mIoU-FG", "MSE"]


def test_a_metric_that_stands_in_records_only_is_shown_without_a_best(scored_by_plugin):
    printed = call(*BY_PLUGIN, "--format", "markdown").stdout
    assert "| 0.05000 | 50.0 |" in printed
    assert "**" not in printed


def test_metrics_that_no_record_has_are_named(tmp_path):
    save(tmp_path / "runs", record())
    (tmp_path / "own.yaml").write_text("metrics: {own: {title: Own}}")
    result = call("--metrics", "ari_fg,dice,own", "--config", tmp_path / "own.yaml")
    assert result.exit_code == 0
    assert "no record here has dice or own" in result.stderr
    assert result.stdout.splitlines()[2].split()[-2:] == ["train", "ARI-FG"]
    nothing = call(
        "--metrics",
        "dice,own",
        "--config",
        tmp_path / "own.yaml",
        "--dataset",
        "tetrominoes",
        "--no-published",
    )
    assert (nothing.exit_code, nothing.stdout) == (1, "")
    assert "objbench: no record here has dice or own" in nothing.stderr
    refused = call("--metrics", "ari_fg,mbp")
    assert (refused.exit_code, refused.stdout) == (2, "")
    assert "unknown metric 'mbp': did you mean 'mbo'?" in refused.stderr


def test_costs_are_shown_when_asked_for(tmp_path):
    save(tmp_path / "runs", record(0), record(1))
    printed = call("--metrics", "hours,iterations", "--dataset", "tetrominoes").stdout
    assert re.search(
        r"^objmae +emorl +2 +59,680 +1.00 ± 0.00 \[a\] +154,440 ± 0 \[a\]$", printed, re.MULTILINE
    )
