from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from scipy.stats import t as student
from scipy.stats import ttest_ind, ttest_rel

from objbench.metrics.paired import paired


def simulated(rng, seeds, n_images, gap=0.1, between_seeds=0.02, between_images=0.2, noise=0.05):
    """Two methods on images of common difficulty, `gap` apart; (seeds of first, seeds of second)."""
    difficulty = rng.normal(0, between_images, n_images)
    first, second = (
        mean + rng.normal(0, between_seeds, (n, 1)) + difficulty + rng.normal(0, noise, (n, n_images))
        for n, mean in zip(seeds, (0.5 + gap, 0.5), strict=True)
    )
    return first, second


def test_means_and_difference_are_those_of_the_tables():
    first = np.array([[0.2, np.nan, 0.4], [0.6, 0.8, 1.0]])
    second = np.array([[0.1, 0.9, 0.3]])
    found = paired(first, second)
    assert found.n_images == 2
    assert found.means == pytest.approx(((0.3 + 0.8) / 2, 0.2))
    assert found.difference == pytest.approx(0.35)
    assert found.interval[0] < 0.35 < found.interval[1]


def test_the_images_ahead_are_counted_by_means_over_seeds():
    first = np.array([[0.0, 0.4, 0.5, np.nan, 0.1], [1.0, 0.4, 0.5, np.nan, 0.1]])
    second = np.array([[0.4, 0.6, 0.5, 0.9, np.nan]])
    found = paired(first, second)
    assert found.n_images == 3
    assert found.ahead == pytest.approx((1 / 3, 1 / 3))


def test_what_is_equal_but_for_rounding_is_a_tie():
    found = paired(np.array([[0.1 + 0.2, 0.1]]), np.array([[0.3, 0.2]]))
    assert found.ahead == (0.0, 0.5)


@pytest.mark.parametrize("seeds", [(4, 4), (3, 2), (5, 1)])
def test_exchanging_the_methods_changes_the_sign(seeds):
    first, second = simulated(np.random.default_rng(0), seeds, 200)
    one, other = paired(first, second), paired(second, first)
    assert other.difference == -one.difference
    assert other.interval == (-one.interval[1], -one.interval[0])


@pytest.mark.parametrize("together", [False, True])
def test_the_error_is_that_of_all_images_and_seeds_that_can_be_drawn(together):
    first, second = simulated(np.random.default_rng(0), (3, 3), 4, between_seeds=0.1)
    images, seeds = np.array(list(product(range(4), repeat=3))), np.array(list(product(range(3), repeat=2)))
    of_first, of_second = (first[seeds].mean(1), second[seeds].mean(1))  # each (9,4)
    drawn = of_first - of_second if together else (of_first[:, None] - of_second).reshape(-1, 4)
    variance = drawn[:, images].mean(2).var()  # of 9 or 81 draws of seeds times 64 draws of images
    scattered = (first - second,) if together else (first, second)
    between = [seeds.mean(1).var(ddof=1) / 3 for seeds in scattered]
    over_images = variance - sum(between)
    freedom = variance**2 / (sum(part**2 for part in between) / 2 + over_images**2 / 3)
    half = student.ppf(0.975, freedom) * variance**0.5
    found = paired(first, second, together=together)
    assert found.interval == pytest.approx((found.difference - half, found.difference + half), rel=1e-9)


def test_equal_methods_have_no_interval_of_positive_length():
    values = np.full((3, 20), 0.7)
    found = paired(values, values)
    assert (found.difference, found.interval, found.ahead) == (0.0, (0.0, 0.0), (0.0, 0.0))


def test_one_image_shows_no_spread():
    found = paired(np.array([[0.8], [0.8]]), np.array([[0.5], [0.5]]))
    assert (found.difference, found.interval, found.n_images) == (pytest.approx(0.3), None, 1)
    assert paired(np.array([[0.8, np.nan]]), np.array([[0.5, 0.5]])).interval is None


def test_readings_of_the_same_trainings_are_paired_by_seed():
    rng = np.random.default_rng(0)
    seeds, images = rng.normal(0.6, 0.2, (3, 1)), rng.normal(0, 0.1, (1, 400))
    first = seeds + images + rng.normal(0, 0.01, (3, 400))
    second = first - 0.012 - np.array([[0.001], [0.0], [-0.001]])
    apart, together = paired(first, second), paired(first, second, together=True)
    assert together.difference == apart.difference == pytest.approx(0.012)
    per_seed = (first - second).mean(1)
    half = (
        student.ppf(0.975, 2) * per_seed.std(ddof=1) / 3**0.5
    )  # what scatters are the differences of the seeds
    assert together.interval == pytest.approx((0.012 - half, 0.012 + half), rel=1e-3)
    assert apart.interval[0] < 0 < together.interval[0]
    same = paired(first, first, together=True)
    assert (same.difference, same.interval) == (0.0, (0.0, 0.0))


def test_the_difficulty_of_images_cancels():
    rng = np.random.default_rng(0)
    first, second = simulated(rng, (1, 1), 400, noise=0.01)
    apart = paired(first, second[:, rng.permutation(400)])
    together = paired(first, second)
    length = [high - low for low, high in (together.interval, apart.interval)]
    assert length[0] < length[1] / 10


def test_one_seed_each_gives_the_interval_of_the_paired_t_test():
    first, second = simulated(np.random.default_rng(0), (1, 1), 400)
    expected = ttest_rel(first[0], second[0]).confidence_interval(0.95)
    assert paired(first, second).interval == pytest.approx(tuple(expected), rel=1e-9)


def test_seeds_without_other_scatter_give_the_interval_of_welch():
    rng = np.random.default_rng(0)
    seeds = rng.normal(0.8, 0.05, 5), rng.normal(0.6, 0.01, 4)
    expected = ttest_ind(*seeds, equal_var=False).confidence_interval(0.95)
    found = paired(*(np.repeat(values[:, None], 30, axis=1) for values in seeds))
    assert found.interval == pytest.approx(tuple(expected), rel=1e-9)


@pytest.mark.parametrize(("seeds", "least"), [((5, 5), 0.93), ((3, 3), 0.93), ((5, 1), 0.90)])
def test_the_interval_covers_the_truth(seeds, least):
    rng = np.random.default_rng(1)
    covered = 0
    for _ in range(200):
        spread = 0.02 if 1 not in seeds else 0.0
        first, second = simulated(rng, seeds, 80, between_seeds=spread)
        low, high = paired(first, second).interval
        covered += low <= 0.1 <= high
    assert least <= covered / 200
