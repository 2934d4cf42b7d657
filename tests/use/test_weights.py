"""The weights that the package ships are whole, small, and those of their records."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from helpers import toy_runs
from helpers.commands import call, refused

from objbench.errors import RequestError
from objbench.files import sha256_of
from objbench.records import Run, read_record
from objbench.spec.load import load_spec
from objbench.train.reevaluate import load_run
from objbench.use.finished import open_run
from objbench.use.publish import publish
from objbench.use.weights import copy_to_runs, run_to_extend, shipped_weights


@pytest.mark.parametrize(("name", "folder"), shipped_weights().items())
def test_shipped_weights_are_those_of_their_record(name, folder):
    record = read_record(folder)
    assert isinstance(record, Run)
    assert folder.name == name
    assert record.weights_sha256 == sha256_of(folder / "model.safetensors")
    assert (folder / "model.safetensors").stat().st_size < 10_000_000
    assert "dirty" not in record.code_version
    assert record.scored["test"].standard
    assert "\nlicense: apache-2.0\n" in (folder / "README.md").read_text()


def test_objmae_ships_weights():
    assert list(shipped_weights()) == ["objmae-demo-tetrominoes-aligned", "objmae-small-tetrominoes"]


NAME = "objmae-small-tetrominoes"


def test_shipped_weights_are_evaluated_as_the_run_that_they_are_of(prepared_data):
    shipped = shipped_weights()[NAME]
    before = {path.name: path.stat().st_mtime_ns for path in shipped.iterdir()}
    on = ("--dataset", "tetrominoes", "--data", prepared_data, "--json")
    for definition in ("clevrtex", "deepmind"):
        result = call("evaluate", NAME, *on, "--definition", definition)
        assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    assert found["ari_fg"]["mean"] > 0.85
    folder = Path(os.environ["OBJBENCH_RUNS"], "tetrominoes/generated/objmae-small/seed-0")
    assert found["folder"] == str(folder)
    record, original = read_record(folder), read_record(shipped)
    assert record.metrics["test"] == original.metrics["test"]
    assert len(record.metrics) == 3
    assert {path.name: path.stat().st_mtime_ns for path in shipped.iterdir()} == before
    original.model_copy(update={"weights_sha256": "0" * 64}).save(folder)
    message = refused(2, "evaluate", NAME, *on)
    assert f"{folder}: a run of these settings lies there, where {NAME} would be copied to" in message


def test_state_that_is_no_tensor_is_copied_with_shipped_weights(prepared_data, tmp_path, monkeypatch):
    folder, record = toy_runs.run(prepared_data, tmp_path / "runs")
    shipped = tmp_path / "shipped"
    publish(open_run(folder), load_spec(), shipped, "Toys", None)
    assert (shipped / "checkpoint.pt").exists()
    monkeypatch.setattr("objbench.use.weights.shipped_weights", lambda: {"toys": shipped})
    copied = copy_to_runs("toys", tmp_path / "others", load_spec())
    found = load_run(copied, record, load_spec()).get_extra_state()
    assert found == open_run(folder).method.get_extra_state() != {"steps_seen": 0}


@pytest.mark.parametrize(
    "there", [("model.safetensors.partial",), ("model.safetensors",), ("model.safetensors", "config.json")]
)
def test_a_copy_of_shipped_weights_that_was_not_ended_is_ended(prepared_data, tmp_path, there):
    whole = copy_to_runs(NAME, tmp_path / "whole", load_spec())
    content = {path.name: path.read_bytes() for path in whole.iterdir()}
    begun = tmp_path / "runs" / whole.relative_to(tmp_path / "whole")
    begun.mkdir(parents=True)
    for name in there:
        (begun / name).write_bytes(content[name.removesuffix(".partial")][:1000])
    assert copy_to_runs(NAME, tmp_path / "runs", load_spec()) == begun
    assert {path.name: path.read_bytes() for path in begun.iterdir()} == content


def test_a_run_that_goes_on_is_no_copy_of_shipped_weights(tmp_path):
    whole = copy_to_runs(NAME, tmp_path, load_spec())
    (whole / "result.json").unlink()
    (whole / "metrics.jsonl").write_text("")
    with pytest.raises(RequestError, match="a run of these settings lies there"):
        copy_to_runs(NAME, tmp_path, load_spec())


def test_the_weights_of_a_package_behind_a_link_are_copied_too(tmp_path, monkeypatch):
    package = shipped_weights()[NAME].parent.parent
    (tmp_path / "link").symlink_to(package)
    monkeypatch.setattr("objbench.use.weights.plugin_folders", lambda: [tmp_path / "link"])
    for run in (Path(NAME), tmp_path / "link/weights" / NAME, package / "weights" / NAME):
        folder = run_to_extend(run, tmp_path / "runs", load_spec())
        assert folder == tmp_path / "runs/tetrominoes/generated/objmae-small/seed-0"
