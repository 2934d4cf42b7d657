"""What stands in which place of a sheet of pictures."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from helpers.figure_runs import PREDICTION, SIDE, TRUTH, run, samples
from helpers.synthetic import scores
from PIL import Image

from objbench.errors import RequestError
from objbench.report.figures import pictures
from objbench.report.figures.canvas import outputs, save
from objbench.report.figures.choose import rows_on
from objbench.report.figures.sheet import Grid, scaled, sheet
from objbench.report.rows.collect import collect
from objbench.report.rows.measured import Selection
from objbench.scores import Scores
from objbench.spec.load import load_spec
from objbench.viz import colour, prediction_colours


def section(runs, layout=pictures.segmentations, count=3, **options):
    (row,) = rows_on(collect(load_spec(), runs, Selection()).measured, "tetrominoes", load_spec())
    return pictures.section(row, 0, count, layout, **options)


def test_a_row_shows_image_truth_prediction_and_every_slot_through_its_mask(tmp_path):
    run(tmp_path)
    found = section(tmp_path)
    tiles = found.strips[1].tiles
    assert [tile.heading for tile in tiles] == [
        "image", "truth", "prediction", "slot 1", "slot 2", "slot 3", "slot 4",
    ]  # fmt: skip
    assert (tiles[0].picture == 201).all()
    assert (tiles[1].picture[TRUTH == 2] == colour(2)).all()
    slot = tiles[5].picture
    assert (slot[PREDICTION == 2] == 52).all()
    assert set(np.unique(slot[PREDICTION != 2])) == {215, 255}  # the checkerboard behind it


def test_segments_have_the_colour_of_the_truth_that_they_match_and_slots_are_framed_in_it(tmp_path):
    run(tmp_path)
    tiles = section(tmp_path).strips[0].tiles
    predicted = tiles[2].picture
    assert (predicted[PREDICTION == 0] == colour(0)).all()
    assert (predicted[PREDICTION == 2] == colour(1)).all()
    assert (predicted[PREDICTION == 1] == colour(2)).all()
    unmatched = prediction_colours(PREDICTION, TRUTH)[3]
    assert unmatched not in [colour(label) for label in range(15)]
    assert (predicted[PREDICTION == 3] == unmatched).all()
    assert [tile.frame for tile in tiles[3:]] == [colour(0), colour(2), colour(1), unmatched]


def test_a_slot_without_a_pixel_has_no_frame(tmp_path):
    kept = samples(planes=5)
    run(tmp_path, kept=kept)
    assert section(tmp_path).strips[0].tiles[7].frame is None


def test_scores_of_each_image_are_found_by_its_key_and_stand_below_it(tmp_path):
    run(tmp_path)
    found = section(tmp_path)
    assert [strip.caption for strip in found.strips] == [
        "ARI-FG 10.0  mIoU 40.0",
        "ARI-FG 20.0  mIoU 50.0",
        "ARI-FG –  mIoU 60.0",
    ]
    assert found.heading == "objmae, seed 0: ARI-FG 90.0  mIoU 70.0 over the whole split"


def test_the_mean_of_a_metric_that_is_undefined_for_some_images_says_over_how_many_it_is(tmp_path):
    some = scores().model_dump() | {"ari_fg": {"mean": 0.9, "std": 0.1, "n": 2}}
    run(tmp_path, metrics={"test": Scores.model_validate(some)})
    assert section(tmp_path).heading == (
        "objmae, seed 0: ARI-FG 90.0 (mean over 2 of 320 images)  mIoU 70.0 (over the whole split)"
    )


def test_planes_without_components_are_shown_as_masks_and_labels_alone_not_at_all(tmp_path):
    kept = samples(attention=False)
    del kept["components"]
    run(tmp_path / "masks", kept=kept)
    tiles = section(tmp_path / "masks").strips[0].tiles
    assert [tile.heading for tile in tiles[3:]] == ["mask 1", "mask 2", "mask 3", "mask 4"]
    assert (tiles[5].picture[PREDICTION == 2] == 255).all()
    del kept["soft_masks"]
    run(tmp_path / "labels", kept=kept)
    assert len(section(tmp_path / "labels").strips[0].tiles) == 3


def test_of_many_planes_the_largest_are_shown_by_their_own_numbers(tmp_path):
    run(tmp_path, kept=samples(planes=20))
    found = section(tmp_path)
    assert [tile.heading for tile in found.strips[0].tiles[3:7]] == ["slot 1", "slot 2", "slot 3", "slot 4"]
    assert len(found.strips[0].tiles) == 3 + 4  # nobody sees the other sixteen
    assert found.heading.endswith("; at most 12 of 20 slots, the largest")


def test_attention_stands_over_the_slots_without_their_masks(tmp_path):
    run(tmp_path)
    above, below = section(tmp_path, pictures.attention).strips[:2]
    assert [tile.heading for tile in above.tiles[:3]] == ["image", "truth", "attn. 1"]
    assert [tile.heading for tile in below.tiles[:3]] == ["recon.", "prediction", "slot 1"]
    assert above.tiles[3].picture.shape == (7, 7, 3)
    assert (above.tiles[3].picture[0] == np.arange(49, 56)[:, None]).all()
    assert (below.tiles[0].picture == 100).all()
    assert (below.tiles[4].picture == 52).all()  # all of it, not only where the mask is
    assert above.tiles[4].frame == below.tiles[4].frame == colour(1)
    assert (above.caption, below.caption) == ("", "ARI-FG 10.0  mIoU 40.0")


def test_every_pixel_is_a_whole_number_of_dots_and_the_figure_as_wide_as_a_page_or_a_column():
    for side, columns, inches in ((35, 7, 3.25), (64, 9, 5.5), (128, 14, 5.5), (128, 3, 3.25)):
        grid = Grid.fit(side, columns)
        assert grid.tile % side == 0
        assert grid.dpi >= 300
        assert inches - 0.02 < grid.width / grid.dpi <= inches


def test_a_png_shows_the_pixels_themselves(tmp_path):
    run(tmp_path)
    found = section(tmp_path, count=1)
    save(sheet("title", ["a note"], [found]), tmp_path / "sheet.png")
    with Image.open(tmp_path / "sheet.png") as file:
        dots = np.asarray(file.convert("RGB"))
    grid = Grid.fit(SIDE, 7)
    assert dots.shape[1] == grid.width
    drawn = scaled(found.strips[0].tiles[2].picture, grid.tile)
    left = grid.left(2)
    column = dots[:, left : left + grid.tile]
    tops = [
        top for top in range(len(dots) - grid.tile) if np.array_equal(column[top : top + grid.tile], drawn)
    ]
    assert len(tops) == 1
    beside = dots[tops[0] : tops[0] + grid.tile, grid.left(3) - grid.gap // 5]
    frame = np.array(colour(0))
    assert (np.abs(beside.astype(int) - frame) < 30).all()


def test_scaling_keeps_pixels_whole_where_it_can():
    picture = np.arange(12, dtype=np.uint8).reshape(2, 2, 3)
    assert np.array_equal(scaled(picture, 6), picture.repeat(3, 0).repeat(3, 1))


def test_the_suffix_decides_what_is_written():
    assert outputs(Path("a/fig.png")) == [Path("a/fig.png")]
    assert outputs(Path("a/FIG.PDF")) == [Path("a/FIG.PDF")]
    assert outputs(Path("a/fig")) == [Path("a/fig.png"), Path("a/fig.pdf")]
    with pytest.raises(RequestError, match=r"fig\.svg: a figure is written as \.png or \.pdf"):
        outputs(Path("fig.svg"))
