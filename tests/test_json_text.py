"""JSON texts that Python's own reader takes, or ends on in other ways than ValueError."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from objbench.json_text import for_programs, parse_json


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"a": 1, "b": {"c": 1, "d": 2, "c": 1}}', "the key 'c' stands twice in one object"),
        ("[" * 100_000, "it is nested too deeply"),
        ('{"a":' * 100_000, "it is nested too deeply"),
        ("9" * 5000, "4300 digits"),
        ("{", "Expecting property name"),
        (b'"\xff"', "'utf-8' codec"),
    ],
)
def test_what_is_wrong_is_a_value_error(text: str | bytes, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse_json(text)


def test_the_same_key_in_several_objects_is_right() -> None:
    assert parse_json('[{"a": 1}, {"a": {"a": 2}}]') == [{"a": 1}, {"a": {"a": 2}}]


def test_what_json_does_not_have_is_null_for_programs() -> None:
    content = {"a": [math.inf, (math.nan, 1.5)], "b": {"c": -math.inf, "d": None, "e": "NaN"}}
    text = for_programs(content)
    assert json.loads(text, parse_constant=pytest.fail) == {
        "a": [None, [None, 1.5]],
        "b": {"c": None, "d": None, "e": "NaN"},
    }
    with pytest.raises(TypeError):
        for_programs({1, 2})
    assert for_programs([Path("a")], default=str) == '[\n  "a"\n]'
