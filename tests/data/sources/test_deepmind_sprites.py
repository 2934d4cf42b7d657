"""The three sets of Multi-dSprites from files in DeepMind's layout: the entity axis is the third of a mask."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from helpers.clevr import samples
from helpers.tfrecords import bytes_feature, example, float_feature, request, write

from objbench.data.prepare.prepare import prepare
from objbench.data.sources.deepmind import DeepMindSource
from objbench.errors import ObjbenchError
from objbench.spec.load import load_spec

ENTITIES = {"multi_dsprites": 6, "multi_dsprites_binarized": 4, "multi_dsprites_colored": 5}
FILES = {
    "multi_dsprites": "multi_dsprites_colored_on_grayscale.tfrecords",
    "multi_dsprites_binarized": "multi_dsprites_binarized.tfrecords",
    "multi_dsprites_colored": "multi_dsprites_colored_on_colored.tfrecords",
}


def scene(name: str, index: int) -> tuple[np.ndarray, np.ndarray, dict[str, np.ndarray]]:
    """Image, label map and factors of squares, where higher ids lie in front; entity 2 of odd scenes is absent."""
    random = np.random.default_rng([index, ENTITIES[name]])
    labels = np.zeros((64, 64), np.uint8)
    present = [e for e in range(1, ENTITIES[name]) if e != 2 or index % 2 == 0]
    for entity in present:
        y, x = random.integers(0, 48, 2)
        labels[y : y + 12, x : x + 12] = entity
    if name == "multi_dsprites_binarized":
        image = np.where(labels > 0, 255, 0).astype(np.uint8)[..., None]
    else:
        image = random.integers(0, 256, (ENTITIES[name], 3), np.uint8)[labels]
    factors = {
        f: random.random(ENTITIES[name], np.float32) for f in ("x", "y", "shape", "orientation", "scale")
    }
    factors["visibility"] = np.array([e == 0 or e in present for e in range(ENTITIES[name])], np.float32)
    if name != "multi_dsprites_binarized":
        factors["color"] = random.random((ENTITIES[name], 3), np.float32)
    return image, labels, factors


def record(name: str, index: int) -> bytes:
    image, labels, factors = scene(name, index)
    mask = np.stack([(labels == entity) * np.uint8(255) for entity in range(ENTITIES[name])], axis=2)
    assert mask[..., None].shape == (64, 64, ENTITIES[name], 1)
    features = {"mask": bytes_feature(mask), "image": bytes_feature(image)}
    return example(features | {factor: float_feature(values) for factor, values in factors.items()})


@pytest.mark.parametrize("name", list(ENTITIES))
def test_shards_hold_the_scenes_of_the_file(tmp_path: Path, name: str) -> None:
    write(tmp_path / FILES[name], [record(name, index) for index in range(4)])
    sizes = {"train": 2, "val": 1, "test": 1}
    prepare(load_spec().dataset(name), "deepmind", tmp_path, raw=tmp_path, sizes=sizes, workers=1)
    found = {}
    for split in sizes:
        found |= samples(tmp_path / name / "deepmind", split)
    assert list(found) == [0, 1, 3, 2]  # an incomplete file is cut train, test, val
    for index, sample in found.items():
        image, labels, factors = scene(name, index)
        assert np.array_equal(sample.image, np.broadcast_to(image, (64, 64, 3)))
        assert np.array_equal(sample.mask, labels)
        assert sample.facts["n_objects"] == ENTITIES[name] - 1 - index % 2
        assert sample.facts["factors"] == {
            factor: values.astype(float).tolist() for factor, values in factors.items()
        }


@pytest.mark.parametrize(("name", "sister"), [("multi_dsprites", "multi_dsprites_colored")])
def test_a_sister_set_is_recognised_by_its_entities(tmp_path: Path, name: str, sister: str) -> None:
    write(tmp_path / FILES[name], [record(sister, 0)])
    message = r"mask has 20480 values, expected 24576 = 64x64x6x1: are there 5 entities\?"
    with pytest.raises(ObjbenchError, match=message):
        DeepMindSource(request("deepmind", tmp_path, name))


def test_an_image_of_one_channel_is_recognised(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tfrecords", [record("multi_dsprites_binarized", 0)])
    with pytest.raises(
        ObjbenchError, match=r"image has 4096 values.*: is its layout multi_dsprites_binarized\?"
    ):
        DeepMindSource(request("deepmind", path, "multi_dsprites"))


@pytest.mark.parametrize("name", list(ENTITIES))
def test_the_slots_are_the_entities(name: str) -> None:
    spec = load_spec().datasets[name]
    assert spec.slots == ENTITIES[name]
    assert spec.sources["deepmind"].files["data"] == [FILES[name]]
    assert spec.sources["deepmind"].entities == [ENTITIES[name]]
