"""Typed hyper-parameters."""

from __future__ import annotations

import datetime
import math

import pytest
from pydantic import Field, ValidationError

from objbench.errors import RequestError
from objbench.methods.create import create
from objbench.spec.load import load_spec
from objbench.spec.settings import Count, Group, Positive, Recipe, fields_of, parse


class Model(Group):
    width: Count = Field(description="of a slot")


class Settings(Group):
    model: Model
    rate: Positive = Field(description="learning rate")


def test_a_configuration_becomes_typed_values():
    settings = parse(Settings, {"model": {"width": 8}, "rate": 1})
    assert settings.model.width == 8
    assert type(settings.rate) is float


@pytest.mark.parametrize("rate", [math.inf, math.nan, "1e-3", 0.0])
def test_only_finite_numbers_in_range_are_numbers(rate):
    with pytest.raises(RequestError, match="rate: expected a number > 0, found"):
        parse(Settings, {"model": {"width": 8}, "rate": rate})


def test_each_mistake_has_a_line():
    with pytest.raises(RequestError) as found:
        parse(Settings, {"model": {"width": 0, "xyz": 3}})
    assert str(found.value).splitlines() == [
        "model.width: expected a whole number >= 1, found 0",
        "unknown key in model 'xyz'. Known: width",
        "rate: expected a number > 0, found nothing",
    ]


def test_settings_do_not_change():
    settings = parse(Settings, {"model": {"width": 8}, "rate": 0.5})
    with pytest.raises(ValidationError, match="frozen"):
        settings.rate = 1.0


def test_fields_are_found_by_their_dotted_keys():
    assert {key: field.description for key, field in fields_of(Settings)} == {
        "model.width": "of a slot",
        "rate": "learning rate",
    }


def test_the_shared_recipe_has_all_keys_of_a_recipe_and_nothing_else():
    assert parse(Recipe, load_spec().recipe | {"steps": 3}).steps == 3
    assert list(load_spec().recipe) == list(Recipe.model_fields)


def test_a_value_that_no_yaml_has_is_refused_by_its_key():
    for value in (datetime.date(2024, 1, 1), {1, 2}, "\ud800"):
        with pytest.raises(RequestError, match=r"recipe\.precision: expected a value of yaml, found "):
            create("grid", "tetrominoes", **{"recipe.precision": value})
