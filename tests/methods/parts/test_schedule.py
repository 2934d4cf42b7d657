"""Learning rates against the formula, at steps where it gives round numbers."""

from __future__ import annotations

import pytest

from objbench.errors import RequestError
from objbench.methods.base import Progress
from objbench.methods.parts.schedule import ExponentialDecay, LinearSchedule, ScheduledValues
from objbench.spec.settings import parse


def at(step):
    return Progress("train", step, steps=10**6, epoch=0, nominal_epochs=330)


def test_warm_up_is_linear_and_decays_from_the_start():
    schedule = ExponentialDecay(
        learning_rate=4e-4, warmup_steps=10_000, decay_factor=0.5, decay_steps=100_000
    )
    assert schedule(at(0)) == 0
    assert schedule(at(5_000)) == pytest.approx(4e-4 * 0.5 * 0.5**0.05)
    assert schedule(at(10_000)) == pytest.approx(4e-4 * 0.5**0.1)
    assert schedule(at(100_000)) == pytest.approx(2e-4)
    assert schedule(at(150_000)) == pytest.approx(2e-4 * 0.5**0.5)


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
        ({"decay_steps": 0}, "decay_steps: expected a whole number >= 1, found 0"),
    ],
)
def test_what_makes_no_sense_is_refused(change, message):
    good = {"learning_rate": 4e-4, "warmup_steps": 10, "decay_factor": 0.5, "decay_steps": 100}
    with pytest.raises(RequestError, match=message):
        parse(ExponentialDecay, good | change)


LINEAR = LinearSchedule(initial=1.0, final=-1.0, start=0.2, end=0.6)


def test_a_linear_schedule_changes_between_two_parts_of_the_training():
    values = {part: LINEAR(Progress("train", part, 10, 0, 330)) for part in (0, 2, 3, 4, 6, 9)}
    assert values == pytest.approx({0: 1, 2: 1, 3: 0.5, 4: 0, 6: -1, 9: -1})
    assert LINEAR(None) == -1


def test_a_schedule_that_ends_at_once_is_constant():
    schedule = LinearSchedule(initial=5.0, final=2.0, start=0.0, end=0.0)
    assert {schedule(at(step)) for step in (0, 1, 999_999)} == {2.0}


def test_a_schedule_that_ends_before_it_starts_is_refused():
    with pytest.raises(RequestError, match=r"end: expected at least start, 0\.6, found 0\.2"):
        parse(LinearSchedule, {"initial": 1.0, "final": 0.0, "start": 0.6, "end": 0.2})


def test_scheduled_values_are_tensors_that_change_in_place_after_each_step():
    values = ScheduledValues({"rho": LINEAR})
    before, seen = values["rho"], []
    for step in range(10):
        seen.append(values["rho"].item())
        values.update(Progress("train", step, 10, 0, 330))
    assert seen == pytest.approx([LINEAR(Progress("train", step, 10, 0, 330)) for step in range(10)])
    assert values["rho"] is before
    assert before.item() == -1
    assert set(values.state_dict()) == {"rho"}
