"""The gallery of the page: exact label maps, planes with alpha, boxes, other masks, ranks, and what has room."""

from __future__ import annotations

import base64
import io
import zlib

import numpy as np
from helpers.html import shown_runs
from helpers.run_artifacts import per_image, predicted, save_run, scenes
from helpers.synthetic import record, scored, scores
from PIL import Image

from objbench.report.html.gallery import BUDGET, gallery_of
from objbench.report.html.sprites import LEVELS, deflated, planes
from objbench.spec.load import load_spec
from objbench.viz import colour, prediction_colours


def inflated(text):
    return np.frombuffer(zlib.decompress(base64.b64decode(text)), "<u2")


def test_label_maps_are_exact_and_coloured_as_pictures_are(runs, document):
    content = document.data["gallery"]
    samples = np.load(runs / "monet/seed-0/samples.npz")
    entry = next(e for e in content["runs"] if len(e["images"][0]["planes"]["labels"]) == 5)
    scene = content["sets"][entry["set"]]
    assert np.array_equal(inflated(scene["truth"]).reshape(4, 24, 24), samples["masks"])
    assert scene["colours"]["0"] == "#404040"
    assert scene["colours"]["1"] == "#{:02x}{:02x}{:02x}".format(*colour(1))
    indices = inflated(entry["prediction"]).reshape(4, 24, 24)
    for i, image in enumerate(entry["images"]):
        labels = np.array([slot["label"] for slot in image["slots"]])
        assert np.array_equal(labels[indices[i]], samples["prediction"][i])
        expected = prediction_colours(samples["prediction"][i], samples["masks"][i])
        hexed = {label: "#{:02x}{:02x}{:02x}".format(*rgb) for label, rgb in expected.items()}
        assert {slot["label"]: slot["colour"] for slot in image["slots"]} == hexed


def test_runs_on_the_same_images_share_them(document):
    content = document.data["gallery"]
    assert len(content["runs"]) == 4
    assert len(content["sets"]) == 2  # of the release and of generated data


def test_ranks_are_among_all_images(tmp_path):
    rng = np.random.default_rng(0)
    images, truth = scenes(4, 24, 2, rng)
    values = {"keys": np.array([f"{i:08d}" for i in range(6)]), "ari_fg": np.array([0.5, 0.7, np.nan, 0.7, 0.9, 0.1]),
              "mse": np.array([0.3, 0.2, 0.1, 0.4, 0.5, 0.6])}  # fmt: skip
    save_run(tmp_path / "a", record(), predicted(images, truth, 3, rng), values)
    found = gallery_of(shown_runs(tmp_path), load_spec()).runs[0]["scores"]
    assert found["ari_fg"] == {
        "texts": ["50.0", "70.0", "undefined", "70.0"],
        "ranks": [4, 2, None, 2],
        "ties": [1, 2, None, 2],
        "of": 5,
    }
    assert found["mse"]["ranks"] == [3, 2, 1, 4]
    assert found["mse"]["texts"][0] == "0.30000"


def test_values_of_other_images_are_not_taken(tmp_path):
    rng = np.random.default_rng(0)
    images, truth = scenes(2, 24, 2, rng)
    values = {"keys": np.array(["7", "8"]), "ari_fg": np.array([0.5, 0.7])}
    save_run(tmp_path / "a", record(), predicted(images, truth, 3, rng), values)
    assert gallery_of(shown_runs(tmp_path), load_spec()).runs[0]["scores"] == {}


def test_first_seeds_come_first_and_what_has_no_room_is_named(runs):
    whole = gallery_of(shown_runs(runs), load_spec())
    assert whole.left_out == []
    partly = gallery_of(shown_runs(runs), load_spec(), whole.size - 1)
    assert [entry["run"] for entry in whole.runs] == ["r0", "r1", "r2", "r3"]
    second = next(run.id for run in shown_runs(runs) if run.record.seed == 1)
    assert [entry["run"] for entry in partly.runs] == sorted({"r0", "r1", "r2", "r3"} - {second})
    assert partly.left_out == ["objmae, seed 1, on Tetrominoes (emorl)"]


def test_planes_shrink_before_first_seeds_are_left_out(tmp_path):
    rng = np.random.default_rng(0)
    images, truth = scenes(3, 128, 10, rng)
    for method in ("objmae", "monet"):
        save_run(
            tmp_path / method, record(method=method), predicted(images, truth, 11, rng), per_image(20, rng)
        )
    share = BUDGET // (30 * 16) * (2 * 3)  # as much per image as 30 runs of 16 have
    found = gallery_of(shown_runs(tmp_path), load_spec(), share)
    assert found.left_out == []
    assert found.size <= share
    assert found.level.shrink > 1
    side = 128 // found.level.shrink
    plane = found.runs[0]["images"][0]["planes"]
    assert (plane["height"], plane["width"]) == (side, side)
    assert gallery_of(shown_runs(tmp_path), load_spec()).level == LEVELS[0]


def test_planes_carry_masks_as_alpha(tmp_path):
    rng = np.random.default_rng(0)
    masks = rng.integers(1, 256, (3, 20, 16), dtype=np.uint8)
    components = rng.integers(0, 256, (3, 3, 20, 16), dtype=np.uint8)
    source, height, width = planes(masks, components, LEVELS[0])
    shown = np.asarray(Image.open(io.BytesIO(base64.b64decode(source.partition(",")[2]))))
    assert (height, width) == (20, 16)
    assert np.array_equal(shown[..., 3].reshape(3, 20, 16), masks)
    assert np.array_equal(np.moveaxis(shown[..., :3].reshape(3, 20, 16, 3), -1, 1), components)


def test_boxes_that_are_present_come_with_the_colours_of_their_planes(tmp_path):
    rng = np.random.default_rng(0)
    images, truth = scenes(1, 24, 3, rng)
    samples = predicted(images, truth, 4, rng)
    samples["boxes"] = np.array([[[0.5, 0, 0.25, 1], [0, 0.5, 1, 0.5], [0, 0, 1, 1]]], dtype=np.float32)
    samples["presence"] = np.array([[1.0, 0.05, 0.5]], dtype=np.float32)
    save_run(tmp_path / "runs/spair/seed-0", record(method="spair"), samples, per_image(320, rng))
    (shown,) = gallery_of(shown_runs(tmp_path / "runs"), load_spec()).runs
    colours = prediction_colours(samples["prediction"][0], truth[0])
    assert shown["images"][0]["boxes"] == [
        {
            "label": label,
            "place": place,
            "presence": presence,
            "colour": "#{:02x}{:02x}{:02x}".format(*colours[label]),
        }
        for label, place, presence in ((3, [0, 0, 1, 1], 0.5), (1, [0.5, 0, 0.25, 1], 1))
    ]


def test_other_masks_are_shown_beside_those_that_the_method_segments_with(tmp_path):
    rng = np.random.default_rng(0)
    images, truth = scenes(2, 24, 3, rng)
    samples = predicted(images, truth, 4, rng)
    samples["prediction+masks=composited"] = truth.astype(np.int16)
    key = "test+masks=composited"
    metrics = {"test": scores(), key: scores().model_copy(update={"masks": "composited"})}
    item = record(method="spair", metrics=metrics, on={"test": scored(), key: scored()})
    save_run(tmp_path / "runs/spair/seed-0", item, samples, per_image(320, rng))
    found = gallery_of(shown_runs(tmp_path / "runs"), load_spec())
    assert [entry["evaluation"] for entry in found.runs] == ["test", key]
    own, other = found.runs
    assert other["where"] == f"{own['where']} (composited masks)"
    assert own["set"] == other["set"]
    assert len(found.sets) == 1
    for entry, labels in ((own, samples["prediction"]), (other, truth)):
        shown = inflated(entry["prediction"]).reshape(2, 24, 24)
        for i, image in enumerate(entry["images"]):
            names = np.array([slot["label"] for slot in image["slots"]])
            assert np.array_equal(names[shown[i]], labels[i])
    assert all("planes" in image for image in own["images"])
    assert not any("planes" in image for image in other["images"])
    del samples["prediction+masks=composited"]
    save_run(tmp_path / "less/spair/seed-0", item, samples, per_image(320, rng))
    less = gallery_of(shown_runs(tmp_path / "less"), load_spec())
    assert [entry["evaluation"] for entry in less.runs] == ["test"]
    (line,) = less.unread
    assert "its samples cannot be read ('prediction+masks=composited" in line


def test_labels_above_a_byte_survive():
    assert inflated(deflated(np.array([[0, 255, 256, 65535]]))).tolist() == [0, 255, 256, 65535]
