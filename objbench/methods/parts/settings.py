"""Hyper-parameters that make no model are refused by their key: what is there, and what was expected.

The types of single values are checked where a configuration is put together, except that null passes there, and what
lists hold is not looked at. Each function takes the method's configuration and dotted keys of it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

from objbench.errors import RequestError, unknown_name
from objbench.spec.nested import flatten


def refusal(key: str, value: object, expected: str) -> RequestError:
    """The refusal of a value.

    >>> str(refusal("model.width", 0, "a whole number from 1 up"))
    'model.width=0: expected a whole number from 1 up'
    """
    return RequestError(f"{key}={value}: expected {expected}")


def demand_whole(config: Mapping[str, Any], *keys: str, least: int = 1) -> None:
    """Single whole numbers from `least` up."""
    for key, value in _found(config, keys):
        if not _whole(value, least, None):
            raise refusal(key, value, f"a whole number from {least} up")


def demand_list(config: Mapping[str, Any], *keys: str, most: int | None = None, multiple_of: int = 1) -> None:
    """Lists, not empty, of whole numbers from 1 to `most`, all of them multiples."""
    for key, values in _found(config, keys):
        good = isinstance(values, list) and len(values) > 0
        if not (good and all(_whole(v, 1, most) and v % multiple_of == 0 for v in values)):
            kind = "whole numbers" if multiple_of == 1 else f"multiples of {multiple_of}"
            raise refusal(
                key, values, f"a list of {kind} from {multiple_of} {f'to {most}' if most else 'up'}"
            )


def demand_number(config: Mapping[str, Any], *keys: str, zero: bool) -> None:
    """Finite numbers above 0; with `zero` they may be 0."""
    for key, value in _found(config, keys):
        number = isinstance(value, int | float) and math.isfinite(value)
        if not number or value < 0 or (value == 0 and not zero):
            raise refusal(key, value, "a finite number, at least 0" if zero else "a finite number above 0")


def demand_known(config: Mapping[str, Any], key: str, known: Iterable[str]) -> None:
    """One of a few words."""
    ((_, value),) = _found(config, (key,))
    if value not in known:
        raise unknown_name(key, str(value), known)


def demand_slots(slots: int, least: int, reason: str) -> None:
    """As many slots as the method needs to make sense."""
    if slots < least:
        raise refusal("slots", slots, f"a dataset with at least {least}: {reason}")


def _found(config: Mapping[str, Any], keys: Iterable[str]) -> list[tuple[str, Any]]:
    leaves = flatten(config)
    return [(key, leaves[key]) for key in keys]


def _whole(value: object, least: int, most: int | None) -> bool:
    return type(value) is int and value >= least and (most is None or value <= most)
