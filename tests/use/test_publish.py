"""A run as a folder for a hub: it is a run itself, its card says what is known, its example works."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
import yaml
from helpers.commands import call, refused
from helpers.paths import ROOT

import objbench
from objbench.locks import folder_lock
from objbench.use.weights import shipped_weights

NAME = "objmae-small-tetrominoes"


def published(*arguments: object) -> Path:
    result = call("publish", NAME, "--output", "model", *arguments)
    assert result.exit_code == 0, result.output
    return Path("model")


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def test_the_folder_is_a_run_with_the_same_weights():
    folder = published("--licence", "apache-2.0")
    names = ["README.md", "config.json", "example.py", "model.safetensors", "result.json"]
    assert sorted(path.name for path in folder.iterdir()) == names
    run, original = objbench.open_run(folder), objbench.open_run(NAME)
    assert run.record == original.record
    for found, expected in zip(run.method.parameters(), original.method.parameters(), strict=True):
        assert torch.equal(found, expected)


def test_the_card_says_what_hubs_read_and_people_ask():
    card = (published("--licence", "apache-2.0", "--name", "My model") / "README.md").read_text()
    _, front, body = card.split("---\n", 2)
    metadata = yaml.safe_load(front)
    assert (metadata["license"], metadata["library_name"]) == ("apache-2.0", "objbench")
    assert {"object-centric-learning", "objmae", "tetrominoes"} <= set(metadata["tags"])
    ((model,),) = [metadata["model-index"]]
    (result,) = model["results"]
    assert model["name"] == "My model"
    assert result["dataset"] == {
        "type": "tetrominoes", "name": "tetrominoes@standard/generated test", "split": "test",
    }  # fmt: skip
    assert {"type": "ari_fg", "name": "ARI-FG", "value": 94.11} in result["metrics"]
    for words in (
        "# My model\n",
        'objbench.open_run("model")',
        "| test | 320 | ARI-FG, % | 94.1 | 10.0 |",
        "60,000 scenes",
        "| steps | 9,000 |",
        "a875d7306ca468f0f1a6ea11cd537a12135466ace5b7187fa6eebd6db48e9136",
        "They are not the upstream release",
        "https://arxiv.org/abs/2210.14139",
    ):
        assert words in body


def test_the_card_names_what_was_changed(prepared_data):
    on = ("--dataset", "tetrominoes", "--data", prepared_data, "--runs", "runs")
    assert call("run", "grid", *on, "--set", "slots=9").exit_code == 0
    (run,) = Path("runs/tetrominoes/generated").glob("grid+*/seed-0")
    assert call("publish", run, "--output", "changed").exit_code == 0
    card = Path("changed/README.md").read_text()
    assert "Changed with `--set`: `slots=9`." in card
    assert "- with slots=9\n" in card


def test_the_example_works():
    folder = published()
    done = subprocess.run(
        [sys.executable, folder / "example.py"],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert "FinishedRun(objmae:small seed 0" in done.stdout
    assert "SegmentedImage(image 0: labels 64x48" in done.stdout


def test_a_licence_that_is_not_stated_is_not_made_up():
    assert "license: unknown\n" in (published() / "README.md").read_text()
    assert "expected a name as hubs have it" in refused(
        2, "publish", NAME, "--output", "m", "--licence", "Mine, all"
    )


@pytest.mark.parametrize("written", range(1, 6))
@pytest.mark.parametrize("partial", ["", ".partial"])
def test_a_call_that_was_killed_is_given_again(written, partial):
    whole = published()
    content = {path.name: path.read_bytes() for path in whole.iterdir()}
    shutil.rmtree(whole)
    whole.mkdir()
    names = ["model.safetensors", "config.json", "README.md", "example.py", "result.json"][:written]
    for name in names:
        (whole / f"{name}{partial if name == names[-1] else ''}").write_bytes(
            b"cut" if partial else content[name]
        )
    published()
    assert {path.name: path.read_bytes() for path in whole.iterdir()} == content


def test_a_readme_of_ones_own_is_no_call_that_was_killed():
    Path("model").mkdir()
    Path("model/README.md").write_text("mine")
    assert "it holds something else" in refused(2, "publish", NAME, "--output", "model")
    assert Path("model/README.md").read_text() == "mine"


def test_a_folder_is_written_again_only_for_the_same_run(tmp_path):
    folder = published()
    (folder / "README.md").unlink()
    published()
    assert (folder / "README.md").exists()
    other = "objmae-demo-tetrominoes-aligned"
    assert "model: it holds something else" in refused(2, "publish", other, "--output", "model")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/thesis.tex").touch()
    assert "mine: it holds something else" in refused(2, "publish", NAME, "--output", "mine")
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["thesis.tex"]
    assert "thesis.tex: a file" in refused(2, "publish", NAME, "--output", "mine/thesis.tex")
    shutil.copytree(shipped_weights()[NAME], "run")
    assert "that is the folder of the run itself" in refused(2, "publish", "run", "--output", "run")
    assert "that is in the folder of the run itself" in refused(2, "publish", "run", "--output", "run/sub")


def test_two_calls_at_once_do_not_write_into_one_folder(tmp_path, monkeypatch):
    Path("model").mkdir()
    with folder_lock(tmp_path / "model", "here"):
        message = refused(1, "publish", NAME, "--output", "model")
    assert "--output model: another process publishes there; choose another folder" in message
    assert list(Path("model").iterdir()) == []

    @contextmanager
    def late(folder, occupied):
        (folder / "thesis.tex").touch()  # by another call, which ended before this one had the lock
        yield

    monkeypatch.setattr("objbench.use.publish.folder_lock", late)
    assert "it holds something else" in refused(2, "publish", NAME, "--output", "model")
    monkeypatch.undo()
    monkeypatch.chdir(tmp_path)
    shutil.rmtree("model")
    assert not [path for path in published().iterdir() if path.name.startswith(".")]


def test_scores_and_probes_that_only_the_published_folder_has_are_not_lost(prepared_data):
    folder = published()
    on = ("--dataset", "tetrominoes", "--data", prepared_data)
    assert call("evaluate", folder, *on, "--split", "val").exit_code == 0
    assert call("probe", folder, *on, "--train", 20).exit_code == 0
    before = (folder / "result.json").read_text()
    message = refused(2, "publish", NAME, "--output", "model")
    assert "--output model: it alone has the scores of tetrominoes/generated:val, the probe " in message
    assert "which would be lost" in message
    assert (folder / "result.json").read_text() == before
