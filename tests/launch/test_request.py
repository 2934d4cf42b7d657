"""What a run was asked to do, as plain values."""

from __future__ import annotations

from pathlib import Path

from helpers.launched import request_of

from objbench.launch.request import RunRequest


def test_the_runs_are_the_product_dataset_by_dataset():
    request = RunRequest(
        methods=("a", "b"), datasets=("x", "y"), seeds=(0, 3), data=Path("data"), runs=Path("runs")
    )
    assert [str(task) for task in request.tasks] == [
        "a on x, seed 0",
        "a on x, seed 3",
        "b on x, seed 0",
        "b on x, seed 3",
        "a on y, seed 0",
        "a on y, seed 3",
        "b on y, seed 0",
        "b on y, seed 3",
    ]


def test_another_process_gets_absolute_paths(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    there = request_of(Path("data"), Path("runs"), config=Path("mine.yaml")).elsewhere()
    assert (there.data, there.runs, there.config) == (
        tmp_path / "data",
        tmp_path / "runs",
        tmp_path / "mine.yaml",
    )
    assert request_of(Path("data"), Path("runs")).elsewhere().config is None
