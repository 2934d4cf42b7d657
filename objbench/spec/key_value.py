"""Options of the form KEY=VALUE."""

from __future__ import annotations

from typing import Any

from objbench.errors import RequestError
from objbench.spec.yaml_text import parse_yaml


def key_value(option: str, text: str, example: str, empty: bool = False) -> tuple[str, str]:
    """Key and value of `text`, which was given to `option`; an empty value is refused unless `empty` is set.

    >>> key_value("--option", "labels=a=b.png", "labels=seg.png")
    ('labels', 'a=b.png')

    Raises:
        RequestError: It has another form; the message has the `example`.
    """
    key, equals, value = text.partition("=")
    if not key or not equals or not (value or empty):
        raise RequestError(f"{option} {text}: expected KEY=VALUE, such as {option} {example}")
    return key, value


def key_yaml(option: str, text: str, example: str, empty: bool = False) -> tuple[str, Any]:
    """Key and value of KEY=VALUE, the value read as YAML.

    >>> key_yaml("--set", "recipe.steps=300", "recipe.steps=300")
    ('recipe.steps', 300)

    Raises:
        RequestError: Also for a value that is no YAML.
    """
    key, value = key_value(option, text, example, empty)
    try:
        return key, parse_yaml(value)
    except RequestError as error:
        raise RequestError(
            f"{option} {text}: '{value}' is not a value (number, word, list): {error}"
        ) from None
