"""objbench run and evaluate, as a user gives the commands: output, exit codes, messages."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from helpers.commands import call, refused
from helpers.paths import PLUGINS
from objbench_toys.methods import ToyGeco

import objbench
from objbench import registry
from objbench.data.read.scenes import Scenes
from objbench.errors import RequestError
from objbench.methods.trivial import OneSlot
from objbench.records import read_record
from objbench.spec.load import load_spec
from objbench.train.checkpoint import load_checkpoint
from objbench.train.log import read_log
from objbench.train.reevaluate import reevaluate


@pytest.fixture(autouse=True)
def _data(prepared_data, monkeypatch):
    monkeypatch.setenv("OBJBENCH_DATA", str(prepared_data))


def test_run_prints_scores_per_seed_and_the_folder(tmp_path):
    result = call("run", "toy_geco", "--dataset", "tetrominoes", "--seeds", "0,2")
    assert result.exit_code == 0, result.stderr
    lines = result.stdout.splitlines()
    assert lines[0].startswith("toy_geco seed 0 on test (10 images): ari ")
    assert lines[1].strip() == str(tmp_path / "runs/tetrominoes/generated/toy_geco/seed-0")
    assert lines[2].startswith("toy_geco seed 2 on test")


def test_settings_that_nobody_published_are_said_once(tmp_path):
    small = ("--source", "generated", "--in-memory", "--train", 2, "--val", 0, "--test", 2, "--seeds", 2)
    settings = [f"--set={pair}" for pair in ("recipe.steps=1", "recipe.batch_size=1", "model.channels=4")]
    result = call("run", "slot_attention", "--dataset", "multi_dsprites_binarized", *small, *settings)
    assert result.exit_code == 0, result.stderr
    assert result.stderr.count("slot_attention has no published recipe for multi_dsprites_binarized") == 1
    assert "its settings are those of multi_dsprites;" in result.stderr


def test_json_holds_the_whole_record():
    result = call("run", "one_slot", "--dataset", "tetrominoes@aligned", "--json")
    (record,) = json.loads(result.stdout)
    assert record["protocol"] == "aligned"
    assert record["metrics"]["test"]["n_images"] == 10
    assert record["metrics"]["test"]["ari"] == {"mean": 0.0, "std": 0.0, "interval": [0.0, 0.0]}


def test_set_reaches_the_method(tmp_path):
    assert call("run", "toy_geco", "--dataset", "tetrominoes", "--set", "recipe.steps=3").exit_code == 0
    (folder,) = (tmp_path / "runs/tetrominoes/generated").iterdir()
    assert read_log(folder / "seed-0")[-1]["step"] == 3


def test_a_logger_that_is_not_installed_is_refused_in_one_line_before_anything_is_run(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "trackio", None)
    line = ("run", "toy_geco", "--dataset", "tetrominoes", "--log", "tensorboard", "--log", "trackio")
    assert refused(2, *line) == (
        "objbench: --log trackio needs the package trackio: pip install 'objbench[trackio]'\n"
    )
    assert not (tmp_path / "runs").exists()


def test_a_logger_given_twice_is_refused():
    line = ("run", "one_slot", "--dataset", "tetrominoes", "--log", "tensorboard", "--log", "tensorboard")
    assert "--log tensorboard: given twice" in refused(2, *line)


def test_evaluate_prints_and_records_another_set(tmp_path):
    call("run", "one_slot", "--dataset", "tetrominoes")
    folder = tmp_path / "runs/tetrominoes/generated/one_slot/seed-0"
    result = call("evaluate", folder, "--dataset", "tetrominoes@aligned", "--json")
    assert result.exit_code == 0, result.stderr
    printed = json.loads(result.stdout)
    assert printed["key"] == "tetrominoes@aligned/generated"
    assert printed["scored"]["protocol"] == "aligned"
    assert printed["key"] in json.loads((folder / "result.json").read_text())["metrics"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["run", "objma"], "unknown method 'objma': did you mean 'objmae'?"),
        (["run", "objmae:dmo"], "unknown variant of objmae 'dmo': did you mean 'demo'?"),
        (
            ["run", "toy_geco", "--set", "model.widht=3"],
            "unknown key 'model.widht': did you mean 'model.width'?",
        ),
        (["run", "toy_geco", "--set", "model.width"], "expected KEY=VALUE"),
        (["run", "toy_geco", "--seeds", "five"], "--seeds five: expected a number (5) or numbers (0,3,7)"),
        (["run", "toy_geco", "--seeds", "0"], "at least one"),
        (["run", "toy_geco", "--seeds", "2", "--seed", "1"], "either --seeds or --seed"),
        (["run", "toy_geco", "--device", "cudda"], "unknown device 'cudda'"),
        (["run", "toy_geco", "--source", "deepmin"], "did you mean 'deepmind'?"),
        (
            ["run", "toy_geco", "--set", "recipe.batch_size=25"],
            "a batch of 25 cannot be made of 24 training scenes",
        ),
        (
            ["run", "objmae", "--set", "model.patch=6"],
            "model.patch: expected a divisor of the image size 35x35, found 6",
        ),
        (["run", "toy_geco", "--sed", "3"], "No such option: --sed"),
        (["rum"], "No such command 'rum'"),
    ],
)
def test_wrong_requests_exit_with_2(arguments, message):
    if arguments[0] == "run":
        arguments = [*arguments, "--dataset", "tetrominoes"]
    assert message in refused(2, *arguments)


def test_a_dataset_that_is_not_prepared_names_the_command(tmp_path):
    message = refused(1, "run", "one_slot", "--dataset", "tetrominoes", "--data", tmp_path)
    assert "objbench prepare tetrominoes --source emorl" in message


def test_several_prepared_sources_are_asked_about(tmp_path, prepared_data):
    for source in ("generated", "emorl"):
        shutil.copytree(prepared_data / "tetrominoes/generated", tmp_path / "tetrominoes" / source)
    message = refused(2, "run", "one_slot", "--dataset", "tetrominoes", "--data", tmp_path)
    assert "--source emorl or generated" in message


def test_evaluate_needs_a_finished_run(tmp_path):
    call("run", "one_slot", "--dataset", "tetrominoes")
    folder = tmp_path / "runs/tetrominoes/generated/one_slot/seed-0"
    (folder / "result.json").unlink()
    message = refused(1, "evaluate", folder, "--dataset", "tetrominoes")
    assert f"{folder / 'result.json'}: no such record; is the run finished?" in message


def test_evaluate_refuses_images_of_another_size(tmp_path):
    call("run", "one_slot", "--dataset", "tetrominoes")
    folder = tmp_path / "runs/tetrominoes/generated/one_slot/seed-0"
    images = torch.zeros(2, 3, 64, 64, dtype=torch.uint8)
    spec = load_spec()
    scenes = Scenes(images, images[:, 0], ["0", "1"], spec.dataset("tetrominoes"), "test", {})
    with pytest.raises(RequestError, match="was trained on images of 35x35, tetrominoes has 64x64"):
        reevaluate(folder, scenes, spec)


def test_one_failing_seed_does_not_stop_the_others(tmp_path):
    call("run", "toy_geco", "--dataset", "tetrominoes", "--seeds", "2")
    folder = tmp_path / "runs/tetrominoes/generated/toy_geco"
    (folder / "seed-0/result.json").unlink()
    (folder / "seed-0/checkpoint.pt").write_bytes(b"damaged")
    result = call("run", "toy_geco", "--dataset", "tetrominoes", "--seeds", "2")
    assert result.exit_code == 1
    assert "seed 0: " in result.stderr
    assert "1 of 2 runs failed (toy_geco on tetrominoes, seed 0)" in result.stderr
    assert "toy_geco seed 1 on test" in result.stdout


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_to_the_command_keeps_the_training_and_says_how_to_go_on(tmp_path, number, code):
    runs = tmp_path / "runs"
    arguments = ["run", "toy_geco", "--dataset", "tetrominoes", "--set", "recipe.steps=100000"]
    command = [sys.executable, "-c", "from objbench.cli import main; main()", *arguments]
    environment = os.environ | {"PYTHONPATH": str(PLUGINS), "OBJBENCH_RUNS": str(runs)}
    process = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)
    while not list(runs.rglob("metrics.jsonl")) and process.poll() is None:
        time.sleep(0.02)
    process.send_signal(number)
    message = process.communicate(timeout=60)[1].splitlines()[-1]
    said = f"objbench: interrupted by {number.name}; the same command goes on from step (\\d+) of seed 0"
    found = re.fullmatch(said, message)
    assert found, message
    assert process.returncode == code
    saved = [load_checkpoint(path.parent) for path in runs.rglob("checkpoint.pt")]
    assert int(found[1]) == (saved[0].step if saved else 0)
    assert not list(runs.rglob("result.json"))
    assert not list(runs.rglob("*.partial"))


def test_a_signal_starts_no_other_seed(tmp_path, monkeypatch):
    after_step = ToyGeco.after_step

    def interrupted(self, progress, losses, optimizers):
        after_step(self, progress, losses, optimizers)
        if progress.step == 4:
            os.kill(os.getpid(), signal.SIGUSR2)

    with monkeypatch.context() as patched:
        patched.setattr(ToyGeco, "after_step", interrupted)
        message = refused(75, "run", "toy_geco", "--dataset", "tetrominoes", "--seeds", "2")
    assert message.endswith("interrupted by SIGUSR2; the same command goes on from step 5 of seed 0\n")
    folder = tmp_path / "runs/tetrominoes/generated/toy_geco"
    assert not (folder / "seed-1").exists()
    assert call("run", "toy_geco", "--dataset", "tetrominoes", "--seeds", "2").exit_code == 0
    assert read_record(folder / "seed-0").steps == 8


def test_a_signal_in_the_final_evaluation_keeps_the_training(tmp_path, monkeypatch):
    def interrupted(self, images, progress=None):
        os.kill(os.getpid(), signal.SIGHUP)

    with monkeypatch.context() as patched:
        patched.setattr(ToyGeco, "segment", interrupted)
        evaluations = ("--set", "recipe.evaluations=0")
        line = ("run", "toy_geco", "--dataset", "tetrominoes", *evaluations)
        assert "goes on from step 8 of seed 0" in refused(129, *line)
    assert call(*line).exit_code == 0


def test_how_often_checkpoints_are_made_is_no_part_of_what_a_run_is(tmp_path):
    line = ("run", "toy_geco", "--dataset", "tetrominoes")
    assert call(*line, "--set", "recipe.checkpoint_minutes=0.5").exit_code == 0
    folder = tmp_path / "runs/tetrominoes/generated/toy_geco/seed-0"
    assert "checkpoint_minutes" not in (folder / "config.json").read_text()
    assert read_record(folder).overrides == {}
    assert "finished before" in call(*line).stderr
    result = call("evaluate", folder, "--dataset", "tetrominoes@aligned")
    assert result.exit_code == 0, result.stderr


def test_a_method_that_breaks_is_told_with_the_place(monkeypatch):
    def segment(self, images, progress=None):
        raise ValueError("oops:\n  two lines")

    monkeypatch.setattr(OneSlot, "segment", segment)
    message = refused(1, "run", "one_slot", "--dataset", "tetrominoes")
    assert f"ValueError: oops: two lines (unexpected, at {__file__}:" in message


def test_an_installed_method_without_a_block_is_told_what_it_lacks(monkeypatch):
    plugin = {"lonely": "objbench_toys.methods:Toy", **registry.names("methods")}
    monkeypatch.setattr("objbench.spec.resolve.names", lambda kind: plugin)
    message = refused(2, "run", "lonely", "--dataset", "tetrominoes")
    assert "method 'lonely' is installed but has no block methods.lonely" in message


def test_a_finished_seed_says_what_finished_it():
    call("run", "one_slot", "--dataset", "tetrominoes")
    again = call("run", "one_slot", "--dataset", "tetrominoes")
    assert f"seed 0: finished before, by objbench {objbench.__version__}" in again.stderr
    assert "--fresh runs it again" in again.stderr


def in_memory(runs: Path, test: str = "8") -> tuple[str, ...]:
    sizes = ("--train", "60", "--val", "4", "--test", test)
    where = ("--dataset", "tetrominoes", "--source", "generated", "--runs", str(runs))
    return ("run", "one_slot", *where, "--in-memory", *sizes)


def test_scenes_in_memory_need_nothing_prepared(tmp_path, monkeypatch):
    monkeypatch.setenv("OBJBENCH_DATA", str(tmp_path / "data"))
    result = call(*in_memory(tmp_path / "runs"))
    assert result.exit_code == 0, result.stderr
    assert not (tmp_path / "data").exists()
    record = read_record(tmp_path / "runs/tetrominoes/generated/one_slot/seed-0")
    assert (record.n_train, record.metrics["test"].n_images) == (60, 8)
    assert record.scored["test"].generator == {"version": 1, "seed": 0}


def test_a_run_in_memory_is_the_run_on_the_same_scenes_prepared(tmp_path, monkeypatch):
    monkeypatch.setenv("OBJBENCH_DATA", str(tmp_path / "data"))
    assert call(*in_memory(tmp_path / "runs")).exit_code == 0
    sizes = ("--train", "60", "--val", "4", "--test", "8")
    assert call("prepare", "tetrominoes", "--source", "generated", *sizes).exit_code == 0
    result = call("run", "one_slot", "--dataset", "tetrominoes", "--runs", tmp_path / "runs")
    assert "seed 0: finished before" in result.stderr


def test_scenes_in_memory_are_generated_ones(tmp_path):
    arguments = in_memory(tmp_path)
    message = refused(2, *(part for part in arguments if part not in ("--source", "generated")))
    assert "--in-memory needs --source generated" in message


def test_what_makes_no_model_is_refused_before_scenes_are_made():
    bad = ["--set", "model.resolution=0"]
    found = call("run", "monet", "--dataset", "tetrominoes", "--source", "generated", "--in-memory", *bad)
    assert found.exit_code == 2
    assert (
        found.stderr.strip()
        == "objbench: monet: model.resolution: expected a whole number >= 1 or null, found 0"
    )


def test_sizes_go_with_scenes_in_memory(tmp_path):
    message = refused(2, *(part for part in in_memory(tmp_path) if part != "--in-memory"))
    assert "--train needs --in-memory" in message


def test_a_run_in_memory_needs_train_and_test(tmp_path):
    assert "--test 0: a run needs train and test" in refused(2, *in_memory(tmp_path, test="0"))
