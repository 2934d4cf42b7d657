"""What the yaml layers say of metrics."""

from __future__ import annotations

import math

import pytest
import torch

from objbench.errors import RequestError
from objbench.metrics import score
from objbench.registry import BUILT_IN
from objbench.spec.load import load_spec
from objbench.spec.metrics import MetricSpec


def test_every_metric_is_described_in_full():
    described = {name: metric for name, metric in load_spec().metrics.items() if not metric.cost}
    assert set(described) == {
        *BUILT_IN["metrics"],
        "n_boxes",
        "n_objects",
    }  # those two are counts, not scores of masks
    for name, metric in described.items():
        assert {"title", "summary", "meaning", "better", "range"} <= metric.model_fields_set, name


def test_titles_tell_metrics_apart():
    titles = [metric.title for metric in load_spec().metrics.values()]
    assert len(set(titles)) == len(titles)


@pytest.mark.parametrize("definition", ["clevrtex", "deepmind", "emorl"])
def test_values_are_in_the_stated_range_and_some_reach_its_ends(definition):
    generator = torch.Generator().manual_seed(0)
    spec, seen = load_spec(), {}
    for planes in (1, 2, 3, 9):
        pred, true = (torch.randint(planes, (200, 2, 2), generator=generator) for _ in range(2))
        true += torch.randint(2, (200, 1, 1), generator=generator)  # every second image without background
        images = torch.rand(200, 3, 2, 2, generator=generator)
        for name, values in score(pred, true, 2 * images, images, definition).items():
            seen.setdefault(name, []).append(values[~values.isnan()])
    for name, parts in seen.items():
        low, high = spec.metric(name).range
        values = torch.cat(parts)
        assert values.min() >= (-math.inf if low is None else low - 1e-12), name
        assert values.max() <= (math.inf if high is None else high), name
    assert torch.cat(seen["ari"]).min() == -0.5
    if definition == "clevrtex":
        assert torch.cat(seen["miou_fg"]).max() == torch.cat(seen["dice_fg"]).max() == 2


def test_a_metric_that_nothing_is_said_of_is_a_plain_number_without_a_best_or_a_column():
    metric = load_spec().metric("own")
    assert metric == MetricSpec(title="own")
    assert (metric.format(0.25), metric.better, metric.column, metric.meaning) == (
        "0.25000", None, False, "not stated",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [("ari", 0.98765, "98.8"), ("mse", 0.00125, "0.00125"), ("hours", 12.345, "12.35"), ("iterations", 154440, "154,440"),
     ("ari", -0.0003, "0.0"), ("ari", 0.0115, "1.2"), ("ari", 0.0125, "1.2"), ("ari", math.inf, "inf"), ("ari", 1e30, f"{1e32:.1f}"), ("ari", -1e14, "-10000000000000000.0"), ("ari", -0.0006, "-0.1"), ("mse", -1e-7, "0.00000"), ("hours", -0.001, "0.00")],
)  # fmt: skip
def test_values_are_printed_in_their_unit(name, value, text):
    assert load_spec().metric(name).format(value) == text


def test_what_looks_equal_in_a_table_is_equal_when_rounded():
    spec = load_spec()
    assert spec.metric("iterations").rounded(154440.3) == 154440
    assert spec.metric("ari").rounded(0.98765) == 98.8
    assert spec.metric("ari").rounded(-0.0003) == 0


def test_a_layer_describes_a_metric_and_gives_a_known_one_a_column(tmp_path):
    layer = tmp_path / "own.yaml"
    layer.write_text("metrics: {own: {title: Own, better: lower, column: true}, mbo: {column: true}}")
    spec = load_spec(layer)
    assert list(spec.columns()) == ["ari_fg", "ari", "miou", "miou_fg", "mbo", "mse", "own"]
    assert (spec.metric("own").sign, spec.metric("mbo").meaning) == (
        -1,
        "objects only, largest IoU without matching",
    )


@pytest.mark.parametrize(
    ("block", "message"),
    [
        ("own: {tilte: Own}", "unknown key in metrics.own 'tilte': did you mean 'title'?"),
        (
            "own: {title: Own, better: smaller}",
            "metrics.own.better: expected higher, lower or null, found 'smaller'",
        ),
        ("own: {title: Own, range: [1, 0]}", r"range \[1, 0\] of Own: expected the lower bound first"),
    ],
)
def test_wrong_blocks_are_refused(tmp_path, block, message):
    layer = tmp_path / "own.yaml"
    layer.write_text(f"metrics: {{{block}}}")
    with pytest.raises(RequestError, match=message):
        load_spec(layer)


def test_nothing_is_chosen_by_a_metric_without_a_direction(tmp_path):
    layer = tmp_path / "own.yaml"
    layer.write_text("metrics: {own: {title: Own}}")
    with pytest.raises(RequestError, match=r"own: no layer .* metrics\.own\.better says it"):
        load_spec(layer).directed_metric("own")
    with pytest.raises(RequestError, match="hours is a cost, which tells of a device"):
        load_spec().directed_metric("hours")
