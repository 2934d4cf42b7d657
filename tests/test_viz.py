from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from objbench.viz import (
    CAPTION,
    GAP,
    HEADING,
    colour,
    contact_sheet,
    label_picture,
    match_labels,
    prediction_picture,
    sample_sheet,
    shown_planes,
)

TRUTH = np.array([[0, 0, 1, 1], [0, 0, 1, 1], [0, 0, 2, 2], [0, 0, 2, 2]], dtype=np.uint8)


def samples(n=2, side=48, planes=3, **more):
    scale = side // 4
    masks = np.repeat(TRUTH.repeat(scale, 0).repeat(scale, 1)[None], n, axis=0)
    images = np.full((n, 3, side, side), 200, dtype=np.uint8)
    soft = np.stack([(masks == m) * np.uint8(255) for m in range(planes)], axis=1)
    return {"images": images, "masks": masks, "prediction": masks, "soft_masks": soft} | more


def tile(sheet: Image.Image, row: int, column: int, side: int = 96):
    """The picture in a place of a sample sheet, as an array."""
    left, top = GAP + column * (side + GAP), HEADING + GAP + row * (side + GAP)
    return np.asarray(sheet)[top : top + side, left : left + side]


def test_labels_have_distinct_colours_and_the_background_is_dark_gray():
    colours = [colour(label) for label in range(15)]
    assert len(set(colours)) == 15
    red, green, blue = colours[0]
    assert red == green == blue < 100
    assert label_picture(TRUTH).shape == (4, 4, 3)
    assert tuple(label_picture(TRUTH)[0, 3]) == colour(1)


def test_a_contact_sheet_has_each_image_over_its_labels_enlarged_by_a_whole_factor():
    images = np.zeros((5, 3, 35, 35), dtype=np.uint8)
    images[0, 0] = 255
    masks = np.ones((5, 35, 35), dtype=np.uint8)
    sheet = contact_sheet(images, masks, "abcde", "", columns=2)
    side = 105  # three times 35
    assert sheet.size == (GAP + 2 * (side + GAP), HEADING + GAP + 3 * (2 * side + CAPTION + GAP))
    assert sheet.getpixel((GAP, HEADING + GAP)) == (255, 0, 0)
    assert sheet.getpixel((GAP, HEADING + GAP + side)) == colour(1)


def test_a_contact_sheet_says_what_it_is_of_and_has_the_key_below_each_scene():
    images, masks = np.zeros((2, 3, 96, 96), dtype=np.uint8), np.zeros((2, 96, 96), dtype=np.uint8)
    one, other = (
        np.asarray(contact_sheet(images, masks, keys, title))
        for keys, title in ((["00000001", "00000007"], "one"), (["00000001", "00000008"], "other"))
    )
    captions = slice(HEADING + GAP + 2 * 96, HEADING + GAP + 2 * 96 + CAPTION)
    first, second = slice(GAP, GAP + 96), slice(2 * GAP + 96, 2 * GAP + 2 * 96)
    assert (one[captions, first] < 128).any()
    assert (one[captions, first] == other[captions, first]).all()
    assert (one[captions, second] != other[captions, second]).any()
    assert (one[:HEADING] != other[:HEADING]).any()


def test_large_images_are_not_enlarged():
    images, masks = np.zeros((1, 3, 128, 128), dtype=np.uint8), np.zeros((1, 128, 128), dtype=np.uint8)
    size = 128 + 2 * GAP, HEADING + 256 + CAPTION + 2 * GAP
    assert contact_sheet(images, masks, ["7"], "").size == size


def test_a_sample_sheet_has_a_row_per_image_and_at_most_eight():
    sheet = sample_sheet(samples(n=16))
    assert sheet.size == (GAP + 6 * (96 + GAP), HEADING + GAP + 8 * (96 + GAP))


def test_columns_are_image_truth_prediction_reconstruction_planes():
    s = samples()
    reconstruction = np.full_like(s["images"], 77)
    components = np.stack([np.full_like(s["images"], 10 * m) for m in range(3)], axis=1)
    sheet = sample_sheet(s | {"reconstruction": reconstruction, "components": components})
    assert sheet.width == GAP + 7 * (96 + GAP)
    assert (tile(sheet, 0, 0) == 200).all()
    assert tuple(tile(sheet, 0, 1)[0, 95]) == colour(1)
    assert (tile(sheet, 0, 3) == 77).all()
    plane = tile(sheet, 0, 5)
    assert (plane[:48, 48:] == 10).all()  # where the mask is full: the component
    assert set(np.unique(plane[:, :48])) == {215, 255}  # where it is empty: the checkerboard


def test_without_components_a_plane_is_its_mask_in_gray():
    s = samples()
    s["soft_masks"] = s["soft_masks"] // 2
    plane = tile(sample_sheet(s), 0, 4)
    assert (plane[:48, 48:] == 127).all()
    assert (plane[:, :48] == 0).all()


def test_label_only_methods_have_no_planes():
    s = samples()
    del s["soft_masks"]
    assert sample_sheet(s).width == GAP + 3 * (96 + GAP)


def test_a_permuted_prediction_looks_like_the_truth():
    s = samples()
    s["prediction"] = np.array([7, 0, 3], dtype=np.uint8)[s["masks"]]
    sheet = sample_sheet(s)
    np.testing.assert_array_equal(tile(sheet, 0, 1), tile(sheet, 0, 2))


def test_a_surplus_segment_has_a_colour_of_its_own():
    s = samples()
    s["prediction"] = s["masks"].copy()
    s["prediction"][:, :12, :12] = 9
    sheet = sample_sheet(s)
    shown = {tuple(c) for c in tile(sheet, 0, 2).reshape(-1, 3)}
    assert len(shown) == 4
    assert {colour(0), colour(1), colour(2)} < shown
    assert tuple(tile(sheet, 0, 2)[0, 0]) not in {colour(label) for label in range(15)}


def test_segments_are_matched_one_to_one_by_overlap():
    prediction = np.array([[5, 5, 1, 1], [5, 5, 1, 4], [5, 5, 6, 6], [5, 5, 6, 6]])
    assert match_labels(prediction, TRUTH) == {5: 0, 6: 2, 1: 1}


def test_of_many_planes_the_largest_are_shown():
    s = samples(n=1)
    s["soft_masks"] = np.full((1, 30, 48, 48), 30, dtype=np.uint8)
    s["soft_masks"][0, 20, :24] = 255
    s["soft_masks"][0, 25] = 255
    sheet = sample_sheet(s)
    assert sheet.width == GAP + (3 + 12) * (96 + GAP)
    assert (tile(sheet, 0, 3) == 255).all()
    assert (tile(sheet, 0, 4)[:48] == 255).all()
    assert (tile(sheet, 0, 4)[48:] == 30).all()


def test_of_many_planes_those_that_nobody_sees_are_left_out():
    masks = np.full((13, 48, 48), 18, dtype=np.uint8)  # an even share of 13 is 19.6
    assert shown_planes(masks) == [0]  # the largest where none is seen
    masks[7, 3, 4], masks[9, :2], masks[11] = 19, 255, 0
    masks[11, 0, 0] = 200  # the smallest of all, but seen
    assert shown_planes(masks) == [9, 7, 11]
    assert shown_planes(masks[:12]) == list(range(12))  # of few, all


@pytest.mark.parametrize("planes", [13, 17, 64, 255, 300])
def test_planes_that_share_pixels_evenly_are_seen_and_empty_ones_are_not(planes):
    masks = np.full((planes, 4, 4), max(255 // planes, 1), dtype=np.uint8)
    assert shown_planes(masks) == list(range(12))
    masks[1:] = 0
    assert shown_planes(masks) == [0]


def test_a_sample_sheet_is_as_wide_as_its_longest_row():
    s = samples(n=2)
    s["soft_masks"] = np.zeros((2, 13, 48, 48), dtype=np.uint8)
    s["soft_masks"][0, 4], s["soft_masks"][1, [2, 5], :24] = 255, 255
    sheet = sample_sheet(s)
    assert sheet.width == GAP + (3 + 2) * (96 + GAP)
    assert (tile(sheet, 0, 3) == 255).all()
    assert (tile(sheet, 0, 4) == 255).all()  # paper: the first image has one plane
    assert (tile(sheet, 1, 4)[48:] == 0).all()
    heading = np.asarray(sheet)[:HEADING, GAP + 4 * (96 + GAP) :]
    assert (heading < 128).any()


def test_headings_stand_above_the_columns():
    heading = np.asarray(sample_sheet(samples()))[:HEADING]
    for column in range(6):
        left = GAP + column * (96 + GAP)
        assert (heading[:, left : left + 96] < 128).any()


@pytest.mark.parametrize("draw", [lambda s: contact_sheet(s["images"], s["masks"], [], ""), sample_sheet])
def test_no_images_is_an_error(draw):
    with pytest.raises(ValueError, match="at least one image"):
        draw(samples(n=0))


def with_boxes(presence):
    """Two boxes: the right half of the image, which is plane 1's upper quarter in the truth, and the upper left corner."""
    boxes = np.array([[[0.5, 0.0, 0.5, 1.0], [0.0, 0.0, 0.25, 0.25]]], dtype=np.float32)
    return samples(n=1) | {"boxes": boxes, "presence": np.array([presence], dtype=np.float32)}


def test_boxes_are_drawn_on_the_image_in_the_colours_of_their_planes():
    sheet = sample_sheet(with_boxes([1.0, 0.0]))
    assert sheet.width == GAP + 7 * (96 + GAP)
    drawn = tile(sheet, 0, 3)
    on_edge = drawn[[0, 50, 95, 0], [70, 48, 70, 95]]  # top, left, bottom, corner of the right half
    assert {tuple(pixel) for pixel in on_edge} == {colour(1)}
    assert (drawn[:, :48] == 200).all()
    assert (drawn[4:90, 52:90] == 200).all()


def test_a_box_is_as_opaque_as_it_is_present():
    drawn = tile(sample_sheet(with_boxes([0.0, 0.5])), 0, 3)
    expected = np.array(colour(2)) * 0.5 + 200 * 0.5
    assert np.abs(drawn[0, 10] - expected).max() <= 1
    assert (drawn[:, 48:] == 200).all()


def test_absent_boxes_are_not_drawn():
    assert (tile(sample_sheet(with_boxes([0.09, 0.0])), 0, 3) == 200).all()


def test_predictions_by_other_masks_stand_after_prediction_and_boxes_before_the_reconstruction():
    other = samples(n=1)["masks"][:, :, ::-1]
    s = with_boxes([0.0, 0.0]) | {"prediction+masks=composited": other}
    s["reconstruction"] = np.full((1, 3, 48, 48), 77, dtype=np.uint8)
    sheet = sample_sheet(s)
    assert sheet.width == GAP + 9 * (96 + GAP)
    assert (tile(sheet, 0, 3) == 200).all()  # the boxes, none of them present
    doubled = prediction_picture(other[0], s["masks"][0]).repeat(2, 0).repeat(2, 1)
    assert (tile(sheet, 0, 4) == doubled).all()
    assert (tile(sheet, 0, 4) != tile(sheet, 0, 2)).any()
    assert (tile(sheet, 0, 5) == 77).all()
