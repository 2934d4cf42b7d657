"""Objects Room from files in DeepMind's layout: the first four entities are the room, which is background."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest
from helpers.clevr import samples
from helpers.paths import FIXTURES
from helpers.tfrecords import bytes_feature, example, request, write

from objbench.data.prepare.prepare import prepare
from objbench.data.sources.deepmind import DeepMindSource
from objbench.errors import ObjbenchError, RequestError
from objbench.spec.datasets import Select
from objbench.spec.load import load_spec

ENTITIES = {
    "objects_room": 7,
    "objects_room_six_objects": 10,
    "objects_room_identical_color": 10,
    "objects_room_empty_room": 4,
}
FIXTURE = FIXTURES / "objects_room" / "objects_room_train.tfrecords"  # what `record` writes for 0, 1 and 2


def scene(entities: int, index: int) -> tuple[np.ndarray, np.ndarray]:
    """Image and entity map: a sky, a floor, two walls, and squares; entity 5 of odd scenes is absent."""
    random = np.random.default_rng([index, entities])
    ids = np.zeros((64, 64), np.uint8)
    ids[40:] = 1
    ids[20:40, :32], ids[20:40, 32:] = 2, 3
    for entity in range(4, entities):
        if entity != 5 or index % 2 == 0:
            y, x = 2 + 8 * (entity - 4), random.integers(0, 56)
            ids[y : y + 7, x : x + 7] = entity
    return random.integers(0, 256, (entities, 3), np.uint8)[ids], ids


def record(entities: int, index: int) -> bytes:
    image, ids = scene(entities, index)
    mask = np.stack([(ids == entity) * np.uint8(255) for entity in range(entities)])[..., None]
    assert mask.shape == (entities, 64, 64, 1)
    return example({"image": bytes_feature(image), "mask": bytes_feature(mask)})


def test_the_fixture_is_what_this_file_writes(tmp_path: Path) -> None:
    written = write(tmp_path / "a.tfrecords", [record(7, index) for index in range(3)])
    assert gzip.decompress(FIXTURE.read_bytes()) == gzip.decompress(written.read_bytes())


def test_a_train_file_is_cut_into_three_splits(tmp_path: Path) -> None:
    sizes = {"train": 1, "val": 1, "test": 1}
    dataset = load_spec().dataset("objects_room")
    prepare(dataset, "deepmind", tmp_path, raw=FIXTURE, sizes=sizes, workers=1)
    folder = tmp_path / "objects_room" / "deepmind"
    found = {split: samples(folder, split) for split in sizes}
    assert {split: list(of_split) for split, of_split in found.items()} == {
        "train": [0], "test": [1], "val": [2],
    }  # fmt: skip
    for of_split in found.values():
        for index, sample in of_split.items():
            image, ids = scene(7, index)
            assert np.array_equal(sample.image, image)
            assert np.array_equal(sample.mask, np.where(ids < 4, 0, ids))
            assert sample.facts["n_objects"] == 3 - index % 2
            assert sample.facts["visible"] == ([4, 6] if index % 2 else [4, 5, 6])
            assert sample.facts.get("factors", {}) == {}


@pytest.mark.parametrize("name", [name for name in ENTITIES if name != "objects_room"])
@pytest.mark.parametrize("count", [1, 5])
def test_a_test_set_is_the_whole_file_whatever_its_length(tmp_path: Path, name: str, count: int) -> None:
    entities = ENTITIES[name]
    file = f"objects_room_test_{name.removeprefix('objects_room_')}.tfrecords"
    write(tmp_path / file, [record(entities, index) for index in range(count)])
    manifest = prepare(load_spec().dataset(name), "deepmind", tmp_path, raw=tmp_path, workers=1)
    assert list(manifest.splits) == ["test"]
    split = manifest.splits["test"]
    assert (split.count, split.standard, split.records.start, split.records.stop) == (count, True, 0, count)
    objects = {index: max(entities - 4 - index % 2, 0) for index in range(count)}
    assert split.object_counts == {n: list(objects.values()).count(n) for n in sorted({*objects.values()})}


def test_of_a_test_set_of_unknown_length_no_more_than_it_has_can_be_asked(tmp_path: Path) -> None:
    path = write(tmp_path / "six.tfrecords", [record(10, index) for index in range(3)])
    name = "objects_room_six_objects"
    first = DeepMindSource(request("deepmind", path, name, test=2)).plan()
    assert [(plan.start, plan.stop, plan.standard) for plan in first] == [(0, 2, False)]
    with pytest.raises(RequestError, match=f"--test 4: {name} .deepmind. has 3 test scenes by its protocol"):
        DeepMindSource(request("deepmind", path, name, test=4)).plan()


def test_a_file_of_another_variant_is_recognised_by_its_entities(tmp_path: Path) -> None:
    path = write(tmp_path / "six.tfrecords", [record(10, 0)])
    message = r"mask has 40960 values, expected 28672 = 7x64x64x1: are there 10 entities\?"
    with pytest.raises(ObjbenchError, match=message):
        DeepMindSource(request("deepmind", path, "objects_room"))


def test_nothing_can_be_selected_by_a_visibility_that_is_not_there() -> None:
    asked = request("deepmind", FIXTURE, "objects_room")
    asked.dataset.spec.protocols["standard"] = asked.dataset.rule.model_copy(
        update={"select": {"deepmind": Select(max_objects=2)}}
    )
    with pytest.raises(RequestError, match="'objects_room' have no `visibility`, by which max_objects"):
        DeepMindSource(asked)


@pytest.mark.parametrize("name", list(ENTITIES))
def test_entities_and_slots_are_the_published_ones(name: str) -> None:
    spec = load_spec().datasets[name]
    assert spec.slots == 7
    assert spec.sources["deepmind"].entities == [ENTITIES[name]]
