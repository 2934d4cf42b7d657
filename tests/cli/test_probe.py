"""objbench probe, as a user gives it."""

from __future__ import annotations

import json
import shutil

import pytest
from helpers import toy_runs
from helpers.commands import call, refused


@pytest.fixture
def run(prepared_data, tmp_path, monkeypatch):
    monkeypatch.setenv("OBJBENCH_DATA", str(prepared_data))
    monkeypatch.chdir(tmp_path)
    return toy_runs.run(prepared_data, tmp_path / "runs", "color_kmeans")[0]


def test_a_run_in_a_store_is_refused(run, memory):
    assert "is in an object store" in refused(2, "probe", f"{memory}/runs/seed-0", "--train", 20)
    store = memory / "runs"
    for path in run.iterdir():
        if path.is_file():
            (store / "seed-0" / path.name).put(path)
    assert "runs are written to a folder" in refused(2, "probe", "seed-0", "--runs", store, "--train", 20)


def test_a_table_of_factors(run):
    result = call("probe", run, "--train", 20)
    assert result.exit_code == 0, result.output
    first, heading, *rows = [line for line in result.stdout.splitlines() if line.strip("- ")]
    assert first.startswith(
        "color_kmeans seed 0 on test: linear probe of 20 scenes, 30 objects of 10 images, "
    )
    assert heading.split() == [
        "factor",
        "measure",
        "slots",
        "95",
        "%",
        "interval",
        "majority",
        "masks",
        "untrained",
    ]
    assert [row.split()[0] for row in rows] == [
        "shape",
        "color",
        "x",
        "y",
        "mean",
        "mean",
        "disentanglement",
        str(run),
    ]
    value, low, to, high = rows[1].split()[2:6]
    assert to == "to"
    assert float(low) <= float(value) <= float(high) <= 100
    assert max(map(len, result.stdout.splitlines()[:-1])) <= 110


def test_json_and_further_datasets(run):
    options = (
        "--dataset",
        "tetrominoes@aligned",
        "--probe",
        "gradient_boosting",
        "--factors",
        "x, shape",
        "--json",
    )
    found = json.loads(call("probe", run, *options).stdout)
    assert found["probe"] == "gradient_boosting"
    assert list(found["probes"]) == ["tetrominoes@aligned/generated"]
    scores = found["probes"]["tetrominoes@aligned/generated"]
    assert list(scores["factors"]) == ["x", "shape"]
    assert scores["scored"]["protocol"] == "aligned"
    record = json.loads((run / "result.json").read_text())
    assert record["probes"]["tetrominoes@aligned/generated"]["gradient_boosting"] == scores


def test_the_run_s_own_dataset_is_that_of_its_own_source(run, prepared_data, tmp_path, monkeypatch):
    """Another prepared source of the same dataset leaves nothing to be asked."""
    data = tmp_path / "two sources"
    shutil.copytree(prepared_data, data)
    manifest = data / "tetrominoes/generated/manifest.json"
    shutil.copytree(manifest.parent, data / "tetrominoes/emorl")
    other = data / "tetrominoes/emorl/manifest.json"
    other.write_text(manifest.read_text().replace('"source": "generated"', '"source": "emorl"'))
    found = call("probe", run, "--dataset", "tetrominoes", "--factors", "x", "--data", data, "--json")
    assert found.exit_code == 0, found.output
    assert list(json.loads(found.stdout)["probes"]) == ["test"]


def test_shipped_weights_are_copied_to_the_runs_first(run, tmp_path):
    result = call("probe", "objmae-small-tetrominoes", "--factors", "x", "--runs", "others")
    assert result.exit_code == 0, result.output
    (record,) = (tmp_path / "others").rglob("result.json")
    found = json.loads(record.read_text())["probes"]["tetrominoes/generated"]["linear"]["factors"]["x"]
    assert "untrained" not in found or found["untrained"] is None
    assert "was trained on other scenes than the train split of tetrominoes" in result.stderr


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--factors", "colour"), "unknown factor of tetrominoes 'colour'"),
        (("--factors", " , "), "--factors: no name of a factor"),
        (("--dataset", "tetromino"), "unknown dataset 'tetromino'"),
        (("--probe", "tree"), "'tree' is not one of"),
        (("--matching", "iou"), "'iou' is not one of"),
        (("--train", 0), "Invalid value for '--train'"),
    ],
)
def test_refused_requests(run, options, message):
    assert message in refused(2, "probe", run, *options)


def test_no_run(run):
    assert "expected the folder of a finished run" in refused(2, "probe", "nowhere")
