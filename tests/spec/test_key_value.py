"""Options of the form KEY=VALUE."""

from __future__ import annotations

import re

import pytest

from objbench.errors import RequestError
from objbench.spec.key_value import key_value, key_yaml


@pytest.mark.parametrize("text", ["labels", "=seg.png", "labels=", ""])
def test_another_form_is_refused_with_an_example(text: str) -> None:
    message = f"--option {text}: expected KEY=VALUE, such as --option labels=seg.png"
    with pytest.raises(RequestError, match=f"^{re.escape(message)}$"):
        key_value("--option", text, "labels=seg.png")


def test_an_empty_value_may_be_allowed() -> None:
    assert key_value("--set", "a=", "a=3", empty=True) == ("a", "")
    assert key_yaml("--set", "a=", "a=3", empty=True) == ("a", None)


def test_a_value_that_is_no_yaml_is_refused() -> None:
    message = "--set a=[1: '[1' is not a value (number, word, list): not valid YAML: line 1"
    with pytest.raises(RequestError, match=re.escape(message)):
        key_yaml("--set", "a=[1", "a=3")
