"""What a run was asked to do, as plain values."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest
from helpers import plain
from helpers.launched import request_of

from objbench.errors import RequestError
from objbench.launch.request import RunRequest, parse_seeds
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


def test_what_this_machine_must_have_is_not_asked_of_another_process(monkeypatch, tmp_path):
    request = request_of(tmp_path, tmp_path, log=("tensorboard",))
    monkeypatch.setattr("objbench.launch.request.check_loggers", lambda names: pytest.fail("checked again"))
    assert pickle.loads(pickle.dumps(request.elsewhere())) == request


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"methods": ("grid", "grid")}, "METHOD grid: given twice"),
        ({"keep": "prediction"}, "unknown thing to --keep 'prediction': did you mean 'predictions'?"),
        ({"in_memory": True, "source": "emorl"}, "--in-memory needs --source generated"),
        ({"sizes": {"val": 3}}, "--val needs --in-memory; the sizes of prepared splits are options of"),
        ({"launcher": "slurm", "workers": 2}, "--workers needs --launcher local"),
        ({"launcher": "local", "wait": True}, "--resources and --wait need --launcher slurm or ray"),
        ({"launcher": "local", "resources": ("a=1",)}, "--resources and --wait need --launcher slurm or ray"),
        ({"device": "cpu,cpu"}, "--device cpu,cpu: several devices need --launcher local"),
        ({"device": "cuda:99"}, "device cuda:99 is not available"),
    ],
)
def test_options_go_together(tmp_path, options, message):
    with pytest.raises(RequestError, match=message):
        request_of(tmp_path, tmp_path, **options)


def test_a_job_may_have_a_device_that_is_not_here(tmp_path):
    assert request_of(tmp_path, tmp_path, launcher="slurm", device="cuda:99").device == "cuda:99"


def test_a_pool_leaves_the_gpus_to_its_workers(monkeypatch, tmp_path):
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    monkeypatch.setattr("torch.empty", lambda *shape, **options: pytest.fail("a GPU was used"))
    request_of(tmp_path, tmp_path, launcher="local", device="cuda:0,cuda:1")
    with pytest.raises(RequestError, match="device cuda:2 is not available: there are 2 GPUs"):
        request_of(tmp_path, tmp_path, launcher="local", device="cuda:0,cuda:2")


def test_the_benchmarks_have_the_datasets_and_the_files_of_the_request(tmp_path):
    data = tmp_path / "elsewhere"
    (data / "mine").mkdir(parents=True)
    block = declare("mine", "folder", 4, "24", [])
    (data / "mine" / DECLARATION).write_text(declaration_text("mine", block))
    file = read_file(plain.write(tmp_path))
    spec = request_of(data, tmp_path / "runs", files=(file,)).spec()
    assert "mine" in spec.datasets
    assert spec.methods["mine.Mine"].class_ == file.implementation


@pytest.mark.parametrize(
    ("seeds", "seed", "expected"),
    [
        (None, None, [0]),
        ("5", None, [0, 1, 2, 3, 4]),
        ("0,3,7", None, [0, 3, 7]),
        (None, 3, [3]),
        ("4,", None, None),
        ("", None, None),
        ("10001", None, None),
        ("9999999999999", None, None),
    ],
)
def test_seeds(seeds, seed, expected):
    if expected is None:
        with pytest.raises(RequestError):
            parse_seeds(seeds, seed)
    else:
        assert parse_seeds(seeds, seed) == expected
