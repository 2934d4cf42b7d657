"""CLEVR from files in EfficientMORL's layout: two numbers of entities, factors in some files, any number of rows."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest
from helpers import clevr
from helpers.clevr import samples
from helpers.tfrecords import request

from objbench.data.prepare.prepare import prepare
from objbench.data.sources.base import SourceRequest, SplitPlan
from objbench.data.sources.emorl import EmorlSource
from objbench.errors import ObjbenchError
from objbench.spec.datasets import DatasetRef
from objbench.spec.load import load_spec

ROWS = [1, 1, 3, 1]  # of the fixture: at most seven labels, as far as they are seen
FACTORS = ("x", "y", "z", "rotation", "size", "material", "shape", "color", "visibility")


def columns(rows: list[int], extra: int = 0) -> np.ndarray:
    """Factors (N,11,9 + extra): row + entity / 100 + column / 1000, the last column the visibility."""
    n, e, f = np.meshgrid(rows, range(11), range(9 + extra), indexing="ij")
    values = n + e / 100 + f / 1000
    values[..., -1] = (e <= np.array(clevr.OBJECTS)[n])[..., 0]
    return values.astype(np.float32)


def file(
    path: Path, role: str, rows: list[int], entities: int = 11, factors: np.ndarray | None = None
) -> None:
    images, labels = zip(*map(clevr.native, rows), strict=True)
    labels = [np.where(mask < entities, mask, 0) for mask in labels]
    masks = np.stack([[mask == entity for entity in range(entities)] for mask in labels])
    with h5py.File(path, "w") as h5:
        h5[f"{role}/imgs"] = np.stack(images).astype(np.float32)
        h5[f"{role}/masks"] = masks[..., None] * np.uint8(255)
        if factors is not None:
            h5[f"{role}/factors"] = factors


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    file(tmp_path / "clevr6_with_masks_train.h5", "train", ROWS, entities=7)
    file(tmp_path / "clevr6_with_masks_and_factors_test.h5", "test", [3, 1], factors=columns([3, 1]))
    return tmp_path


def test_shards_hold_the_pixels_that_pillow_makes(folder: Path) -> None:
    sizes = {"train": 2, "val": 1, "test": 2}
    manifest = prepare(load_spec().dataset("clevr6"), "emorl", folder, raw=folder, sizes=sizes, workers=1)
    assert manifest.splits["train"].object_counts == {4: 2}
    for split, rows in {"train": ROWS[:2], "val": ROWS[2:3], "test": [3, 1]}.items():
        for row, sample in zip(rows, samples(folder / "clevr6/emorl", split).values(), strict=True):
            image, mask = clevr.expected(row)
            assert np.array_equal(sample.image, image)
            assert np.array_equal(sample.mask, np.where(mask < 7, mask, 0) if split != "test" else mask)
    test = samples(folder / "clevr6/emorl", "test")
    assert [sample.facts["n_objects"] for sample in test.values()] == [8, 4]
    assert test[0].facts["factors"]["color"] == columns([3])[0, :, 7].astype(float).tolist()
    assert test[0].facts["factors"]["visibility"] == [1.0] * 9 + [0.0] * 2
    assert set(test[0].facts["factors"]) == set(FACTORS)
    assert samples(folder / "clevr6/emorl", "train")[0].facts.keys() == {"index", "n_objects", "visible"}


def with_short_val(folder: Path, **sizes: int) -> EmorlSource:
    """The source of a protocol that holds out the last two rows of the train file."""
    reference = load_spec().dataset("clevr6")
    rules = reference.rule.sources["emorl"]
    short = rules | {
        "train": rules["train"].model_copy(update={"stop": -2}),
        "val": rules["val"].model_copy(update={"start": -2}),
    }
    protocol = reference.rule.model_copy(update={"sources": {"emorl": short}})
    spec = reference.spec.model_copy(update={"protocols": {"standard": protocol}})
    return EmorlSource(SourceRequest(DatasetRef("clevr6", "standard", spec), "emorl", folder, sizes))


def test_the_number_of_rows_is_the_files(folder: Path) -> None:
    assert with_short_val(folder, test=0).plan() == [
        SplitPlan("train", "train", 0, 2),
        SplitPlan("val", "train", 2, 4),
    ]


def test_too_few_rows_for_a_split_are_refused(folder: Path) -> None:
    source = EmorlSource(request("emorl", folder, "clevr6", test=0))
    with pytest.raises(ObjbenchError, match=r"train.h5: holds 4 records; .* needs at least 321 in it"):
        source.plan()


def test_columns_without_a_name_are_kept(tmp_path: Path) -> None:
    file(tmp_path / "clevr10_with_masks_and_factors_train.h5", "train", [0, 2], factors=columns([0, 2], 3))
    source = EmorlSource(request("emorl", tmp_path, "clevr10", val=0, test=0))
    ((_, block),) = source.read([SplitPlan("train", "train", 0, 2)], {})
    factors = block.decode().factors
    assert np.array_equal(factors["unnamed"], columns([0, 2], 3)[..., 8:11])
    assert (factors["visibility"].sum(1) - 1).tolist() == [7, 10]


def test_blocks_are_small_in_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file(tmp_path / "clevr10_with_masks_and_factors_train.h5", "train", [0, 1, 2])
    monkeypatch.setattr("objbench.data.sources.emorl.BYTES_PER_JOB", 2 * (4 * 230_400 + 844_800))
    source = EmorlSource(request("emorl", tmp_path, "clevr10", val=0, test=0))
    blocks = [block for _, block in source.read([SplitPlan("train", "train", 0, 3)], {})]
    assert [len(block) for block in blocks] == [2, 1]
    assert blocks[0][1:].decode().index.tolist() == [1]


@pytest.mark.parametrize(
    ("dataset", "entities", "message"),
    [
        ("clevr6", 6, r"masks has the shape Nx6x240x320x1, expected Nx7x240x320x1 or Nx11x240x320x1"),
        ("clevr10", 7, r"masks has the shape Nx7x240x320x1, expected Nx11x240x320x1"),
    ],
)
def test_other_numbers_of_entities_are_refused(
    tmp_path: Path, dataset: str, entities: int, message: str
) -> None:
    file(tmp_path / "a.h5", "train", [1], entities)
    with pytest.raises(ObjbenchError, match=message):
        EmorlSource(request("emorl", tmp_path / "a.h5", dataset, val=0, test=0))


def test_factors_of_another_form_are_refused(tmp_path: Path) -> None:
    file(tmp_path / "a.h5", "train", [1], factors=columns([1])[..., :5])
    with pytest.raises(ObjbenchError, match=r"factors has the shape Nx11x5, expected NxExF, F at least 9"):
        EmorlSource(request("emorl", tmp_path / "a.h5", "clevr6", val=0, test=0))


def test_a_damaged_row_is_left_out_and_listed(folder: Path) -> None:
    with h5py.File(folder / "clevr6_with_masks_train.h5", "a") as h5:
        h5["train/masks"][1, 2, 7, 9] = 255
    sizes = {"train": 3, "val": 1, "test": 0}
    prepared = load_spec().dataset("clevr6"), "emorl", folder, folder, sizes
    message = (
        r"/train, row 1: the pixel in row 7, column 9 lies in 2 entity masks, expected exactly 1; --skip-bad"
    )
    with pytest.raises(ObjbenchError, match=message):
        prepare(*prepared, workers=1)
    manifest = prepare(*prepared, workers=1, skip_bad=True)
    assert [scene.index for scene in manifest.splits["train"].skipped] == [1]
    assert list(samples(folder / "clevr6/emorl", "train")) == [0, 2]
    assert manifest.splits["train"].count == 2


def test_every_row_of_the_paper_protocol_is_in_train(folder: Path) -> None:
    spec = load_spec()
    for name in ("tetrominoes", "multi_dsprites", "clevr6"):
        rules = spec.dataset(f"{name}@paper").rule.sources["emorl"]
        assert [(r.file, r.start, r.stop, r.in_train) for r in rules.values()] == [
            ("train", 0, None, False),
            ("train", -320, None, True),
            ("test", 0, None, False),
        ]
    manifest = prepare(
        spec.dataset("clevr6@paper"), "emorl", folder, folder, {"val": 0, "test": 0}, workers=1
    )
    assert list(samples(folder / "clevr6@paper/emorl", "train")) == [0, 1, 2, 3]
    assert manifest.splits["train"].standard
