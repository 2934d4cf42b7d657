"""ClevrTex from its unpacked folder: scenes, factors, plans, and other releases."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from helpers.clevrtex import FIXTURES, OBJECTS, edit, opened, small, unpack
from helpers.sources import scenes
from helpers.special_files import SPECIAL
from PIL import Image

from objbench.data.sources.base import SplitPlan
from objbench.errors import ObjbenchError
from objbench.spec.load import load_spec


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    """Twelve scenes, unpacked."""
    return unpack(tmp_path)


@pytest.mark.parametrize(("dataset", "variant"), [("clevrtex", "full"), ("clevrtex_vbg", "vbg")])
def test_a_scene_is_what_pillow_and_json_read(dataset: str, variant: str) -> None:
    count = len(OBJECTS[variant])
    batch = scenes(opened(FIXTURES, dataset, train=0, val=0, test=count))["test"]
    assert batch.index.tolist() == list(range(count))
    assert (batch.images.dtype, batch.masks.dtype) == (np.uint8, np.uint8)
    for row in range(count):
        stem = FIXTURES / f"clevrtex_{variant}" / "0" / f"CLEVRTEX_{variant}_{row:06d}"
        with Image.open(f"{stem}.png") as image, Image.open(f"{stem}_flat.png") as mask:
            assert (image.mode, mask.mode) == ("RGBA", "P")
            assert np.array_equal(batch.images[row], np.asarray(image)[..., :3])
            assert np.array_equal(batch.masks[row], np.asarray(mask))
        facts = json.loads(Path(f"{stem}.json").read_text())
        objects = facts["objects"]
        spare = 10 - len(objects)
        assert batch.factors["ground_material"][row] == facts["ground_material"]
        for name in ("shape", "material", "size", *(["color"] if variant == "vbg" else [])):
            assert batch.factors[name][row].tolist() == ["", *(item[name] for item in objects), *[""] * spare]
        assert batch.factors["rotation"][row].tolist() == [
            0,
            *(item["rotation"] for item in objects),
            *[0] * spare,
        ]
        for name in ("3d_coords", "pixel_coords"):
            filled = [[0] * 3, *(item[name] for item in objects), *[[0] * 3] * spare]
            assert batch.factors[name][row].tolist() == filled
        assert batch.factors["visibility"][row].tolist() == [1] * (1 + len(objects)) + [0] * spare
    assert ("color" in batch.factors) == (variant == "vbg")


def test_the_factors_are_those_that_the_card_explains() -> None:
    for dataset in ("clevrtex", "clevrtex_vbg"):
        batch = scenes(opened(FIXTURES, dataset, train=0, val=0, test=1))["test"]
        assert set(batch.factors) == set(load_spec().datasets[dataset].sources["official"].factors)


def test_rows_follow_the_index_of_an_object_and_not_its_place_in_the_list(raw: Path) -> None:
    before = scenes(small(raw))["test"].factors
    edit(raw, lambda facts: facts["objects"].reverse())
    after = scenes(small(raw))["test"].factors
    assert all(np.array_equal(before[name], after[name]) for name in before)


@pytest.mark.parametrize("given", [".", "clevrtex_full"])
def test_the_folder_or_the_one_it_lies_in(raw: Path, given: str) -> None:
    found = scenes(small(raw / given))
    assert {split: batch.index.tolist() for split, batch in found.items()} == {
        "test": [0, 1, 2],
        "val": [3, 4, 5],
        "train": [6, 7, 8, 9, 10, 11],
    }
    assert found["train"].factors["rotation"][:, 2].tolist() == [n + 0.125 for n in range(6, 12)]


def test_the_standard_plan_is_upstreams_split(raw: Path) -> None:
    assert small(raw).plan() == [
        SplitPlan("test", "data", 0, 3),
        SplitPlan("val", "data", 3, 6),
        SplitPlan("train", "data", 6, 12),
    ]


@pytest.mark.parametrize(
    ("dataset", "records", "ranges"),
    [
        ("clevrtex", 50_000, {"test": (0, 5_000), "val": (5_000, 10_000), "train": (10_000, 50_000)}),
        ("clevrtex_ood", 10_000, {"test": (0, 10_000)}),
        ("clevrtex_camo", 20_000, {"test": (0, 2_000)}),
        *(
            (
                f"clevrtex_{name}",
                20_000,
                {"test": (0, 2_000), "val": (2_000, 4_000), "train": (4_000, 20_000)},
            )
            for name in ("pbg", "vbg", "grassbg")
        ),
    ],
)
def test_the_published_sizes_are_those_of_the_loader(
    dataset: str, records: int, ranges: dict[str, tuple[int, int]]
) -> None:
    reference = load_spec().dataset(dataset)
    rules = reference.rule.sources["official"]
    assert {split: (rule.start, rule.stop) for split, rule in rules.items()} == ranges
    assert reference.spec.sources["official"].records == {"data": records}


def test_an_incomplete_release_is_refused(raw: Path) -> None:
    message = "holds 12 records; clevrtex (official) needs 50,000; missing: CLEVRTEX_full_000012, "
    more = "CLEVRTEX_full_000013, CLEVRTEX_full_000014 and 49,985 more. .* give all of --test, --val, --train"
    with pytest.raises(ObjbenchError, match=re.escape(message) + more):
        opened(raw).plan()


def test_an_incomplete_release_is_enough_for_a_split_that_it_has(raw: Path) -> None:
    assert small(raw, train=0).plan() == [SplitPlan("test", "data", 0, 3), SplitPlan("val", "data", 3, 6)]


def test_an_incomplete_release_is_cut_by_its_indices(tmp_path: Path) -> None:
    source = opened(unpack(tmp_path, [2, 5, 7, 1003, 2001, 40_000]), train=3, val=1, test=2)
    assert [(plan.split, plan.start, plan.stop, plan.standard) for plan in source.plan()] == [
        ("test", 0, 2, False),
        ("val", 2, 3, False),
        ("train", 3, 6, False),
    ]
    found = {split: batch.index.tolist() for split, batch in scenes(source).items()}
    assert found == {"test": [2, 5], "val": [7], "train": [1003, 2001, 40_000]}


def test_more_than_an_incomplete_release_holds_is_refused(raw: Path) -> None:
    with pytest.raises(
        ObjbenchError, match=r"holds 12 records, but 6 test \+ 4 val \+ 3 train are asked for"
    ):
        opened(raw, train=3, val=4, test=6).plan()


def test_what_is_done_is_left_out(raw: Path) -> None:
    found = scenes(small(raw), test=3, val=4)
    assert {split: batch.index.tolist() for split, batch in found.items()} == {
        "val": [4, 5],
        "train": [6, 7, 8, 9, 10, 11],
    }


def test_a_scene_that_is_there_twice_is_refused(raw: Path) -> None:
    (raw / "clevrtex_full" / "1").mkdir()
    name = "CLEVRTEX_full_000003.png"
    (raw / "clevrtex_full" / "1" / name).write_bytes((raw / "clevrtex_full" / "0" / name).read_bytes())
    with pytest.raises(ObjbenchError, match=rf"/1/{name}: this file is also in .*/0;"):
        small(raw).plan()


def test_a_folder_of_something_else_says_what_is_needed(tmp_path: Path) -> None:
    message = rf"{tmp_path}: holds neither clevrtex_full nor clevrtex_full_part1.tar.gz, .*https://www.robots"
    with pytest.raises(ObjbenchError, match=message):
        opened(tmp_path)


@pytest.mark.parametrize("given", [".", "clevrtex_vbg"])
def test_another_variant_is_refused_by_name(given: str) -> None:
    raw = FIXTURES / given
    message = "this is the variant 'vbg' of ClevrTex; the variant 'outd' is needed"
    with pytest.raises(
        ObjbenchError, match=message if given != "." else "variant 'full' .* 'outd' is needed"
    ):
        opened(raw, "clevrtex_ood").plan()


@pytest.mark.parametrize(
    "name",
    [
        "clevrtexv2_full/0/CLEVRTEXv2_full_000000/CLEVRTEXv2_full_000000_0003.png",
        "clevrtexv2_full.tar",
        "clevrtex_full/0/CLEVRTEX_full_000000_0003.png",
        "0/CLEVRTEXv2_full_000000/CLEVRTEXv2_full_000000_0003.png",
    ],
)
def test_version_2_is_refused_as_another_dataset(tmp_path: Path, name: str) -> None:
    (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / name).touch()
    with pytest.raises(ObjbenchError, match="this is version 2 of ClevrTex, another dataset"):
        opened(tmp_path).plan()


@pytest.mark.parametrize(("found", "make"), SPECIAL.items())
def test_names_of_files_behind_which_there_is_none_are_refused(
    raw: Path, found: str, make: Callable[[Path], None]
) -> None:
    image = next(raw.rglob("CLEVRTEX_full_000000.png"))
    image.unlink()
    make(image)
    with pytest.raises(ObjbenchError, match=rf"{image.name}: {found}, expected a file"):
        opened(raw).plan()
