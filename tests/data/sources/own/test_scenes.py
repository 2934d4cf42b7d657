from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from helpers.own import FLIPPED_PNG, png, saved, scene
from helpers.raw_png import raw_png
from PIL import Image

from objbench.data.scene import BadScene
from objbench.data.sources.own import scenes
from objbench.data.sources.own.scenes import OwnBlock, OwnScene, Part, blocks

IMAGE, LABELS = (png(pixels) for pixels in scene(0))


def one(image: bytes = IMAGE, labels: bytes = LABELS, index: int = 0, ending: str = ".png") -> OwnScene:
    return OwnScene(index, f"s{index}", Part("image.png", ".png", image), Part("mask.png", ending, labels))


def reason(found: OwnScene, slots: int = 4) -> str:
    with pytest.raises(BadScene) as caught:
        OwnBlock([one(index=3), replace(found, index=5)], slots).decode()
    assert (caught.value.row, caught.value.index) == (1, 5)
    return f"{caught.value.where}: {caught.value.reason}"


def test_images_of_every_kind_become_rgb() -> None:
    image, labels = scene(0)
    picture = Image.fromarray(image)
    kinds = [IMAGE, saved(picture.convert("RGBA"), "PNG"), saved(picture, "BMP"), saved(picture, "TIFF"),
             saved(picture, "WEBP", lossless=True)]  # fmt: skip
    batch = OwnBlock([one(kind, index=i) for i, kind in enumerate(kinds)], 4).decode()
    assert (batch.images == image).all()
    assert (batch.masks == labels).all()
    assert batch.factors["name"].tolist() == ["s0", "s1", "s2", "s3", "s4"]
    gray = OwnBlock([one(saved(picture.convert("L"), "JPEG", quality=100))], 4).decode().images[0]
    assert np.abs(gray.astype(int) - np.asarray(picture.convert("L"))[..., None]).max() < 8


def test_blocks_hold_scenes_of_one_size(monkeypatch: pytest.MonkeyPatch) -> None:
    small, large = IMAGE, png(scene(1, (40, 30))[0])
    stream = [one(small), one(small), one(large), one(b"nothing"), one(small)]
    assert [len(block) for block in blocks(stream, 4)] == [2, 1, 1, 1]
    monkeypatch.setattr(scenes, "SCENES_PER_JOB", 2)
    assert [len(block) for block in blocks([one()] * 5, 4)] == [2, 2, 1]
    monkeypatch.setattr(scenes, "_PIXELS_PER_JOB", 24 * 32)
    assert [len(block) for block in blocks([one()] * 3, 4)] == [1, 1, 1]


def test_files_are_read_where_they_lie(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(IMAGE)
    stored = replace(one(), image=Part(str(tmp_path / "a.png")))
    (block,) = blocks([stored], 4)
    assert block.scenes[0].size == (32, 24)
    assert (block.decode().images[0] == scene(0)[0]).all()
    gone = replace(one(), image=Part(str(tmp_path / "b.png")))
    assert "b.png: cannot be read: No such file" in reason(gone)


ORIENTED = Image.Exif()
ORIENTED[0x0112] = 6


@pytest.mark.parametrize(
    ("found", "message"),
    [
        (one(b"text"), "image.png: is no image that can be used (cannot identify image file)"),
        (one(labels=raw_png(8, 6, 16, 3, [bytes(16)] * 6)), "a damaged one (cannot identify image file)"),
        (one(IMAGE[:-40]), "image.png: is no image that can be used"),
        (one(FLIPPED_PNG), "image.png: is no image that can be used (broken PNG file"),
        (one(png(np.zeros((24, 32), np.uint16))), "its mode is I;16, expected 8 bits per channel"),
        (one(raw_png(32, 24, 16, 2, 24 * [bytes(192)])), "its mode is RGB;16B, expected 8 bits per channel"),
        (one(saved(Image.new("RGB", (32, 24)), "JPEG", exif=ORIENTED)), "is turned by its EXIF orientation; store it upright"),
        (one(saved(Image.new("RGB", (9, 9)), "PNG", save_all=True, append_images=[Image.new("RGB", (9, 9), "red")])),
         "it is animated"),
        (one(saved(Image.new("1", (5000, 5000)), "PNG")), "it has 5000x5000 pixels, expected at most 16,777,216"),
        (one(labels=png(scene(0, (24, 40))[1])),
         r"mask.png: has 24x40 pixels (height x width), its image 24x32: expected the same size"),
        (one(labels=png(scene(0)[1]), ending=".json"), "mask.png: cannot be parsed"),
        (replace(one(), labels=Part("image.png", missing="has no label map")), "image.png: has no label map"),
    ],
)  # fmt: skip
def test_a_bad_scene_names_the_file_and_the_fault(found: OwnScene, message: str) -> None:
    assert message in reason(found)


def test_more_objects_than_slots_are_refused() -> None:
    assert reason(one(labels=png(scene(0)[1] + 1))) == (
        "mask.png: has 4 objects, expected at most 3: the dataset has 4 slots, one of them for the background; "
        "--slots 5 would do"
    )


def test_a_huge_file_is_not_read(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(scenes, "MOST_BYTES", 10)
    (tmp_path / "a.png").write_bytes(IMAGE)
    assert "has more than 10 bytes" in reason(replace(one(), image=Part(str(tmp_path / "a.png"))))
