from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from scipy import stats

from objbench.metrics.bootstrap import bootstrap

SCORES = np.random.default_rng(3).beta(8, 2, 320)


def test_agrees_with_scipy() -> None:
    found = bootstrap({"ari": SCORES}, resamples=20_000)["ari"]
    rng = np.random.default_rng(4)
    reference = stats.bootstrap((SCORES,), np.mean, n_resamples=20_000, method="percentile", rng=rng)
    width = reference.confidence_interval.high - reference.confidence_interval.low
    assert found == pytest.approx(tuple(reference.confidence_interval), abs=0.02 * width)


def test_covers_the_true_mean_as_often_as_it_says() -> None:
    rng, hits = np.random.default_rng(5), 0
    for _ in range(300):
        low, high = bootstrap({"ari": rng.normal(0.5, 0.1, 100)}, resamples=400)["ari"]
        hits += low < 0.5 < high
    assert abs(hits - 0.95 * 300) <= 8  # seeded; a 90 % interval is hit 259 times


def test_the_same_values_give_the_same_interval_and_every_metric_its_own() -> None:
    both = bootstrap({"ari": SCORES, "miou": SCORES / 2})
    assert both["ari"] == bootstrap({"ari": SCORES})["ari"]
    assert both["miou"] == pytest.approx(tuple(bound / 2 for bound in both["ari"]))


def test_undefined_values_are_left_out() -> None:
    with_gaps = np.concatenate([SCORES[:50], np.full(50, np.nan)])
    low, high = bootstrap({"mbo": with_gaps})["mbo"]
    assert low < SCORES[:50].mean() < high
    assert high - low == pytest.approx(np.subtract(*bootstrap({"mbo": SCORES[:50]})["mbo"][::-1]), rel=0.2)


@pytest.mark.parametrize("values", [[0.5], [0.5, np.nan], [np.nan, np.nan]])
def test_fewer_than_two_values_have_no_interval(values: list[float]) -> None:
    assert bootstrap({"ari": np.array(values)}) == {}


def test_ten_thousand_images_are_worked_on_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = bootstrap({"ari": SCORES}, resamples=1000)
    monkeypatch.setattr("objbench.metrics.bootstrap._DRAWS", 7 * 320)
    tracemalloc.start()
    found = bootstrap({"ari": SCORES}, resamples=1000)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert found["ari"] == pytest.approx(whole["ari"], abs=1e-12)
    assert peak < 1000 * 320  # bytes: fewer than there are draws


def test_a_metric_that_is_infinite_for_an_image_has_no_interval() -> None:
    found = bootstrap({"psnr": np.append(SCORES, np.inf), "ari": np.append(SCORES, 0.5)})
    assert list(found) == ["ari"]
