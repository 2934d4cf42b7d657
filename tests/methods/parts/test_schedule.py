"""Learning rates against the formula, at steps where it gives round numbers."""

from __future__ import annotations

import pytest

from objbench.errors import RequestError
from objbench.methods.base import Progress
from objbench.methods.parts.schedule import ConstantRate, ExponentialDecay, LateDecay, LateDrop
from objbench.spec.settings import parse


def at(step):
    return Progress("train", step, steps=10**6, epoch=0, nominal_epochs=330)


def test_one_rate_stays_the_same():
    assert {ConstantRate(learning_rate=1e-4)(at(step)) for step in (0, 1, 999_999)} == {1e-4}


def test_warm_up_is_linear_and_decays_from_the_start():
    schedule = ExponentialDecay(
        learning_rate=4e-4, warmup_steps=10_000, decay_factor=0.5, decay_steps=100_000
    )
    assert schedule(at(0)) == 0
    assert schedule(at(5_000)) == pytest.approx(4e-4 * 0.5 * 0.5**0.05)
    assert schedule(at(10_000)) == pytest.approx(4e-4 * 0.5**0.1)
    assert schedule(at(100_000)) == pytest.approx(2e-4)
    assert schedule(at(150_000)) == pytest.approx(2e-4 * 0.5**0.5)


def test_the_decay_starts_where_it_is_told_to():
    schedule = LateDecay(
        learning_rate=4e-4, warmup_steps=10_000, decay_factor=0.5, decay_start=10_000, decay_steps=100_000
    )
    rates = [schedule(at(step)) for step in (5_000, 10_000, 60_000, 110_000)]
    assert rates == pytest.approx([2e-4, 4e-4, 4e-4 * 0.5**0.5, 2e-4])


def test_no_warm_up_and_no_decay_is_constant():
    schedule = ExponentialDecay(learning_rate=1e-4, warmup_steps=0, decay_factor=1.0, decay_steps=1)
    assert {schedule(at(step)) for step in (0, 1, 999_999)} == {1e-4}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"learning_rate": -1.0}, "learning_rate: expected a number >= 0, found -1.0"),
        ({"learning_rate": float("nan")}, "learning_rate: expected a number >= 0, found nan"),
        ({"warmup_steps": -1}, "warmup_steps: expected a whole number >= 0, found -1"),
        ({"decay_factor": 0.0}, "decay_factor: expected a number > 0 and <= 1, found 0.0"),
        ({"decay_start": -1}, "decay_start: expected a whole number >= 0, found -1"),
        ({"decay_steps": 0}, "decay_steps: expected a whole number >= 1, found 0"),
    ],
)
def test_what_makes_no_sense_is_refused(change, message):
    good = {
        "learning_rate": 4e-4,
        "warmup_steps": 10,
        "decay_factor": 0.5,
        "decay_start": 0,
        "decay_steps": 100,
    }
    with pytest.raises(RequestError, match=message):
        parse(LateDecay, good | change)


def test_a_late_drop_has_a_quadratic_warm_up_and_counts_parts_of_the_stage():
    schedule = LateDrop(learning_rate=4e-5, warmup=0.04, drop_at=0.9, drop_factor=0.1)
    rates = {
        step: schedule(Progress("train", step, 125_000, 0, 330))
        for step in (0, 2_500, 5_000, 112_499, 112_500)
    }
    assert rates == pytest.approx({0: 0, 2_500: 1e-5, 5_000: 4e-5, 112_499: 4e-5, 112_500: 4e-6})
    assert schedule(Progress("train", 25, 1_250, 0, 330)) == pytest.approx(1e-5)


def test_a_late_drop_without_warm_up_starts_at_the_full_rate():
    schedule = LateDrop(learning_rate=2e-3, warmup=0.0, drop_at=0.8, drop_factor=0.1)
    rates = [schedule(Progress("train", step, 10, 0, 330)) for step in (0, 7, 8, 9)]
    assert rates == pytest.approx([2e-3, 2e-3, 2e-4, 2e-4])
