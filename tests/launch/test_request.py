"""What a run was asked to do, as plain values."""

from __future__ import annotations

from pathlib import Path

from helpers import plain
from helpers.launched import request_of

from objbench.launch.request import RunRequest
from objbench.methods.plain_file import read_file
from objbench.spec.own import DECLARATION, declaration_text, declare


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


def test_the_benchmarks_have_the_datasets_and_the_files_of_the_request(tmp_path):
    data = tmp_path / "elsewhere"
    (data / "mine").mkdir(parents=True)
    block = declare("mine", "folder", 4, "24", [])
    (data / "mine" / DECLARATION).write_text(declaration_text("mine", block))
    file = read_file(plain.write(tmp_path))
    spec = request_of(data, tmp_path / "runs", files=(file,)).spec()
    assert "mine" in spec.datasets
    assert spec.methods["mine.Mine"].class_ == file.implementation
