"""Accuracy and R2 with intervals, against scikit-learn and against resampling in a loop."""

from __future__ import annotations

import math

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, r2_score

from objbench.metrics.bootstrap import resampled_sums
from objbench.probe.scoring import scores
from objbench.probe.targets import Target

KIND = Target("kind", "categorical", np.empty((0, 0)))
PLACE = Target("place", "numeric", np.empty((0, 0, 0)))


def example(count: int = 60, seed: int = 0):
    """Images of one to four objects, a class of three and a place of two components, predicted with errors."""
    random = np.random.default_rng(seed)
    images = np.repeat(np.arange(count), random.integers(1, 5, count))
    kinds = random.integers(0, 3, len(images))
    guessed = np.where(random.random(len(images)) < 0.7, kinds, 0)
    places = random.normal([5, 1000], [2, 1], (len(images), 2))
    predicted = places + random.normal(0, 0.5, places.shape)
    return images, [(KIND, guessed, kinds), (PLACE, predicted, places)]


def test_values_are_those_of_scikit_learn():
    images, found = example()
    (kind, place), (accuracy, r2) = (found_by.values() for found_by in scores(found, images, 60))
    assert (kind.measure, place.measure) == (accuracy.measure, r2.measure) == ("accuracy", "r2")
    assert kind.value == pytest.approx(accuracy_score(found[0][2], found[0][1]))
    assert place.value == pytest.approx(r2_score(found[1][2], found[1][1]))
    assert (accuracy.value, r2.value) == pytest.approx((kind.value, place.value))


def test_intervals_are_those_of_resampled_images():
    images, found = example()
    random = np.random.default_rng(1)
    drawn = []
    for _ in range(1000):
        rows = np.concatenate([np.flatnonzero(images == i) for i in random.integers(0, 60, 60)])
        drawn.append(
            [
                accuracy_score(found[0][2][rows], found[0][1][rows]),
                r2_score(found[1][2][rows], found[1][1][rows]),
            ]
        )
    expected = np.quantile(drawn, [0.025, 0.975], axis=0).T
    kind, place = scores(found, images, 60).factors.values()
    np.testing.assert_allclose([kind.interval, place.interval], expected, atol=0.015)
    low, high = kind.interval
    assert low < kind.value < high


def test_intervals_of_a_few_images_are_those_of_the_draws_made():
    images, [_, (_, predicted, true)] = example(6)
    drawn = []
    for times in resampled_sums(np.eye(6)):  # how often each image is drawn
        rows = np.repeat(np.arange(len(images)), times[images].astype(int))
        error, spread = (true[rows] - predicted[rows]) ** 2, (true[rows] - true[rows].mean(0)) ** 2
        drawn.append((1 - error.sum(0) / spread.sum(0)).mean())
    found = scores([(PLACE, predicted, true)], images, 6)
    assert found.factors["place"].interval == pytest.approx(np.quantile(drawn, [0.025, 0.975]), rel=1e-9)


def test_numbers_far_from_zero_score_as_those_near_it():
    images, [_, (_, predicted, true)] = example()
    near, far = (scores([(PLACE, predicted + by, true + by)], images, 60).means["r2"] for by in (0, 1e8))
    assert (far.value, *far.interval) == pytest.approx((near.value, *near.interval), abs=1e-6)


def test_means_are_over_the_factors_of_a_measure():
    images, found = example()
    other = example(seed=5)[1]
    size = min(len(found[0][1]), len(other[0][1]))
    again = Target("accuracy", "categorical", KIND.values)  # named as the mean is
    kinds = [
        (target, guess[:size], true[:size])
        for target, ((_, guess, true), _) in zip((KIND, again), (found, other), strict=True)
    ]
    factors, means = scores(kinds, images[:size], 60)
    (one, two), (mean,) = factors.values(), means.values()
    assert mean.measure == "accuracy"
    assert mean.value == pytest.approx((one.value + two.value) / 2)
    assert min(one.interval[0], two.interval[0]) <= mean.interval[0] < mean.value < mean.interval[1]


def test_a_component_without_variation_is_left_out():
    images, [_, (_, predicted, true)] = example()
    flat = np.concatenate([true, np.full((len(true), 1), 1e6)], 1)
    guessed = np.concatenate([predicted, np.full((len(true), 1), 1e6 + 1)], 1)
    (found,) = scores([(PLACE, guessed, flat)], images, 60).factors.values()
    assert found.value == pytest.approx(r2_score(true, predicted))
    nothing = scores([(PLACE, guessed[:, 2:], flat[:, 2:])], images, 60)
    assert nothing.means == {}
    assert math.isnan(nothing.factors[PLACE.name].value)
    assert nothing.factors[PLACE.name].interval is None


def test_one_image_has_no_interval():
    images, found = example(1)
    assert all(score.interval is None for score in scores(found[:1], images, 1).factors.values())


def test_classes_that_only_the_test_has_are_wrong():
    guessed, true = np.array(["a", "b"], object), np.array(["a", "new"])
    assert scores([(KIND, guessed, true)], np.array([0, 1]), 2).factors[KIND.name].value == 0.5
