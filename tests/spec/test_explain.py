"""Refusals of values, in the words that also describe what is allowed."""

from __future__ import annotations

from datetime import date
from typing import Annotated, Any, Literal

import pytest
from pydantic import BaseModel, Field, ValidationError, field_validator

from objbench.spec.explain import explain, in_words, refusal
from objbench.spec.settings import Count, Counts, Group, Positive


class Inner(Group):
    width: Count
    channels: Counts
    kind: Literal["log", "linear"] | None
    cosines: Literal[0] | Annotated[int, Field(ge=2)]


class Outer(Group):
    model: Inner
    rates: dict[str, Positive] = {}
    several: list[Inner] = []
    maybe: Inner | None = None
    even: int = 0

    @field_validator("even")
    @classmethod
    def _even(cls, value: int) -> int:
        if value % 2:
            raise ValueError(f"even: {value} is odd")
        return value


GOOD: dict[str, Any] = {"width": 3, "channels": [8, 16], "kind": "log", "cosines": 0}


def lines(content: dict[str, Any]) -> list[str]:
    with pytest.raises(ValidationError) as found:
        Outer.model_validate(content)
    return explain(Outer, found.value)


def test_a_refusal_tells_key_expectation_and_finding():
    assert (
        str(refusal("model.kind", "log or linear", "lo")) == "model.kind: expected log or linear, found 'lo'"
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"width": 0}, "model.width: expected a whole number >= 1, found 0"),
        ({"width": True}, "model.width: expected a whole number >= 1, found True"),
        ({"width": 3.0}, "model.width: expected a whole number >= 1, found 3.0"),
        ({"width": None}, "model.width: expected a whole number >= 1, found None"),
        ({"channels": []}, "model.channels: expected a non-empty list of whole numbers >= 1, found []"),
        ({"channels": 8}, "model.channels: expected a non-empty list of whole numbers >= 1, found 8"),
        ({"channels": [8, 0]}, "model.channels.1: expected a whole number >= 1, found 0"),
        ({"kind": "logs"}, "model.kind: expected log, linear or null, found 'logs'"),
        ({"cosines": 1}, "model.cosines: expected 0 or a whole number >= 2, found 1"),
        (
            {"widht": 3},
            "unknown key in model 'widht': did you mean 'width'? Known: channels, cosines, kind, width",
        ),
    ],
)
def test_mistakes_are_told_one_line_each(change, message):
    assert lines({"model": GOOD | change}) == [message]


def test_what_is_missing_is_told():
    assert lines({"model": {key: GOOD[key] for key in ("width", "channels", "kind")}}) == [
        "model.cosines: expected 0 or a whole number >= 2, found nothing"
    ]


def test_every_mistake_is_told():
    assert lines({"model": GOOD | {"width": 0, "cosines": 1}, "even": 3}) == [
        "model.width: expected a whole number >= 1, found 0",
        "model.cosines: expected 0 or a whole number >= 2, found 1",
        "even: 3 is odd",
    ]


def test_keys_of_mappings_and_positions_in_lists_are_part_of_the_place():
    assert lines({"model": GOOD, "rates": {"first": -1.0}, "several": [GOOD, GOOD | {"width": 0}]}) == [
        "rates.first: expected a number > 0, found -1.0",
        "several.1.width: expected a whole number >= 1, found 0",
    ]


def test_a_block_that_may_be_left_out_has_keys_like_any_other():
    assert lines({"model": GOOD, "maybe": GOOD | {"width": 0}}) == [
        "maybe.width: expected a whole number >= 1, found 0"
    ]
    (line,) = lines({"model": GOOD, "maybe": GOOD | {"widht": 3}})
    assert line.startswith("unknown key in maybe 'widht': did you mean 'width'?")


def test_an_unknown_key_at_the_top_has_no_parent():
    (line,) = lines({"model": GOOD, "modle": GOOD})
    assert line.startswith("unknown key 'modle': did you mean 'model'?")


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        (int, "a whole number"),
        (bool, "true or false"),
        (str, "a word"),
        (Positive | None, "a number > 0 or null"),
        (Annotated[float, Field(ge=0, lt=1)], "a number >= 0 and < 1"),
        (Annotated[int, Field(gt=0, multiple_of=4)], "a multiple of 4 > 0"),
        (list[float], "a list of numbers"),
        (
            Annotated[list[Annotated[int, Field(multiple_of=8)]], Field(min_length=1)],
            "a non-empty list of multiples of 8",
        ),
        (Literal["a", "b", "c"], "a, b or c"),
        (list[Literal["a", "b", "c"]], "a list of a, b or c"),
        (dict[str, int], ""),
        (BaseModel, ""),
    ],
)
def test_types_in_words(kind, words):
    assert in_words(kind) == words


def test_blocks_lists_and_what_is_missing_are_told_in_plain_words():
    class Rest(BaseModel):
        rest: dict[str, int]

    class Table(BaseModel):
        cells: dict[str, int]
        pair: tuple[int, int]
        inner: Rest
        when: date

    with pytest.raises(ValidationError) as found:
        Table.model_validate({"cells": 3, "pair": 4, "inner": {}, "when": "never"})
    assert explain(Table, found.value)[:3] == [
        "cells: expected a mapping, found 3",
        "pair: expected a list, found 4",
        "inner.rest: expected a mapping, found nothing",
    ]
    assert explain(Table, found.value)[3].startswith("when: expected a valid date")  # as pydantic says it
