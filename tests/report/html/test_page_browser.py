"""The page in headless Chromium: real clicks and keys on what a person would use, but for the gallery."""

from __future__ import annotations

import pytest
from helpers.browser import IN_BROWSER, choose

pytestmark = IN_BROWSER


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


def test_infinity_is_sorted_as_the_largest_number(view):
    n = len(labels(view, section=0))
    last = view.locator("#t0 tr.mean:visible").nth(n - 1).locator("td").nth(3).locator(".v")
    last.evaluate("(value) => { value.textContent = 'inf'; }")
    heading = view.locator("#t0 thead button", has_text="ARI-FG")
    heading.click()
    assert column(view, 3)[:n][0] == "inf"
    heading.click()
    assert column(view, 3)[:n][-1] == "inf"
