"""Scenes of ClevrTex that are incomplete, damaged or not what the release holds."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.clevrtex import edit, small, unpack
from helpers.sources import scenes
from PIL import Image

from objbench.data.scene import BadScene


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    """Twelve scenes, unpacked."""
    return unpack(tmp_path)


def bad(raw: Path) -> BadScene:
    """The scene that cannot be decoded."""
    with pytest.raises(BadScene) as caught:
        scenes(small(raw))
    return caught.value


@pytest.mark.parametrize(("suffix", "what"), [(".png", "image"), ("_flat.png", "mask"), (".json", "JSON")])
def test_a_missing_file_is_named(raw: Path, caplog: pytest.LogCaptureFixture, suffix: str, what: str) -> None:
    for index in (1, 4, 5, 9, 10):
        (raw / "clevrtex_full" / "0" / f"CLEVRTEX_full_{index:06d}{suffix}").unlink()
    error = bad(raw)
    path = raw / "clevrtex_full" / "0" / f"CLEVRTEX_full_000001{suffix}"
    assert str(error) == f"{path}: the {what} is missing"
    assert (error.row, error.index) == (1, 1)
    names = ", ".join(f"CLEVRTEX_full_{index:06d}{suffix}" for index in (1, 4, 5))
    warned = f"{raw}: missing files of scenes (5): {names} and 2 more"
    assert caplog.record_tuples == [("objbench", logging.WARNING, warned)]


@pytest.mark.parametrize(
    ("mode", "message"),
    [
        ("RGB", "the mask is of mode RGB, expected P: palette colours are no object numbers"),
        ("RGBA", "the mask is of mode RGBA, expected P: palette colours are no object numbers"),
        (
            "L",
            r"the mask holds the value \d+, but the scene has 10 objects; are these gray levels of palette colours",
        ),
    ],
)
def test_a_converted_mask_is_refused(raw: Path, mode: str, message: str) -> None:
    path = raw / "clevrtex_full" / "0" / "CLEVRTEX_full_000001_flat.png"
    with Image.open(path) as mask:
        mask.convert(mode).save(path)
    assert re.match(message, bad(raw).reason)


def test_a_gray_mask_of_object_numbers_is_taken(raw: Path) -> None:
    before = scenes(small(raw))["test"].masks
    path = raw / "clevrtex_full" / "0" / "CLEVRTEX_full_000001_flat.png"
    Image.fromarray(before[1]).save(path)
    assert np.array_equal(scenes(small(raw))["test"].masks, before)


def test_a_mask_with_more_numbers_than_objects_is_refused(raw: Path) -> None:
    edit(raw, lambda facts: facts.update(num_objects=9, objects=facts["objects"][:9]))
    assert bad(raw).reason == "the mask holds the value 10, but the scene has 9 objects"


@pytest.mark.parametrize(("suffix", "what"), [(".png", "image"), ("_flat.png", "mask")])
def test_another_size_is_refused(raw: Path, suffix: str, what: str) -> None:
    path = raw / "clevrtex_full" / "0" / f"CLEVRTEX_full_000001{suffix}"
    with Image.open(path) as image:
        image.resize((640, 480)).save(path)
    message = f"the {what} has 640x480 pixels, as in pre-releases of ClevrTex; expected 320x240"
    assert bad(raw).reason == message


def test_an_image_without_alpha_is_the_same(raw: Path) -> None:
    before = scenes(small(raw))["test"].images
    path = raw / "clevrtex_full" / "0" / "CLEVRTEX_full_000001.png"
    with Image.open(path) as image:
        image.convert("RGB").save(path)
    assert np.array_equal(scenes(small(raw))["test"].images, before)
    with Image.open(path) as image:
        image.convert("L").save(path)
    assert bad(raw).reason == "the image is of mode L, expected RGBA or RGB"


@pytest.mark.parametrize("damage", ["empty", "cut", "flipped", "html"])
@pytest.mark.parametrize(("suffix", "what"), [(".png", "image"), ("_flat.png", "mask")])
def test_a_damaged_png_is_named(raw: Path, suffix: str, what: str, damage: str) -> None:
    path = raw / "clevrtex_full" / "0" / f"CLEVRTEX_full_000001{suffix}"
    content = bytearray(path.read_bytes())
    flipped = content.copy()
    flipped[len(content) * 2 // 3] ^= 4
    path.write_bytes({"empty": b"", "cut": content[:-500], "flipped": flipped, "html": b"<html>"}[damage])
    assert re.match(rf"{path}: the {what} is no PNG, or a damaged one", str(bad(raw)))


@pytest.mark.parametrize(("suffix", "what"), [(".png", "image"), ("_flat.png", "mask")])
def test_no_flipped_bit_is_read(raw: Path, suffix: str, what: str) -> None:
    path = raw / "clevrtex_full" / "0" / f"CLEVRTEX_full_000001{suffix}"
    content = path.read_bytes()
    block = next(block for _, block in small(raw).read(small(raw).plan(), {}))[1:2]
    for bit in np.random.default_rng(1).permutation(8 * len(content))[:150].tolist():
        damaged = bytearray(content)
        damaged[bit // 8] ^= 1 << bit % 8
        path.write_bytes(damaged)
        with pytest.raises(BadScene, match=f"CLEVRTEX_full_000001{suffix}: the {what} is no PNG, or a dam"):
            block.decode()
    path.write_bytes(content)
    assert len(block.decode()) == 1


def test_a_file_that_is_too_large_is_refused(raw: Path) -> None:
    path = raw / "clevrtex_full" / "0" / "CLEVRTEX_full_000001.json"
    path.write_bytes(path.read_bytes() + b" " * (4 << 20))
    assert bad(raw).reason == "the JSON has more than 4,194,304 bytes"


def faults() -> list[Any]:
    def first(**changes: Any) -> Callable[[dict[str, Any]], Any]:
        return lambda facts: facts["objects"][0].update(changes)

    return [
        (lambda f: f.update(image_index=7), "has the image_index 7, the file's name says 1"),
        (lambda f: f.pop("objects"), "has no list of 'objects'"),
        (lambda f: f.update(num_objects=3), "has 10 objects, expected num_objects, which is 3, and at most 10"),
        (lambda f: f["objects"].append(f["objects"][0]), "has 11 objects, expected num_objects, which is 10, and"),
        (first(index=2), r"has objects of index [2, 2, 3, 4, 5, 6, 7, 8, 9, 10], expected each of 1 to 10 once"),
        (first(index=11), "has objects of index [11, 2, "),
        (first(shape=3), "has the shape 3, expected a text"),
        (lambda f: f["objects"][4].pop("material"), "has the material None, expected a text"),
        (lambda f: f.pop("ground_material"), "has the ground_material None, expected a text"),
        (first(rotation="90"), "has the rotation '90', expected a number"),
        (first(rotation=float("nan")), "has the rotation nan, expected a number"),
        (first(rotation=True), "has the rotation True, expected a number"),
        (first(rotation=10**400), "int too large to convert to float"),
        (lambda f: f["objects"][0].update({"3d_coords": [1, 2]}), "has the 3d_coords [1, 2], expected 3 numbers"),
    ]  # fmt: skip


@pytest.mark.parametrize(("change", "message"), faults())
def test_a_json_that_is_not_the_releases_is_refused(
    raw: Path, change: Callable[[dict[str, Any]], Any], message: str
) -> None:
    edit(raw, change)
    error = bad(raw)
    assert error.where == str(raw / "clevrtex_full" / "0" / "CLEVRTEX_full_000001.json")
    assert message in error.reason


@pytest.mark.parametrize("text", ["", "{", "[]", "3", "[" * 100_000])
def test_a_file_that_is_no_json_is_refused(raw: Path, text: str) -> None:
    (raw / "clevrtex_full" / "0" / "CLEVRTEX_full_000001.json").write_text(text)
    assert re.match("the JSON (cannot be parsed: |is not that of a scene)", bad(raw).reason)
