"""Settings that make no model: which values pass, and how the others are refused."""

from __future__ import annotations

import math

import pytest

from objbench.errors import RequestError
from objbench.methods.parts.settings import (
    demand_known,
    demand_list,
    demand_number,
    demand_slots,
    demand_whole,
)


def of(value):
    return {"model": {"key": value}}


@pytest.mark.parametrize("value", [0, -1, 2.0, True, None, "3", [3]])
def test_what_is_no_whole_number_is_refused(value):
    demand_whole(of(3), "model.key", least=3)
    with pytest.raises(RequestError) as found:
        demand_whole(of(value), "model.key")
    assert str(found.value) == f"model.key={value}: expected a whole number from 1 up"


@pytest.mark.parametrize("values", [[], [0, 8], [8.0], [12], [24], None, 8, ["8"]])
def test_what_is_no_list_of_multiples_is_refused(values):
    demand_list(of([8, 16]), "model.key", most=16, multiple_of=8)
    with pytest.raises(RequestError) as found:
        demand_list(of(values), "model.key", most=16, multiple_of=8)
    assert str(found.value) == f"model.key={values}: expected a list of multiples of 8 from 8 to 16"


@pytest.mark.parametrize("value", [-0.1, math.inf, math.nan, None, "1"])
def test_what_is_no_finite_positive_number_is_refused(value):
    demand_number(of(0.5), "model.key", zero=False)
    demand_number(of(0), "model.key", zero=True)
    for zero in (True, False):
        with pytest.raises(RequestError, match=r"model\.key=.*: expected a finite number"):
            demand_number(of(value), "model.key", zero=zero)


def test_zero_may_be_excluded():
    with pytest.raises(RequestError, match=r"model\.key=0: expected a finite number above 0"):
        demand_number(of(0), "model.key", zero=False)


def test_an_unknown_word_is_told_the_nearest():
    demand_known(of("elu"), "model.key", ("elu", "relu"))
    with pytest.raises(RequestError, match=r"unknown model\.key 'rel': did you mean 'relu'"):
        demand_known(of("rel"), "model.key", ("elu", "relu"))


def test_too_few_slots_are_refused():
    demand_slots(2, 2, "so it is")
    with pytest.raises(RequestError, match="slots=1: expected a dataset with at least 2: so it is"):
        demand_slots(1, 2, "so it is")
