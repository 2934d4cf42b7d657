"""Which factors are predicted, and as what."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from helpers.toy import dataset

from objbench.data.prepare.in_memory import generate
from objbench.data.read.scenes import Scenes
from objbench.errors import RequestError
from objbench.probe.targets import targets


def scenes_with(**factors) -> Scenes:
    count = len(next(iter(factors.values()), np.zeros(2)))
    blank = torch.zeros(count, 5, 7, dtype=torch.uint8)
    keys = [str(i) for i in range(count)]
    images = torch.zeros(count, 3, 5, 7, dtype=torch.uint8)
    return Scenes(images, blank, keys, dataset(), "test", factors)


NAMES = np.array([["", "cube", "ball"], ["", "ball", "cone"]])
PLACES = np.arange(12.0).reshape(2, 3, 2)


def test_strings_are_categories_and_numbers_numeric():
    found = targets(scenes_with(kind=NAMES, place=PLACES, floor=np.array(["a", "b"])), objects=2)
    assert [(one.name, one.kind) for one in found] == [("kind", "categorical"), ("place", "numeric")]
    assert found[0].values.tolist() == [["cube", "ball"], ["ball", "cone"]]
    assert found[1].values.tolist() == PLACES[:, 1:].tolist()
    rows, objects = np.array([0, 1, 1]), np.array([1, 0, 1])
    assert found[0].of(rows, objects).tolist() == ["ball", "ball", "cone"]
    assert found[1].of(rows, objects).tolist() == [[4, 5], [8, 9], [10, 11]]


def test_numbers_become_components():
    (found,) = targets(scenes_with(x=np.array([[0, 3, 4], [0, 5, 6]], np.uint8)), objects=2)
    assert found.kind == "numeric"
    assert found.values.dtype == np.float64
    assert found.values.tolist() == [[[3], [4]], [[5], [6]]]


def test_the_dataset_names_codes_and_what_is_predicted():
    scenes = generate("tetrominoes", 3, split="test")
    found = {one.name: one.kind for one in targets(scenes, objects=3)}
    assert found == {"shape": "categorical", "color": "numeric", "x": "numeric", "y": "numeric"}
    assert [one.name for one in targets(scenes, 3, ["y", "shape"])] == ["y", "shape"]


def test_more_objects_than_the_factors_have_rows():
    (found,) = targets(scenes_with(kind=NAMES), objects=4)
    assert found.values.shape == (2, 4)


@pytest.mark.parametrize(
    ("factors", "names", "message"),
    [
        ({}, None, "toy has no factors of objects"),
        ({"visibility": np.ones((2, 3))}, None, "toy has no factors of objects"),
        ({"floor": np.array(["a", "b"])}, None, "toy has no factors of objects"),
        ({"kind": NAMES}, ["kinds"], "unknown factor of toy 'kinds'.*kind"),
    ],
)
def test_refused(factors, names, message):
    with pytest.raises(RequestError, match=message):
        targets(scenes_with(**factors), 2, names)
