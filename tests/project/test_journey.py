"""The whole journey on real upstream records: TFRecord -> shards -> runs -> report, through the command line."""

from __future__ import annotations

import json

import numpy as np
import pytest
from helpers.commands import printed
from helpers.paths import FIXTURES

import objbench

MINI = FIXTURES / "tetrominoes_deepmind/tetrominoes_mini.tfrecords"


@pytest.fixture
def prepared() -> None:
    sizes = ["--train", 6, "--val", 2, "--test", 2, "--workers", 1]
    printed("prepare", "tetrominoes", "--source", "deepmind", "--raw", MINI, *sizes)


@pytest.mark.usefixtures("prepared")
def test_shards_of_real_records_are_pixel_exact():
    with np.load(MINI.with_suffix(".npz")) as truth:
        labels = truth["mask"].argmax(1)
        for split, part in (("train", slice(6)), ("test", slice(6, 8)), ("val", slice(8, 10))):
            scenes = objbench.load("tetrominoes", split)
            np.testing.assert_array_equal(scenes.images.permute(0, 2, 3, 1), truth["image"][part])
            np.testing.assert_array_equal(scenes.masks, labels[part])
            np.testing.assert_array_equal(scenes.factors["shape"], truth["shape"][part])
            assert scenes.keys == [f"{index:08d}" for index in range(10)[part]]


@pytest.mark.usefixtures("prepared")
def test_methods_run_on_real_records_and_are_reported_as_what_they_are():
    short = ["--set", "recipe.steps=3", "--set", "recipe.batch_size=6", "--set", "recipe.evaluations=1"]
    printed("run", "objmae:demo", "--dataset", "tetrominoes", *short)
    (kmeans,) = json.loads(printed("run", "color_kmeans", "--dataset", "tetrominoes", "--json"))
    assert kmeans["source"] == "deepmind"
    assert kmeans["metrics"]["test"]["ari"]["mean"] > 0.8
    table = printed("report", "--dataset", "tetrominoes")
    assert "objmae (demo)" in table
    assert "not the protocol's standard test split (2 images)" in table
    assert "trained on 6 scenes, the protocol has 60,000" in table
