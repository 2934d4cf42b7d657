"""Nested mappings, as yaml and JSON give them."""

from __future__ import annotations

import os
from collections.abc import Mapping
from enum import Enum
from typing import Any


def flatten(block: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """The leaves of a nested mapping under their dotted keys.

    >>> flatten({"model": {"width": 96}, "seed": 1})
    {'model.width': 96, 'seed': 1}
    """
    leaves: dict[str, Any] = {}
    for key, value in block.items():
        if isinstance(value, Mapping):
            leaves.update(flatten(value, f"{prefix}{key}."))
        else:
            leaves[f"{prefix}{key}"] = value
    return leaves


def as_yaml(value: Any) -> Any:
    """A value as a yaml would have it: of a number or array of numpy or torch, a tuple, a path, a member of an Enum.

    >>> as_yaml(((1, 2), 3))
    [[1, 2], 3]
    """
    if hasattr(value, "tolist"):
        return value.tolist()
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if isinstance(value, Enum):
        return value.value
    return [as_yaml(item) for item in value] if isinstance(value, list | tuple) else value


def value_at(block: Mapping[str, Any], key: str) -> Any:
    """The value at a dotted key, which may be a mapping itself; None where there is none.

    >>> value_at({"model": {"width": 96}}, "model.width")
    96
    """
    found: Any = block
    for part in key.split("."):
        found = found.get(part) if isinstance(found, Mapping) else None
    return found


def unflatten(block: Mapping[str, Any]) -> dict[str, Any]:
    """A nested mapping whose keys may be dotted, without dots; of what is said twice, the later counts.

    >>> unflatten({"model": {"width": 96, "mlp.depth": 2}, "model.width": 64})
    {'model': {'width': 64, 'mlp': {'depth': 2}}}
    """
    nested: dict[str, Any] = {}
    for key, value in block.items():
        *path, leaf = key.split(".") if isinstance(key, str) else [key]
        inner = {leaf: unflatten(value) if isinstance(value, Mapping) else value}
        for part in reversed(path):
            inner = {part: inner}
        nested = deep_merge(nested, inner)
    return nested


def deep_merge(base: Mapping[str, Any], top: Mapping[str, Any]) -> dict[str, Any]:
    """`top` laid over `base`: mappings are merged, all else is replaced.

    >>> deep_merge({"a": 1, "b": {"c": 2, "d": 3}}, {"b": {"c": 4}})
    {'a': 1, 'b': {'c': 4, 'd': 3}}
    """
    merged = dict(base)
    for key, value in top.items():
        below = merged.get(key)
        merged[key] = (
            deep_merge(below, value) if isinstance(below, Mapping) and isinstance(value, Mapping) else value
        )
    return merged


def differences(here: Mapping[str, object], asked: Mapping[str, object]) -> list[str]:
    """Every setting in which `asked` differs from what is `here`, in words.

    >>> differences({"sizes": {"train": 32}, "seed": 0}, {"seed": 3})
    ['seed is 0 there, 3 asked', 'sizes.train is 32 there, none asked']
    """
    there, now = flatten(here), flatten(asked)
    return [
        f"{key} is {there.get(key, 'not given')} there, {now.get(key, 'none')} asked"
        for key in sorted({*there, *now})
        if there.get(key) != now.get(key)
    ]
