"""JSON as objbench reads it: each key once; what is wrong in one line."""

from __future__ import annotations

import json
from typing import Any


def parse_json(content: bytes | str) -> Any:
    """The content of a JSON text, bytes being UTF-8; NaN and Infinity, which Python writes, are numbers.

    Raises:
        ValueError: It is not JSON, has a key twice in one object, is nested too deeply, or has a number of thousands of
            digits.

    Example:
        >>> parse_json('{"a": 1, "a": 2}')
        Traceback (most recent call last):
        ValueError: the key 'a' stands twice in one object
    """
    try:
        return json.loads(content, object_pairs_hook=_distinct)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    content = dict(pairs)
    if len(content) < len(pairs):
        seen: set[str] = set()
        for key, _ in pairs:
            if key in seen:
                raise ValueError(f"the key {key!r} stands twice in one object")
            seen.add(key)
    return content
