"""A finished run at work: opened by folder and by name, on images of any size."""

from __future__ import annotations

import json
import re
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.commands import call
from helpers.default_dtype import float64_by_default
from PIL import Image

import objbench
from objbench.errors import ObjbenchError, RequestError
from objbench.metrics import score
from objbench.use.finished import open_run
from objbench.use.images import labels_at, read_image, to_size
from objbench.use.segmented import Segmented, SegmentedImage
from objbench.use.weights import shipped_weights

NAME = "objmae-small-tetrominoes"
SHORT = ("--set", "recipe.steps=3", "--set", "recipe.batch_size=6", "--set", "recipe.evaluations=1")


@pytest.fixture(scope="module")
def runs(prepared_data, tmp_path_factory):
    """Runs of objmae:demo with seed 3, of color_kmeans with seeds 0 and 1, and scores of predictions."""
    runs = tmp_path_factory.mktemp("runs")
    on = ("--dataset", "tetrominoes", "--data", prepared_data, "--runs", runs)
    assert call("run", "objmae:demo", "--seed", 3, *SHORT, *on).exit_code == 0
    assert call("run", "color_kmeans", "--seeds", 2, *on).exit_code == 0
    np.savez(runs / "mine.npz", masks=np.zeros((10, 35, 35), np.uint8))
    assert call("evaluate", runs / "mine.npz", *on).exit_code == 0
    return runs


@pytest.fixture
def scenes(prepared_data):
    return objbench.load("tetrominoes", "test", data=prepared_data)


def test_a_run_is_opened_by_every_name_of_it(runs, monkeypatch):
    (method,) = (runs / "tetrominoes/generated").glob("objmae-demo+*")
    monkeypatch.setenv("OBJBENCH_RUNS", str(runs))
    seed = method / "seed-3"
    for name in (method, seed, seed / "result.json", str(seed), seed.relative_to(runs)):
        run = open_run(name)
        assert (run.folder, run.record.seed, str(run.spec)) == (seed.resolve(), 3, "tetrominoes")
    assert repr(run).startswith(
        "FinishedRun(objmae:demo seed 3, trained on tetrominoes/generated, 35x35, 4 slots, 137,652"
    )


def test_what_is_no_run_is_refused(runs, tmp_path):
    with pytest.raises(
        RequestError, match=r"holds the runs seed-0, seed-1: name the folder of one of them, such as .*seed-0"
    ):
        open_run(runs / "tetrominoes/generated/color_kmeans")
    with pytest.raises(RequestError, match="holds scores of predictions"):
        open_run(runs / "tetrominoes/generated/external/mine/seed-0")
    with pytest.raises(
        RequestError, match=rf"expected the folder of a finished run.*{NAME}.*found no run there"
    ):
        open_run("objmae-small-tetrominos")
    with pytest.raises(RequestError, match="a folder without result"):
        open_run(tmp_path)


def test_what_is_there_is_meant(runs, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OBJBENCH_RUNS", str(runs))
    below = Path("tetrominoes/generated/color_kmeans/seed-0")
    assert open_run(below).folder == runs / below
    for name in (below, Path(NAME)):
        name.mkdir(parents=True)
        with pytest.raises(RequestError, match="a folder without result"):
            open_run(name)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("protocol", "STANDARD", "unknown protocol of tetrominoes 'STANDARD'"),
        ("dataset", "tetromino", "unknown dataset 'tetromino'"),
        ("method", "objmea", "unknown method 'objmea'"),
    ],
)
def test_a_record_with_names_that_nobody_knows_is_named(tmp_path, key, value, message):
    folder = shutil.copytree(shipped_weights()[NAME], tmp_path / "copy")
    record = json.loads((folder / "result.json").read_text())
    assert key in record
    (folder / "result.json").write_text(json.dumps(record | {key: value}))
    with pytest.raises(RequestError, match=re.escape(f"{folder / 'result.json'}: {message}")):
        open_run(folder)


def test_weights_that_are_not_those_of_the_record_are_refused(tmp_path):
    folder = tmp_path / "copy"
    shutil.copytree(shipped_weights()[NAME], folder)
    weights = bytearray((folder / "model.safetensors").read_bytes())
    weights[-1] ^= 1
    (folder / "model.safetensors").write_bytes(weights)
    with pytest.raises(ObjbenchError, match="not the weights of this record"):
        open_run(folder)


@pytest.mark.parametrize("method", ["objmae-demo", "color_kmeans/seed-1"])
def test_the_labels_of_scenes_are_those_that_were_scored(runs, scenes, method):
    (folder,) = (runs / "tetrominoes/generated").glob(method if "/" in method else f"{method}+*")
    run = open_run(folder)
    found = run.segment(scenes, batch_size=3)
    ari = score(found.labels, scenes.masks)["ari"].mean()
    assert float(ari) == pytest.approx(run.record.metrics["test"].values["ari"].mean, abs=1e-12)


def test_shipped_weights_segment():
    scenes = objbench.generate("tetrominoes", 64, seed=77, split="test")
    found = open_run(NAME).segment(scenes.images)
    assert float(score(found.labels, scenes.masks)["ari_fg"].mean()) > 0.85


def test_another_default_type_changes_no_segments(scenes):
    images = [Image.fromarray(scenes.images[0].permute(1, 2, 0).numpy()).resize((50, 40))]
    expected = open_run(NAME).segment(images)
    with float64_by_default():
        found = open_run(NAME).segment(images)
        assert torch.get_default_dtype() == torch.float64
    for name in ("labels", "masks", "reconstruction"):
        assert torch.equal(getattr(found, name), getattr(expected, name))
        assert getattr(found, name).dtype == getattr(expected, name).dtype


def test_images_of_any_kind_and_size_get_labels_of_their_size(scenes, tmp_path):
    run = open_run(NAME)
    image = scenes.images[0]
    array = image.permute(1, 2, 0).numpy()
    Image.fromarray(array).resize((70, 105), Image.Resampling.NEAREST).save(tmp_path / "large.png")
    expected = run.segment(image)
    assert isinstance(expected, SegmentedImage)
    assert expected.labels.shape == (35, 35)
    for same in (image / 255, array, Image.fromarray(array)):
        assert torch.equal(run.segment(same).labels, expected.labels)
    found = run.segment([image, tmp_path / "large.png"])
    assert isinstance(found, Segmented)
    assert [tuple(one.labels.shape) for one in found] == [(35, 35), (105, 70)]
    small = run.segment(to_size(read_image(tmp_path / "large.png"), run.size)).labels
    assert torch.equal(found[1].labels, labels_at(small, (105, 70)))
    assert float((small == expected.labels).float().mean()) > 0.95
    assert [one.name for one in found] == ["image 0", str(tmp_path / "large.png")]
    with pytest.raises(RequestError, match="2 different sizes"):
        _ = found.labels


def test_a_result_says_what_it_is(scenes):
    found = open_run(NAME).segment(scenes.images[:4])
    parts = "; masks (4, 35, 35); components (4, 3, 35, 35); slots (4, 48); reconstruction (3, 35, 35))"
    assert repr(found) == f"Segmented(4 images, labels 35x35{parts}"
    assert repr(found[1]).startswith("SegmentedImage(image 1: labels 35x35, 4 segments; masks (4, 35, 35)")
    assert len(found[1:3]) == 2
    assert [found.masks.shape, found.slots.shape] == [(4, 4, 35, 35), (4, 4, 48)]
    assert [found.components.shape, found.reconstruction.shape] == [(4, 4, 3, 35, 35), (4, 3, 35, 35)]


def test_batches_change_nothing_and_the_callers_random_numbers_stay(runs, scenes):
    run = open_run(runs / "tetrominoes/generated/color_kmeans/seed-0")
    state = torch.get_rng_state()
    whole = run.segment(scenes.images)
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(run.segment(scenes.images, batch_size=3).labels, whole.labels)
    for size in (0, 1.5):
        with pytest.raises(
            RequestError, match=f"batch_size: expected a whole number of at least 1, found {size}"
        ):
            run.segment(scenes.images, batch_size=size)


def test_threads_get_the_labels_that_one_gets(prepared_data, tmp_path, scenes):
    on = ("--dataset", "tetrominoes", "--data", prepared_data, "--runs", tmp_path)
    assert call("run", "slot_attention:demo", *SHORT, *on).exit_code == 0
    run = open_run(*tmp_path.glob("tetrominoes/generated/slot_attention*/seed-0"))
    whole = run.segment(scenes).labels
    with ThreadPoolExecutor(4) as pool:
        for found in pool.map(lambda size: run.segment(scenes, batch_size=size).labels, [2, 3, 4, 5] * 3):
            assert torch.equal(found, whole)


def test_an_image_that_is_none_is_named():
    with pytest.raises(RequestError, match="image 1: values from 0 to 255"):
        open_run(NAME).segment([torch.zeros(3, 9, 9), torch.full((3, 9, 9), 255.0).triu()])
