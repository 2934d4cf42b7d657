"""The page in headless Chromium: real clicks and keys on what a person would use."""

from __future__ import annotations

import base64
import io
import shutil

import numpy as np
import pytest
from helpers.run_artifacts import per_image, predicted, save_run, scenes
from helpers.synthetic import generated, record, scored, scores
from PIL import Image

from objbench.report.html.page import page
from objbench.report.rows.collect import collect
from objbench.report.rows.measured import Selection
from objbench.report.tables.plan import dataset_plans
from objbench.spec.load import load_spec

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine (Debian: apt install chromium)"),
]
N = 320
BOX = [0.25, 0.5, 0.5, 0.25]  # left, top, width, height


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    """A page of two methods on tetrominoes (two seeds, one seed), and of both on generated multi_dsprites."""
    folder = tmp_path_factory.mktemp("browser")
    rng = np.random.default_rng(0)
    for dataset, size in (("tetrominoes", 35), ("multi_dsprites", 64)):
        images, truth = scenes(5, size, 3, rng)
        make = record if dataset == "tetrominoes" else generated
        changes = {} if dataset == "tetrominoes" else {"generator": {"version": 2, "seed": 0}}
        on = {"test": scored(dataset, height=size, width=size, **changes)}
        for method, seed, score in (("objmae", 0, 0.97), ("objmae", 1, 0.99), ("monet", 0, 0.1234)):
            metrics = {"test": scores(ari_fg=score)}
            item = make(seed, method, dataset=dataset, metrics=metrics, on=on)
            place = folder / "runs" / dataset / method / f"seed-{seed}"
            samples = predicted(images, truth, 4, rng)
            if method == "monet":  # as a method of boxes would have them
                samples["boxes"] = np.tile(np.array(BOX, dtype=np.float32), (len(images), 1, 1))
                samples["presence"] = np.ones((len(images), 1), dtype=np.float32)
            save_run(place, item, samples, per_image(N, rng))
    spec = load_spec()
    rows = collect(spec, folder / "runs", Selection()).rows
    (folder / "report.html").write_text(page(dataset_plans(rows, [], spec), spec))
    return (folder / "report.html").as_uri()


@pytest.fixture(scope="module")
def browser():
    playwright = pytest.importorskip("playwright.sync_api", reason="needs playwright: pip install -e .[dev]")
    with playwright.sync_playwright() as driver:
        started = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield started
        started.close()


@pytest.fixture
def view(browser, address):
    """The page in a window of its own; whatever it complains about or asks the network for fails the test."""
    context = browser.new_context(viewport={"width": 1280, "height": 900}, color_scheme="light")
    shown = context.new_page()
    complaints = []
    shown.on("console", lambda message: complaints.append(message.text))
    shown.on("pageerror", lambda error: complaints.append(str(error)))
    shown.on(
        "request",
        lambda asked: None if asked.url.startswith(("file:", "data:")) else complaints.append(asked.url),
    )
    shown.goto(address)
    shown.wait_for_selector("#g-slots .slot")
    yield shown
    context.close()
    assert complaints == []


def labels(view, table="#t0", section=0):
    return view.locator(
        f"{table} tbody.group[data-section='{section}'] tr.mean:visible .label"
    ).all_inner_texts()


def column(view, number, table="#t0"):
    """What the lines print in a column of values, by the order on the page."""
    rows = view.locator(f"{table} tr.mean:visible")
    return [row.locator("td").nth(number).inner_text() for row in rows.all()]


def check(view, facet, value):
    """Click a box of a filter, by the name beside it."""
    if view.locator(f"[data-facet={facet}]").get_attribute("open") is None:
        view.click(f"[data-facet={facet}] summary")
    view.locator(f"[data-facet={facet}] label").filter(has_text=value).first.click()


def pixels(view, selector="#g-stage"):
    """The pixels of a canvas as an array (H,W,4)."""
    address = view.locator(selector).first.evaluate("(canvas) => canvas.toDataURL('image/png')")
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(address.partition(",")[2]))).convert("RGBA"))


def press_slot(view, number):
    view.locator("#g-slots .slot").nth(number).click()


def choose(view, name, value):
    view.click(f"label:has(input[name={name}][value={value}])")


def test_a_click_sorts_best_first_then_worst_then_not_at_all(view):
    before = labels(view, section=1)
    heading = view.locator("#t0 thead button", has_text="ARI-FG")
    heading.click()
    values = [float(text.split(" ")[0]) for text in column(view, 3)]
    n = len(labels(view, section=0))
    assert values[:n] == sorted(values[:n], reverse=True)
    assert values[n:] == sorted(values[n:], reverse=True)
    assert view.locator("#t0 thead th[aria-sort]").get_attribute("aria-sort") == "descending"
    shown = "(button) => ['::before', '::after'].map((side) => getComputedStyle(button, side).opacity)"
    assert "0" not in view.locator("#t0 thead button").last.evaluate(shown)  # without a pointer on it
    arrows = "(button) => ['::before', '::after'].map((side) => getComputedStyle(button, side).content)"
    assert view.locator("#t0 thead th[aria-sort] button").evaluate(arrows) == ['"↓"', "none"]
    heading.click()
    values = [float(text.split(" ")[0]) for text in column(view, 3)]
    assert values[n:] == sorted(values[n:])
    heading.click()
    assert view.locator("#t0 thead th[aria-sort]").count() == 0
    assert labels(view, section=1) == before


def test_missing_values_stay_last_both_ways_and_lower_errors_come_first(view):
    heading = view.locator("#t0 thead button", has_text="miou").first
    for _ in range(2):
        heading.click()
        published = column(view, 5)[len(labels(view, section=0)) :]
        first = published.index("-")
        assert first > 0
        assert set(published[first:]) == {"-"}
    view.click("#t0 thead button:has-text('mse')")
    assert view.locator("#t0 thead th[aria-sort]").get_attribute("aria-sort") == "ascending"


def test_keys_sort_too(view):
    view.focus("#t0 thead button:has-text('ARI-FG')")
    view.keyboard.press("Enter")
    assert labels(view)[0] == "objmae"
    view.keyboard.press("Space")
    assert labels(view)[0] == "MONet"


def test_seeds_unfold_below_their_mean_and_move_with_it(view):
    assert view.locator("#t0 tr.seed:visible").count() == 0
    view.check("#seeds")
    assert view.locator("#t0 tr.seed:visible").count() == 3
    view.click("#t0 thead button:has-text('ARI-FG')")
    first = view.locator("#t0 tbody.group").first.locator("tr:visible .label").all_inner_texts()
    assert first == ["objmae", "seed 0", "seed 1"]


def test_filters_narrow_tables_curves_images_and_runs(view):
    assert view.locator("details.run:visible").count() == 6
    check(view, "method", "MONet")
    assert "MONet" not in labels(view)
    assert view.locator("details.run:visible").count() == 4
    assert view.locator("#g-run option").count() == 4
    assert view.locator("#charts .curve").count() == 4
    assert view.locator("#shown").inner_text() == "4 of 6 runs"
    check(view, "dataset", "Multi-dSprites")
    assert view.locator("#t1").is_hidden()
    assert view.locator("#charts figure:visible").count() == 1
    check(view, "seed", "1")
    assert view.locator("details.run:visible").count() == 1
    view.click("#reset")
    assert view.locator("details.run:visible").count() == 6
    assert view.locator("#t1").is_visible()
    assert view.locator("#reset").is_hidden()


def test_published_and_generated_rows_can_be_hidden(view):
    check(view, "origin", "published")
    assert labels(view, section=1) == []
    assert view.locator("#t0 tbody.section:visible th").all_inner_texts() == ["measured"]
    check(view, "origin", "measured on generated data")
    assert view.locator("#t1").is_hidden()


def test_a_filter_without_a_value_hides_everything_and_says_so(view):
    view.click("[data-facet=method] summary")
    view.click("[data-facet=method] [data-none]")
    assert view.locator("article.table:visible, details.run:visible, #viewer:visible").count() == 0
    assert view.locator("#shown").inner_text() == "0 of 6 runs"
    view.keyboard.press("Escape")
    assert view.locator("[data-facet=method]").get_attribute("open") is None


@pytest.mark.parametrize("way", ["hover", "focus"])
def test_a_mark_tells_its_note(view, way):
    mark = view.locator("#t0 .marks a").first
    getattr(mark, way)()
    note = view.locator(mark.get_attribute("href") + " .note").inner_text()
    assert view.locator("#tip").inner_text() == note
    view.keyboard.press("Escape")
    assert view.locator("#tip").is_hidden()


def test_the_theme_goes_from_auto_to_light_to_dark_and_is_kept(view):
    def paper():
        return view.evaluate("getComputedStyle(document.body).backgroundColor")

    light = paper()
    view.emulate_media(color_scheme="dark")
    dark = paper()
    assert dark != light
    view.click("#theme")
    assert (view.inner_text("#theme"), paper()) == ("Theme: light", light)
    view.click("#theme")
    view.emulate_media(color_scheme="light")
    assert (view.inner_text("#theme"), paper()) == ("Theme: dark", dark)
    view.reload()
    assert (view.inner_text("#theme"), paper()) == ("Theme: dark", dark)


def test_curves_read_out_the_point_under_the_pointer_and_by_key(view):
    chart = view.locator("#charts svg.chart").first
    chart.scroll_into_view_if_needed()
    box = chart.bounding_box()
    view.mouse.move(box["x"] + box["width"] - 12, box["y"] + 20)
    readout = view.locator("#charts .readout").first
    assert "step 6,000: ARI-FG 90.0" in readout.inner_text()
    view.mouse.move(2, 2)
    assert readout.inner_text() == ""
    chart.focus()
    view.keyboard.press("ArrowRight")
    view.keyboard.press("ArrowLeft")
    assert "step 5,800: ARI-FG 87.0" in readout.inner_text()


def test_curves_switch_to_other_metrics_and_the_loss(view):
    before = view.locator("#charts .curve").first.get_attribute("points")
    choose(view, "curve", "loss")
    assert view.locator("#charts .curve").first.get_attribute("points") != before
    assert "not comparable between methods" in view.inner_text("#curve-hint")


def test_buttons_and_arrow_keys_step_through_the_images_by_score(view):
    assert view.inner_text("#g-where") == f"1 of the 5 kept of {N} images"
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
    assert f" of {N}" in row
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


def test_provenance_opens_from_the_image(view):
    view.click("#g-scores a")
    view.locator("details.run[open]").first.wait_for()  # the page hears of its new address a moment later
    assert view.locator("details.run[open]").count() == 1
    assert "train-fingerprint" in view.inner_text("details.run[open]")
    view.click("#unfold")
    assert view.locator("details.run[open]").count() == 6
    view.click("#unfold")
    assert view.locator("details.run[open]").count() == 0


def test_a_telephone_shows_whole_names_and_a_score_at_once(view):
    view.set_viewport_size({"width": 390, "height": 844})
    for name in view.locator("#t0 tbody .mean .label").all():
        assert name.evaluate("(label) => label.getClientRects().length") == 1
    score = view.locator("#t0 tbody .mean td.val").first.bounding_box()
    assert score["x"] + score["width"] <= 390
    assert not view.locator("#t0 .fact").first.is_visible()
    facts = "(row) => getComputedStyle(row.querySelector('th'), '::after').content"
    row = view.locator("#t0 tbody .mean", has_text="objmae").first
    assert row.evaluate(facts) == '"emorl, n 2, train 59,680"'
    view.set_viewport_size({"width": 800, "height": 844})
    assert view.locator("#t0 .fact").first.is_visible()
    assert row.evaluate(facts) == "none"


@pytest.mark.parametrize("width", [390, 1600])
def test_the_page_fits_its_window(view, width):
    view.set_viewport_size({"width": width, "height": 900})
    assert view.evaluate("document.documentElement.scrollWidth") == width


def test_everything_can_be_reached_by_key(view):
    view.keyboard.press("Tab")
    reached = set()
    for _ in range(200):
        reached.add(
            view.evaluate("document.activeElement.id || document.activeElement.tagName.toLowerCase()")
        )
        view.keyboard.press("Tab")
    assert {"theme", "seeds", "summary", "a", "g-run", "g-next", "g-stage", "g-opacity", "unfold"} <= reached


def test_the_tables_stand_without_scripts(browser, address):
    context = browser.new_context(java_script_enabled=False)
    plain = context.new_page()
    plain.goto(address)
    assert plain.locator("#t0 tr.mean:visible").count() > 5
    assert plain.locator("noscript").is_visible()
    context.close()


def test_it_prints_on_paper_whatever_the_theme(view):
    view.emulate_media(color_scheme="dark")
    view.click("#theme")
    view.click("#theme")
    view.emulate_media(media="print")
    assert view.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert view.locator(".filters").is_hidden()
    assert view.locator("#t0 tr.mean").first.is_visible()
