"""A run from configuration to record: what it leaves behind, when it is skipped, refused, resumed."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from filelock import FileLock
from helpers.paths import TESTS
from helpers.toy_runs import eight_slots, open_run_data, run, small_slot_attention
from PIL import Image

from objbench.data.prepare.prepare import prepare
from objbench.data.read.load import load
from objbench.errors import ObjbenchError, RequestError
from objbench.methods.base import Segmentation
from objbench.methods.trivial import OneSlot
from objbench.ranks.group import Ranks
from objbench.records import read_record
from objbench.spec.load import load_spec
from objbench.train.batches import StageScenes
from objbench.train.run import _versions
from objbench.train.run_state import run_state


def test_a_run_leaves_everything_needed_to_judge_it(prepared_data, tmp_path):
    folder, record = run(prepared_data, tmp_path)
    assert folder == tmp_path / "tetrominoes/generated/toy_geco/seed-0"
    assert sorted(path.name for path in folder.iterdir()) == [
        "checkpoint.pt",
        "config.json",
        "metrics.jsonl",
        "model.safetensors",
        "per_image.npz",
        "result.json",
        "samples.npz",
        "samples.png",
    ]
    assert read_record(folder) == record
    assert (record.n_train, record.steps, record.metrics["test"].n_images) == (24, 8, 10)
    batch = json.loads((folder / "config.json").read_text())["config"]["recipe"]["batch_size"]
    assert record.images_per_second == pytest.approx(8 * batch / record.train_seconds)
    assert 0 < record.train_seconds < record.wall_seconds
    assert record.metrics["test"].values.keys() >= {"ari", "ari_fg", "miou", "miou_fg", "miou_gt", "mse"}
    assert record.scored["test"].generator == {"version": 1, "seed": 0}
    assert not record.scored["test"].standard
    assert record.scored["test"].definition == "clevrtex"


def test_the_record_names_the_val_split_that_guided_the_training(prepared_data, tmp_path, monkeypatch):
    def follow(method, progress, metrics):
        pass

    _, plain = run(prepared_data, tmp_path / "plain")
    assert plain.val_fingerprint is None
    monkeypatch.setattr("objbench_toys.methods.ToyGeco.after_evaluation", follow)
    folder, guided = run(prepared_data, tmp_path / "guided")
    assert guided.val_fingerprint == json.loads((folder / "config.json").read_text())["fingerprints"]["val"]
    assert read_record(folder) == guided
    _, unguided = run(prepared_data, tmp_path / "never", **{"recipe.evaluations": 0})
    assert unguided.val_fingerprint is None


def test_per_image_values_average_to_the_record(prepared_data, tmp_path):
    folder, record = run(prepared_data, tmp_path)
    with np.load(folder / "per_image.npz") as values:
        assert values["test/keys"].tolist() == [f"{i:08d}" for i in range(10)]
        for name in ("ari", "miou_gt", "mse"):
            assert values[f"test/{name}"].mean() == pytest.approx(record.metrics["test"].values[name].mean)


def test_samples_hold_truth_prediction_and_masks(prepared_data, tmp_path):
    folder, _ = run(prepared_data, tmp_path)
    with np.load(folder / "samples.npz") as samples:
        assert samples["images"].shape == (10, 3, 35, 35)
        assert (samples["masks"] == load("tetrominoes", "test", data=prepared_data).masks.numpy()).all()
        assert samples["soft_masks"].shape == (10, 4, 35, 35)
        assert (samples["soft_masks"].argmax(1) == samples["prediction"]).mean() > 0.99
    with Image.open(folder / "samples.png") as picture:
        assert picture.width > 300


def test_a_finished_seed_is_skipped(prepared_data, tmp_path):
    folder, _ = run(prepared_data, tmp_path)
    stamp = (folder / "result.json").stat().st_mtime_ns
    assert run(prepared_data, tmp_path)[0] == folder
    assert (folder / "result.json").stat().st_mtime_ns == stamp


def test_a_wrong_peak_is_refused_before_anything_is_made(prepared_data, tmp_path, monkeypatch):
    monkeypatch.setenv("OBJBENCH_PEAK_TFLOPS", "-1")
    with pytest.raises(RequestError, match="OBJBENCH_PEAK_TFLOPS=-1: expected a number above 0"):
        run(prepared_data, tmp_path)
    assert not list(tmp_path.rglob("config.json"))


def test_a_wrong_peak_is_refused_before_fresh_deletes_anything(prepared_data, tmp_path, monkeypatch):
    folder, record = run(prepared_data, tmp_path)
    monkeypatch.setenv("OBJBENCH_PEAK_TFLOPS", "abc")
    with pytest.raises(RequestError, match="OBJBENCH_PEAK_TFLOPS=abc: expected a number above 0"):
        run(prepared_data, tmp_path, fresh=True)
    assert read_record(folder) == record
    assert (folder / "model.safetensors").exists()


def test_fresh_deletes_nothing_for_batches_that_cannot_be_made(prepared_data, tmp_path, monkeypatch):
    folder, record = run(prepared_data, tmp_path)
    monkeypatch.setattr(
        StageScenes, "__init__", lambda *_: (_ for _ in ()).throw(RequestError("too few scenes"))
    )
    with pytest.raises(RequestError, match="too few scenes"):
        run(prepared_data, tmp_path, fresh=True)
    assert read_record(folder) == record
    assert (folder / "model.safetensors").exists()


def test_fresh_deletes_the_run(prepared_data, tmp_path):
    folder, _ = run(prepared_data, tmp_path)
    (folder / "left-over").touch()
    run(prepared_data, tmp_path, fresh=True)
    assert not (folder / "left-over").exists()
    assert (folder / "result.json").exists()


def test_another_configuration_in_the_same_place_is_refused(prepared_data, tmp_path):
    folder, _ = run(prepared_data, tmp_path)
    config = json.loads((folder / "config.json").read_text())
    config["config"]["model"]["width"] = 99
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(RequestError, match=r"config.model.width is 99 there, 8 asked; --fresh"):
        run(prepared_data, tmp_path)


def test_files_of_unknown_origin_are_not_adopted(prepared_data, tmp_path):
    folder, _ = run(prepared_data, tmp_path)
    (folder / "config.json").unlink()
    with pytest.raises(RequestError, match=r"seed-0 holds files but no config.json, .* --fresh deletes them"):
        run(prepared_data, tmp_path)


def test_a_configuration_of_which_nothing_came_is_replaced(prepared_data, tmp_path):
    with pytest.raises(RequestError, match="a batch of 99"):
        run(prepared_data, tmp_path, **{"recipe.batch_size": 99})
    (refused,) = tmp_path.rglob("config.json")
    config = json.loads(refused.read_text())
    refused.write_text(json.dumps(config | {"seed": 7}))
    with pytest.raises(RequestError, match="a batch of 99"):
        run(prepared_data, tmp_path, **{"recipe.batch_size": 99})


def test_a_missing_shard_is_noticed_before_the_training(prepared_data, tmp_path):
    shutil.copytree(prepared_data, tmp_path / "data")
    (tmp_path / "data/tetrominoes/generated/test-000000.tar").unlink()
    with pytest.raises(ObjbenchError, match=r"test-000000.tar: is missing, .* objbench verify"):
        open_run_data(tmp_path / "data")


def test_a_dataset_in_a_folder_of_another_name_is_refused(prepared_data, tmp_path):
    shutil.copytree(prepared_data / "tetrominoes", tmp_path / "tetrominoes@aligned")
    with pytest.raises(
        ObjbenchError, match=r"is of tetrominoes@standard from generated, which is not what its folder"
    ):
        open_run_data(tmp_path, "tetrominoes@aligned")


def test_a_method_that_writes_into_its_input_is_scored_against_the_images(
    prepared_data, tmp_path, monkeypatch
):
    def segment(self, images, progress=None):
        return Segmentation(labels=images.fill_(0.5)[:, 0].long(), reconstruction=images)

    honest = run(prepared_data, tmp_path / "honest", "one_slot")[1].metrics["test"].values["mse"].mean
    monkeypatch.setattr(OneSlot, "segment", segment)
    scores = run(prepared_data, tmp_path, "one_slot")[1].metrics["test"].values
    assert scores["mse"].mean > honest > 0.01


def test_overrides_have_a_folder_of_their_own(prepared_data, tmp_path):
    one, _ = run(prepared_data, tmp_path, **{"model.width": 4})
    two, _ = run(prepared_data, tmp_path, **{"model.width": 5})
    assert one.parent.name.startswith("toy_geco+")
    assert one != two


def test_two_processes_do_not_share_a_seed(prepared_data, tmp_path):
    folder = tmp_path / "tetrominoes/generated/toy_geco/seed-0"
    folder.mkdir(parents=True)
    with (
        FileLock(folder.with_name(".seed-0.lock")),
        pytest.raises(ObjbenchError, match="seed-0: another process is running this seed"),
    ):
        run(prepared_data, tmp_path)


def test_gpus_of_two_models_do_not_share_a_run(monkeypatch):
    names = iter(["NVIDIA H200", "NVIDIA A100", "NVIDIA H200"])
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: next(names))
    first, other, again = (_versions(torch.device("cuda", number)) for number in range(3))
    assert first == again
    monkeypatch.setattr(Ranks, "gather", lambda self, facts: [facts, other])
    with pytest.raises(RequestError, match="device is NVIDIA H200 in process 0, NVIDIA A100 in process 1"):
        Ranks(0, 2).refuse_difference(first)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 7)
    assert _versions(torch.device("cpu"))["device"] == "cpu"


def test_a_damaged_config_is_named(prepared_data, tmp_path):
    folder, _ = run(prepared_data, tmp_path)
    (folder / "config.json").write_text("{")
    with pytest.raises(ObjbenchError, match=r"config.json: damaged"):
        run(prepared_data, tmp_path)


def test_trivial_methods_need_no_training(prepared_data, tmp_path):
    _, record = run(prepared_data, tmp_path, "one_slot")
    assert (record.steps, record.parameters, record.images_per_second) == (0, 0, None)
    scores = record.metrics["test"].values
    assert scores["ari"].mean == 0
    assert scores["ari_fg"].mean == 0
    assert scores["miou"].mean == pytest.approx(925 / 1225 / 4)  # the background's IoU over four regions


def test_color_kmeans_tells_colours_apart(prepared_data, tmp_path):
    scores = run(prepared_data, tmp_path, "color_kmeans")[1].metrics["test"].values
    assert (
        0.4 < scores["ari_fg"].mean < 0.9
    )  # pieces of one colour fall together, shades of one piece fall apart
    assert scores["mse"].mean < 0.02


def test_evaluation_does_not_depend_on_the_batch_size(prepared_data, tmp_path):
    folders = [
        run(prepared_data, tmp_path / str(size), **{"recipe.evaluation_batch_size": size})[0]
        for size in (3, 10)
    ]
    one, two = (np.load(folder / "per_image.npz")["test/mse"] for folder in folders)
    np.testing.assert_allclose(one, two, rtol=1e-5)


def test_train_and_test_must_be_prepared(tmp_path):
    prepare(
        load_spec().dataset("tetrominoes"),
        "generated",
        tmp_path,
        sizes={"train": 4, "val": 0, "test": 0},
        workers=1,
    )
    with pytest.raises(RequestError, match=r"tetrominoes \(generated\) was prepared without test"):
        open_run_data(tmp_path)


def start_run(data: Path, runs: Path) -> subprocess.Popen:
    arguments = ["run", "toy_geco", "--dataset", "tetrominoes", "--set", "recipe.steps=400"]
    arguments += ["--set", "recipe.checkpoint_steps=20", "--set", "recipe.evaluations=6", "--runs", str(runs)]
    environment = os.environ | {"PYTHONPATH": str(TESTS / "plugins"), "OBJBENCH_DATA": str(data)}
    command = [sys.executable, "-c", "from objbench.cli import main; main()", *arguments]
    return subprocess.Popen(
        command, env=environment, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )


def test_killed_run_goes_on_where_it_stood_and_ends_bit_identical(prepared_data, tmp_path):
    whole = start_run(prepared_data, tmp_path / "whole")
    killed = start_run(prepared_data, tmp_path / "killed")
    checkpoints = tmp_path / "killed"
    while not list(checkpoints.rglob("checkpoint.pt")) and killed.poll() is None:
        time.sleep(0.01)
    killed.send_signal(signal.SIGKILL)
    killed.communicate()
    assert not list(checkpoints.rglob("result.json"))
    resumed = start_run(prepared_data, checkpoints)
    assert resumed.communicate(timeout=120)[0], resumed.returncode
    assert whole.communicate(timeout=120)[0]
    for name in ("metrics.jsonl", "model.safetensors"):
        (one,), (two,) = ((tmp_path / run).rglob(name) for run in ("whole", "killed"))
        assert one.read_bytes() == two.read_bytes(), name
    (record,) = (read_record(path) for path in checkpoints.rglob("result.json"))
    assert record.steps == 400


def test_data_replaced_while_the_run_is_at_work_is_refused(tmp_path):
    tetrominoes = load_spec().dataset("tetrominoes")
    sizes = {"train": 4, "val": 0, "test": 5}
    prepare(tetrominoes, "generated", tmp_path, sizes=sizes, workers=1)
    run_data = open_run_data(tmp_path)
    assert len(run_data.train) == 4
    shutil.rmtree(tmp_path / "tetrominoes")
    prepare(tetrominoes, "generated", tmp_path, sizes=sizes, seed=5, workers=1)
    with pytest.raises(ObjbenchError, match=r"tetrominoes \(generated\), test: the data was replaced while"):
        _ = run_data.tests


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        torch.OutOfMemoryError("CUDA out of memory."),
        RuntimeError("[enforce fail at alloc_cpu.cpp:127] . DefaultCPUAllocator: can't allocate memory"),
    ],
)
def test_out_of_memory_names_the_remedy(prepared_data, tmp_path, monkeypatch, error):
    def segment(self, images, progress=None):
        raise error

    monkeypatch.setattr(OneSlot, "segment", segment)
    with pytest.raises(ObjbenchError, match=r"seed-0: out of memory \(.*\); a smaller recipe.batch_size"):
        run(prepared_data, tmp_path, "one_slot")
    (reason,) = [run_state(path.parent).reason for path in tmp_path.rglob("config.json")]
    assert reason.startswith("out of memory (")
    assert "; a smaller recipe.batch_size or recipe.evaluation_batch_size needs less" in reason


def test_slots_are_recorded_and_another_number_is_another_run(prepared_data, tmp_path):
    folder, record = small_slot_attention(prepared_data, tmp_path / "runs", eight_slots(tmp_path))
    assert record.slots == 8
    assert json.loads((folder / "config.json").read_text())["config"]["slots"] == 8
    assert json.loads((folder / "result.json").read_text())["slots"] == 8
    with pytest.raises(RequestError, match=r"another configuration: config.slots"):
        small_slot_attention(prepared_data, tmp_path / "runs")
    other, own = small_slot_attention(prepared_data, tmp_path / "runs", slots=4)
    assert other != folder
    assert (own.slots, own.overrides["slots"]) == (4, 4)
    assert own.config_hash != record.config_hash
