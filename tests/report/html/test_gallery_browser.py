"""The gallery in headless Chromium: images by score, and what is painted over and beside them."""

from __future__ import annotations

import base64
import io

import numpy as np
from helpers.browser import IN_BROWSER, SCORED, choose
from PIL import Image

pytestmark = IN_BROWSER


def pixels(view, selector="#g-stage"):
    """The pixels of a canvas as an array (H,W,4)."""
    address = view.locator(selector).first.evaluate("(canvas) => canvas.toDataURL('image/png')")
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(address.partition(",")[2]))).convert("RGBA"))


def press_slot(view, number):
    view.locator("#g-slots .slot").nth(number).click()


def test_buttons_and_arrow_keys_step_through_the_images_by_score(view):
    assert view.inner_text("#g-where") == f"1 of the 5 kept of {SCORED} images"
    assert view.locator("#g-prev").is_disabled()
    view.click("#g-next")
    assert view.inner_text("#g-where").startswith("2 of the 5")
    view.focus("#g-stage")
    view.keyboard.press("ArrowRight")
    assert view.inner_text("#g-where").startswith("3 of the 5")
    view.keyboard.press("ArrowLeft")
    view.click("#g-prev")
    assert view.inner_text("#g-where").startswith("1 of the 5")
    view.locator("#g-strip button").last.click()
    assert view.locator("#g-next").is_disabled()


def test_worst_and_best_come_first_by_any_metric_and_tell_their_rank(view):
    def values():
        return [float(text) for text in view.locator("#g-strip span").all_inner_texts()]

    assert values() == sorted(values())
    choose(view, "g-order", "best")
    assert values() == sorted(values(), reverse=True)
    view.select_option("#g-metric", "mse")
    assert values() == sorted(values())
    assert view.locator("#g-metric option").all_inner_texts() == ["ARI-FG", "mIoU", "MSE", "as kept"]
    row = view.locator("#g-scores tr", has_text="MSE").inner_text()
    assert f" of {SCORED}" in row
    view.select_option("#g-metric", "as kept")
    assert values() == [1, 2, 3, 4, 5]


def test_the_image_stays_when_another_run_on_it_is_chosen(view):
    view.click("#g-next")
    view.click("#g-next")
    name = view.inner_text("#g-scores p").split("image ")[1].split(" ")[0]
    view.select_option("#g-run", label="MONet, seed 0")
    view.locator("#g-scores p").filter(has_text="MONet").wait_for()
    assert f"image {name} " in view.inner_text("#g-scores p")
    view.select_option("#g-run", index=3)  # of another dataset, where the same key is of another image
    view.locator("#g-where").filter(has_text="1 of the 5").wait_for()


def test_slots_switch_off_and_on(view):
    view.fill("#g-opacity", "100")
    whole = pixels(view)
    press_slot(view, 0)
    assert view.locator("#g-slots .slot").first.get_attribute("aria-pressed") == "false"
    without = pixels(view)
    assert (whole != without).any()
    view.click("#g-none")
    choose(view, "g-base", "nothing")
    assert len(np.unique(pixels(view).reshape(-1, 4), axis=0)) == 1
    view.click("#g-all")
    choose(view, "g-base", "image")
    assert np.array_equal(pixels(view), whole)


def test_a_fully_opaque_prediction_has_the_colours_of_pictures(view):
    view.fill("#g-opacity", "100")
    view.uncheck("#g-boxes")
    hexed = view.evaluate("getComputedStyle(document.querySelector('#g-slots .swatch')).backgroundColor")
    colours = {tuple(rgb) for rgb in np.unique(pixels(view)[..., :3].reshape(-1, 3), axis=0).tolist()}
    assert tuple(int(part) for part in hexed[4:-1].split(",")) in colours
    assert len(colours) <= 4


def test_the_slider_fades_what_lies_above(view):
    slider = view.locator("#g-opacity")
    view.uncheck("#g-boxes")
    slider.focus()
    start = pixels(view)
    view.keyboard.press("Home")
    assert view.inner_text("#g-opacity-value") == "0 %"
    bare = pixels(view)
    choose(view, "g-over", "nothing")
    assert np.array_equal(pixels(view), bare)
    assert slider.is_disabled()
    choose(view, "g-over", "truth")
    box = slider.bounding_box()
    view.mouse.move(box["x"] + 8, box["y"] + box["height"] / 2)
    view.mouse.down()
    view.mouse.move(box["x"] + box["width"] - 2, box["y"] + box["height"] / 2)
    view.mouse.up()
    assert view.inner_text("#g-opacity-value") == "100 %"
    truth = pixels(view)
    assert len(np.unique(truth.reshape(-1, 4), axis=0)) <= 4
    assert (truth != start).any()


def test_reconstruction_slots_masks_and_attention_are_shown(view):
    choose(view, "g-over", "nothing")
    image = pixels(view)
    choose(view, "g-base", "reconstruction")
    painted = pixels(view)
    assert (painted != image).any()
    choose(view, "g-base", "slots")
    summed = pixels(view)
    assert np.abs(summed[..., :3].astype(int) - painted[..., :3]).mean() < 8  # the components add up to it
    tiles = [pixels(view, "#g-slots canvas")]
    for shown in ("mask", "attention"):
        choose(view, "g-plane", shown)
        tiles.append(pixels(view, "#g-slots canvas"))
    assert (tiles[0] != tiles[1]).any()
    assert (tiles[1] != tiles[2]).any()
    assert np.ptp(tiles[1][..., :3], axis=-1).max() == 0  # gray


def test_outlines_of_the_truth_lie_over_everything(view):
    plain = pixels(view)
    view.check("#g-outline")
    drawn = pixels(view)
    assert 0 < (drawn != plain).any(-1).mean() < 0.5


def test_boxes_are_drawn_for_methods_that_have_them(view):
    view.select_option("#g-run", label="objmae, seed 0")
    view.wait_for_selector("#g-boxes-choice", state="hidden")
    view.select_option("#g-run", label="MONet, seed 0")
    view.wait_for_selector("#g-boxes-choice", state="visible")
    with_box = pixels(view)
    view.click("#g-boxes")
    without = pixels(view)
    height, width = without.shape[:2]
    rows, columns = (np.nonzero((with_box != without).any(-1).any(axis))[0] for axis in (1, 0))
    expected = (0.5 * height, 0.75 * height, 0.25 * width, 0.75 * width)
    assert np.abs(np.array([rows[0], rows[-1], columns[0], columns[-1]]) - expected).max() <= 3
    view.click("#g-boxes")
    press_slot(view, 1)  # the box belongs to the second plane
    press_slot(view, 1)
    assert np.array_equal(pixels(view), with_box)
