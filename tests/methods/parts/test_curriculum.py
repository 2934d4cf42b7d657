"""Ramps at steps where their values are round numbers, and the clock that counts the steps."""

from __future__ import annotations

import math

import pytest
import torch

from objbench.errors import RequestError
from objbench.methods.base import Progress
from objbench.methods.parts.curriculum import Clock, CosineRamp, Ramp
from objbench.spec.settings import parse

BETA = {"start": 10.0, "end": 1.0, "start_step": 0, "end_step": 500}


def at(ramp, *steps):
    return [ramp.at(torch.tensor(float(step))).item() for step in steps]


def test_a_ramp_is_straight_between_two_constants():
    assert at(Ramp(**BETA), 0, 250, 500, 501, math.inf) == [10, 5.5, 1, 1, 1]
    assert at(Ramp(**BETA | {"start_step": 100}), 0, 100, 300) == [10, 10, 5.5]


def test_a_cosine_is_flat_at_both_ends_and_steepest_between():
    ramp = CosineRamp(start=1.0, end=0.1, start_step=0, end_step=30_000)
    expected = [1, 0.1 + 0.9 * 0.75, 0.55, 0.1 + 0.9 * 0.25, 0.1, 0.1, 0.1]
    assert at(ramp, 0, 10_000, 15_000, 20_000, 30_000, 40_000, math.inf) == pytest.approx(expected)
    assert at(CosineRamp(**BETA | {"end_step": 0}), 0, math.inf) == [10, 10]


def test_an_end_step_of_0_means_the_start_for_ever():
    assert at(Ramp(**BETA | {"end_step": 0}), 0, 1, 1e6, math.inf) == [10, 10, 10, 10]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"start_step": 500}, "end_step: expected 0 or more than start_step=500, found 500"),
        ({"end_step": -1}, "end_step: expected a whole number >= 0, found -1"),
        ({"start": math.inf}, "start: expected a number, found inf"),
    ],
)
def test_ramps_that_make_no_sense_are_refused(change, message):
    with pytest.raises(RequestError, match=message):
        parse(Ramp, BETA | change)


def test_a_shorter_training_goes_through_the_whole_curriculum():
    clock = Clock(nominal_steps=300_000)
    assert clock.step.item() == 0
    clock.advance(Progress("train", 49, 3000, 0, 330))  # step 49 is done: 50 of 3000
    assert clock.step.item() == 5000
    clock.restart()
    assert clock.step.item() == 0


def test_the_clock_is_part_of_the_state_of_a_run():
    clock, resumed = Clock(nominal_steps=1000), Clock(nominal_steps=1000)
    clock.advance(Progress("train", 6, 1000, 0, 330))
    resumed.load_state_dict(clock.state_dict())
    assert resumed.step.item() == 7


def test_without_a_progress_the_training_is_over():
    clock = Clock(nominal_steps=1000)
    assert clock.at(None).item() == math.inf
    assert clock.at(Progress("train", 30, 100, 0, 330)).item() == 300
    assert at(Ramp(**BETA), clock.at(None)) == [1]
