"""Predictions that are kept score, as a file, exactly as the run that made them."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pytest
from helpers.commands import call, refused

ON = ("--dataset", "tetrominoes")
SHORT = ("--set", "recipe.steps=3", "--set", "recipe.batch_size=6", "--set", "recipe.evaluation_batch_size=4")


@pytest.fixture(autouse=True)
def _data(prepared_data, monkeypatch, tmp_path):
    monkeypatch.setenv("OBJBENCH_DATA", str(prepared_data))
    monkeypatch.chdir(tmp_path)


def done(path: Path) -> str:
    result = call("evaluate", path, *ON, "--json")
    assert result.exit_code == 0, result.output
    return result.stdout


def run(*arguments: str) -> tuple[Path, dict]:
    result = call("run", *arguments, *ON, "--json")
    assert result.exit_code == 0, result.output
    (record,) = json.loads(result.stdout)
    return Path(record["folder"]), record


@pytest.mark.parametrize(
    "method", [("objmae:demo", *SHORT), ("color_kmeans",), ("grid",)], ids=lambda words: words[0]
)
def test_the_file_scores_exactly_as_the_run(method):
    folder, record = run(*method, "--seed", "3", "--keep", "predictions")
    scored = json.loads(done(folder / "predictions.npz"))
    metrics = {name: value for name, value in record["metrics"]["test"].items() if isinstance(value, dict)}
    assert len(metrics) >= 10
    assert {name: scored[name] for name in metrics} == metrics
    assert ("mse" in metrics) == (method != ("grid",))
    with np.load(folder / "predictions.npz") as kept:
        assert kept["masks"].shape == (10, 35, 35)
        assert ("reconstruction" in kept) == ("mse" in metrics)
        assert kept["masks"].dtype == np.uint8
        assert [kept[name].dtype for name in ("reconstruction",) if name in kept] == [np.float32] * (
            "mse" in metrics
        )


def test_a_finished_seed_gets_the_file_without_training_again():
    folder, record = run("objmae:demo", *SHORT)
    assert not (folder / "predictions.npz").exists()
    weights = (folder / "model.safetensors").stat().st_ino
    again = run("objmae:demo", *SHORT, "--keep", "predictions")
    assert again == (folder, record)
    assert (folder / "model.safetensors").stat().st_ino == weights
    made = (folder / "predictions.npz").stat().st_ino
    run("objmae:demo", *SHORT, "--keep", "predictions")
    assert (folder / "predictions.npz").stat().st_ino == made


def test_what_cannot_be_kept_is_named():
    assert "did you mean 'predictions'" in refused(2, "run", "grid", *ON, "--keep", "prediction")
    assert not Path("runs").exists()


@pytest.mark.parametrize("there", ["of another seed", "damaged", "of nobody"])
def test_a_file_of_other_weights_or_a_damaged_one_is_made_again(there):
    folder, _ = run("grid", "--keep", "predictions")
    path = folder / "predictions.npz"
    right = path.read_bytes()
    if there == "of another seed":
        other, _ = run("grid", "--seed", "1", "--keep", "predictions")
        path.write_bytes((other / "predictions.npz").read_bytes())
    elif there == "damaged":
        path.write_bytes(right[:200] + b"x" + right[201:])
    else:
        np.savez(path, masks=np.zeros((10, 35, 35), np.uint8))
    run("grid", "--keep", "predictions")
    with np.load(path) as kept, np.load(io.BytesIO(right)) as wanted:
        assert {name: kept[name].tolist() for name in kept} == {
            name: wanted[name].tolist() for name in wanted
        }
