"""Learning rates against the formula, at steps where it gives round numbers."""

from __future__ import annotations

import pytest

from objbench.errors import RequestError
from objbench.methods.base import Progress
from objbench.methods.parts.schedule import ExponentialDecay


def at(step):
    return Progress("train", step, steps=10**6, epoch=0, nominal_epochs=330)


def test_warm_up_is_linear_and_decays_from_the_start():
    schedule = ExponentialDecay(4e-4, warmup_steps=10_000, decay_factor=0.5, decay_steps=100_000)
    assert schedule(at(0)) == 0
    assert schedule(at(5_000)) == pytest.approx(4e-4 * 0.5 * 0.5**0.05)
    assert schedule(at(10_000)) == pytest.approx(4e-4 * 0.5**0.1)
    assert schedule(at(100_000)) == pytest.approx(2e-4)
    assert schedule(at(150_000)) == pytest.approx(2e-4 * 0.5**0.5)


def test_no_warm_up_and_no_decay_is_constant():
    schedule = ExponentialDecay(1e-4, warmup_steps=0, decay_factor=1.0, decay_steps=1)
    assert {schedule(at(step)) for step in (0, 1, 999_999)} == {1e-4}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"learning_rate": -1.0}, "schedule.learning_rate=-1.0: expected a finite number, at least 0"),
        ({"learning_rate": float("nan")}, "learning_rate=nan"),
        ({"warmup_steps": -1}, "schedule.warmup_steps=-1: expected a whole number from 0 up"),
        ({"decay_factor": 0.0}, "decay_factor=0.0: expected more than 0 and at most 1"),
        ({"decay_steps": 0}, "schedule.decay_steps=0: expected a whole number from 1 up"),
    ],
)
def test_what_makes_no_sense_is_refused(change, message):
    good = {"learning_rate": 4e-4, "warmup_steps": 10, "decay_factor": 0.5, "decay_steps": 100}
    with pytest.raises(RequestError, match=message):
        ExponentialDecay(**(good | change))
