"""What a run was asked to do, as plain values and as the command of one of its runs."""

from __future__ import annotations

import sys
from pathlib import Path

from helpers.commands import call
from helpers.launched import request_of

from objbench.launch.request import RunRequest, Task
from objbench.records import read_record


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


def test_the_command_of_a_run_is_that_run(prepared_data, tmp_path):
    request = request_of(
        prepared_data,
        tmp_path / "there",
        assignments=("recipe.steps=3",),
        source="generated",
        keep=True,
        tensorboard=True,
        fresh=True,
    )
    line = request.command(Task("toy_geco", "tetrominoes", 2))
    assert line[:3] == [sys.executable, "-m", "objbench"]
    result = call(*line[3:])
    assert result.exit_code == 0, result.stderr
    (folder,) = (tmp_path / "there/tetrominoes/generated").glob("toy_geco+*/seed-2")
    assert read_record(folder).steps == 3
    assert (folder / "predictions.npz").exists()
    assert list(folder.glob("tensorboard/events*"))


def test_the_command_of_a_run_in_memory_is_that_run(tmp_path):
    sizes = {"train": 60, "val": 4, "test": 8}
    request = request_of(tmp_path, tmp_path, source="generated", in_memory=True, sizes=sizes)
    assert call(*request.command(Task("one_slot", "tetrominoes", 0))[3:]).exit_code == 0
    assert read_record(tmp_path / "tetrominoes/generated/one_slot/seed-0").n_train == 60
