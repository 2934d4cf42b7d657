"""Scenes as a torch dataset: samples by position, parts as Scenes, batches by a DataLoader."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, Dataset

import objbench
from objbench.data.read.scenes import Scenes


@pytest.fixture(scope="module")
def scenes() -> Scenes:
    return objbench.generate("tetrominoes", 10, seed=3)


def test_a_sample_is_that_of_the_stream(prepared_data):
    scenes = objbench.load("tetrominoes", "test", data=prepared_data)
    for found, expected in zip(
        scenes, objbench.stream("tetrominoes", "test", data=prepared_data), strict=True
    ):
        assert found.keys() == expected.keys()
        for name in ("__key__", "index", "n_objects"):
            assert (found[name], type(found[name])) == (expected[name], type(expected[name]))
        for name in ("image", "mask"):
            assert torch.equal(found[name], expected[name])
        assert found["factors"].keys() == expected["factors"].keys()
        for name, values in expected["factors"].items():
            torch.testing.assert_close(found["factors"][name], values)


def test_positions_slices_lists_and_masks(scenes):
    assert isinstance(scenes, Dataset)
    for index, expected in (
        (slice(2, 8, 3), [2, 5]),
        ([7, -1, 0], [7, 9, 0]),
        (np.array([1, 3]), [1, 3]),
        (torch.tensor([4]), [4]),
        (scenes.n_objects < 0, []),
        (np.arange(10) > 7, [8, 9]),
        ([True] * 2 + [False] * 8, [0, 1]),
        (slice(None, None, -4), [9, 5, 1]),
        (np.arange(10)[::-3], [9, 6, 3, 0]),
        ([], []),
    ):
        part = scenes[index]
        assert isinstance(part, Scenes)
        assert scenes.select(index).keys == part.keys
        assert part.n_objects.tolist() == [3] * len(expected)
        assert part.keys == [scenes.keys[row] for row in expected]
        assert torch.equal(part.images, scenes.images[expected])
        assert np.array_equal(part.factors["x"], scenes.factors["x"][expected])
    for index, row in ((4, 4), (-1, 9), (np.int64(2), 2), (torch.tensor(3), 3)):
        assert scenes[index]["__key__"] == scenes.keys[row]
        assert torch.equal(scenes[index]["mask"], scenes.masks[row])


@pytest.mark.parametrize("index", [10, -11, [0, 10]])
def test_positions_outside_end_a_loop(scenes, index):
    with pytest.raises(IndexError, match=r"scene -?1[01] of 10"):
        scenes[index]
    with pytest.raises(IndexError, match=r"scene -?1[01] of 10"):
        scenes.select(index)


@pytest.mark.parametrize("index", [1.5, "image", [0.5], None, [[1]], [True, False]])
def test_other_indices_are_refused(scenes, index):
    with pytest.raises(TypeError, match="Scenes are indexed by whole numbers, slices and lists"):
        scenes[index]
    with pytest.raises(TypeError, match="Scenes are indexed by whole numbers, slices and lists"):
        scenes.select(index)


def test_one_scene_is_no_selection(scenes):
    with pytest.raises(TypeError, match=r"select takes several scenes, .*; scenes\[3\] is a sample"):
        scenes.select(3)


def test_objects_of_scenes_without_a_visibility_are_counted_in_the_masks(scenes):
    bare = Scenes(scenes.images, scenes.masks, scenes.keys, scenes.spec, "train", {})
    assert bare.n_objects.tolist() == [3] * 10
    assert bare[[]].n_objects.tolist() == []


@pytest.mark.parametrize("workers", [0, 2])
def test_a_data_loader_makes_batches(scenes, workers):
    batches = list(DataLoader(scenes, batch_size=4, num_workers=workers))
    assert torch.equal(torch.cat([batch["image"] for batch in batches]), scenes.images)
    assert [key for batch in batches for key in batch["__key__"]] == scenes.keys
    assert torch.equal(
        torch.cat([batch["factors"]["x"] for batch in batches]), torch.from_numpy(scenes.factors["x"])
    )


def test_factors_that_are_words_stay_words(scenes):
    words = Scenes(
        scenes.images[:2],
        scenes.masks[:2],
        scenes.keys[:2],
        scenes.spec,
        "test",
        {"word": np.array([["a", "b"], ["c", "d"]])},
    )
    assert words[1]["factors"] == {"word": ["c", "d"]}


def test_scenes_say_what_they_are(scenes):
    assert repr(scenes) == "Scenes(tetrominoes train, 10 of (3, 35, 35), cpu)"


def test_scenes_go_to_processes_that_are_not_forked(prepared_data):
    loaded = objbench.load("tetrominoes", "test", data=prepared_data)
    for scenes in (loaded, loaded[:2], loaded.to("cpu")):
        copy = pickle.loads(pickle.dumps(scenes))
        assert torch.equal(copy.images, scenes.images)
        assert {name: values.tolist() for name, values in copy.factors.items()} == {
            name: values.tolist() for name, values in scenes.factors.items()
        }
