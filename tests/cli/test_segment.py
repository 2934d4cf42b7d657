"""objbench segment, as a user gives it."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
from helpers.commands import call, refused
from PIL import Image

import objbench

RUN = "objmae-small-tetrominoes"


@pytest.fixture(autouse=True)
def photos(tmp_path, monkeypatch):
    """Three pictures of twice the size, and a file that is none."""
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "photos"
    folder.mkdir()
    for i, image in enumerate(objbench.generate("tetrominoes", 3, seed=5).images):
        picture = Image.fromarray(image.permute(1, 2, 0).numpy())
        picture.resize((70, 70), Image.Resampling.NEAREST).save(folder / f"{i}.png")
    (folder / "notes.txt").write_text("not read")
    return folder


def test_label_maps_and_overlays_are_written():
    result = call("segment", RUN, "photos", "--output", "out", "--slots", "--components")
    assert result.exit_code == 0, result.output
    assert result.stdout.splitlines()[0] == "out/0.png  70x70, 4 segments"
    names = [
        f"{i}{end}" for i in range(3) for end in (".components.png", ".overlay.png", ".png", ".slots.npz")
    ]
    assert sorted(path.name for path in Path("out").iterdir()) == names
    run = objbench.open_run(RUN)
    for i in range(3):
        found = run.segment(f"photos/{i}.png")
        with Image.open(f"out/{i}.png") as picture:
            assert picture.mode == "P"
            labels = np.asarray(picture)
            assert picture.convert("RGB").getpixel((0, 0)) in {(64, 64, 64), *colours()}
        np.testing.assert_array_equal(labels, found.labels)
        with np.load(f"out/{i}.slots.npz") as slots:
            np.testing.assert_allclose(slots["slots"], found.slots, atol=1e-5)
        with Image.open(f"out/{i}.components.png") as strip:
            assert (strip.mode, strip.size) == ("RGBA", (4 * 35, 35))
            alpha = np.asarray(strip)[:, 35:70, 3]
        np.testing.assert_array_equal(alpha, (found.masks[1] * 255).round())
        with Image.open(f"out/{i}.overlay.png") as overlay, Image.open(f"photos/{i}.png") as image:
            mixed = (np.asarray(image, float) + np.array([(64, 64, 64), *colours()])[labels]) / 2
            np.testing.assert_allclose(np.asarray(overlay), mixed, atol=0.51)


def colours():
    from objbench.viz import colour

    return [colour(label) for label in range(1, 10)]


def test_an_image_is_segmented_once(monkeypatch):
    assert call("segment", RUN, "photos/0.png", "--output", "out").exit_code == 0
    before = Path("out/0.png").stat().st_ino
    rows = json.loads(call("segment", RUN, "photos", "--output", "out", "--json").stdout)
    assert sorted((row["image"], row["made"]) for row in rows) == [
        ("photos/0.png", False), ("photos/1.png", True), ("photos/2.png", True),
    ]  # fmt: skip
    assert Path("out/0.png").stat().st_ino == before
    Image.new("RGB", (20, 10)).save("photos/0.png")  # another image of this name is made again
    (row,) = json.loads(call("segment", RUN, "photos/0.png", "--output", "out", "--json").stdout)
    assert (row["made"], row["height"], row["width"]) == (True, 10, 20)
    (row,) = json.loads(call("segment", RUN, "photos/0.png", "--output", "out", "--slots", "--json").stdout)
    assert (row["made"], row["slots"]) == (True, "out/0.slots.npz")


def segment(*options):
    (row,) = json.loads(call("segment", RUN, "photos/0.png", "--output", "out", "--json", *options).stdout)
    return row


def slots_of(image):
    return objbench.open_run(RUN).segment(image).slots


def test_slots_and_components_are_those_of_the_label_map():
    assert segment("--slots", "--components")["made"]
    assert not segment()["made"]
    assert not segment("--slots", "--components")["made"]
    Path("photos/1.png").replace("photos/0.png")
    assert segment()["made"]
    assert not Path("out/0.slots.npz").exists()  # it was of the former image
    assert not Path("out/0.components.png").exists()
    assert segment("--slots", "--components")["made"]
    with np.load("out/0.slots.npz") as slots:
        np.testing.assert_allclose(slots["slots"], slots_of("photos/0.png"), atol=1e-5)


@pytest.mark.parametrize("name", ["0.slots.npz", "0.components.png", "0.overlay.png"])
def test_what_was_changed_beside_a_label_map_is_made_again(name):
    segment("--slots", "--components")
    before = Path("out", name).read_bytes()
    Path("out", name).write_bytes(before[:100])
    assert segment("--slots", "--components")["made"]
    assert len(Path("out", name).read_bytes()) == len(before)


def test_a_file_of_ones_own_is_not_taken_for_slots():
    segment()
    Path("out/0.slots.npz").write_bytes(b"mine")
    Path("photos/1.png").replace("photos/0.png")
    assert segment()["made"]
    assert Path("out/0.slots.npz").read_bytes() == b"mine"


def test_another_image_of_the_same_name_is_not_replaced():
    segment()
    before = Path("out/0.png").read_bytes()
    Path("more").mkdir()
    Path("photos/1.png").rename("more/0.png")
    message = refused(2, "segment", RUN, "more", "--output", "out")
    assert "out/0.png is there, and of another image of that name; choose another folder" in message
    assert Path("out/0.png").read_bytes() == before
    assert call("segment", RUN, "more", "--output", "out", "--fresh").exit_code == 0
    Path("more").rename("elsewhere")  # the same image in another place is the same
    assert "written before" in call("segment", RUN, "elsewhere", "--output", "out").stdout


def test_what_another_run_or_a_person_made_is_not_replaced(photos):
    Path("out").mkdir()
    Image.new("L", (9, 9)).save("out/1.png")
    message = refused(2, "segment", RUN, "photos", "--output", "out")
    assert "out/1.png is there, and not by this run" in message
    assert [path.name for path in Path("out").iterdir()] == ["1.png"]
    assert call("segment", RUN, "photos", "--output", "out", "--fresh").exit_code == 0
    assert call("segment", RUN, "photos", "--output", "out").exit_code == 0


def test_an_overlay_does_not_replace_the_label_map_of_another_image():
    Path("photos/0.png").rename("photos/0.overlay.png")
    assert call("segment", RUN, "photos/0.overlay.png", "--output", "out").exit_code == 0
    labels = Path("out/0.overlay.png").read_bytes()
    Path("photos/1.png").rename("photos/0.png")
    message = refused(2, "segment", RUN, "photos/0.png", "--output", "out")
    assert "out/0.overlay.png is the label map of another image" in message
    assert Path("out/0.overlay.png").read_bytes() == labels


def test_a_damaged_label_map_is_not_taken_for_one_written_before():
    assert call("segment", RUN, "photos/0.png", "--output", "out").exit_code == 0
    content = bytearray(Path("out/0.png").read_bytes())
    content[-13] ^= 1  # of the checksum of the pixels, which Pillow does not look at
    Path("out/0.png").write_bytes(content)
    Image.open("out/0.png").load()
    message = refused(2, "segment", RUN, "photos/0.png", "--output", "out")
    assert "out/0.png is there, and not by this run" in message


def test_bad_images_are_named_and_the_others_done():
    Path("photos/bad.png").write_bytes(b"\x89PNG")
    Path("photos/gone.png").symlink_to("nowhere")
    Path("other.png").write_text("no image")
    os.mkfifo("pipe.png")
    result = call("segment", RUN, "photos", "other.png", "pipe.png", "--output", "out", "--json")
    assert result.exit_code == 1
    rows = json.loads(result.stdout)
    bad = ["photos/bad.png", "photos/gone.png", "other.png", "pipe.png"]
    assert [row["image"] for row in rows if "error" in row] == bad
    assert len([row for row in rows if "labels" in row]) == 3
    assert "skipped photos/gone.png: a link to nothing, expected a file" in result.stderr
    assert "skipped other.png: not an image that can be read" in result.stderr
    assert "skipped pipe.png: a pipe or device, expected a file" in result.stderr
    assert (
        "4 of 7 images could not be segmented: photos/bad.png, photos/gone.png, other.png and 1 more"
        in result.stderr
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((RUN, "photos", "--output", "photos"), "--output photos: photos/0.png lies there"),
        ((RUN, "photos", "other/0.jpg", "--output", "o"), "photos/0.png, other/0.jpg would all be written as 0.png"),
        ((RUN, "photos/0.png", "other/0.overlay.png", "--output", "o"),
         "photos/0.png, other/0.overlay.png would all be written as 0.overlay.png"),
        ((RUN, "other/0.components.png", "photos/0.png", "--output", "o", "--components"),
         "other/0.components.png, photos/0.png would all be written as 0.components.png"),
        ((RUN, "photos", "photos/0.png", "--output", "o"), "photos/0.png, photos/0.png would all be written as 0.png"),
        ((RUN, ".", "--output", "o"), "no images in this folder (.bmp, "),
        ((RUN, "photos", "gone.png", "gone", "--output", "o"), "gone.png, gone: no such file or folder"),
        ((RUN, "photos", "--output", "photos/0.png"), "--output photos/0.png: a file, expected a folder"),
        (("nothing", "photos", "--output", "o"), "expected the folder of a finished run"),
    ],
)  # fmt: skip
def test_requests_that_cannot_be_met(arguments, message):
    Path("other").mkdir()
    for name in ("0.jpg", "0.overlay.png", "0.components.png"):
        Path("other", name).touch()
    assert message in refused(2, "segment", *arguments)
    assert not Path("o").exists()


def test_where_no_image_can_be_read_no_folder_is_made():
    Path("broken.png").write_text("no image")
    message = refused(1, "segment", RUN, "broken.png", "--output", "out")
    assert "1 of 1 images could not be segmented: broken.png" in message
    assert not Path("out").exists()


def test_a_folder_to_write_to_is_made_with_those_above_it():
    assert call("segment", RUN, "photos", "--output", "new/folders/out").exit_code == 0
    assert len(list(Path("new/folders/out").glob("*.overlay.png"))) == 3


def test_methods_without_slots_say_so(prepared_data):
    short = ("--set", "recipe.steps=2", "--set", "recipe.batch_size=2")
    done = call("run", "toy_geco", "--dataset", "tetrominoes", "--data", prepared_data, *short)
    assert done.exit_code == 0, done.output
    (run,) = Path("runs/tetrominoes/generated").iterdir()
    assert call("segment", run, "photos", "--output", "out").exit_code == 0
    assert "--slots: toy_geco has no slots" in refused(
        2, "segment", run, "photos", "--output", "a", "--slots"
    )
    assert "--components: toy_geco has none" in refused(
        2, "segment", run, "photos", "--output", "b", "--components"
    )
    assert not Path("a").exists()
    assert not Path("b").exists()
