"""JSON as objbench reads it, each key once, and as it writes it for programs, without NaN and infinities."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
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


def for_programs(content: Any, default: Callable[[Any], str] | None = None) -> str:
    """The JSON text of `content`, two spaces a level; NaN and infinities, which JSON does not have, as null.

    Args:
        content: Dictionaries, lists, tuples, texts, numbers, None.
        default: What makes a text of anything else.

    Example:
        >>> for_programs([1.0, float("inf")]).split()
        ['[', '1.0,', 'null', ']']
    """
    return json.dumps(_finite(content), indent=2, allow_nan=False, default=default)


def _finite(content: Any) -> Any:
    if isinstance(content, float):
        return content if math.isfinite(content) else None
    if isinstance(content, dict):
        return {key: _finite(value) for key, value in content.items()}
    return [_finite(value) for value in content] if isinstance(content, list | tuple) else content


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    content = dict(pairs)
    if len(content) < len(pairs):
        seen: set[str] = set()
        for key, _ in pairs:
            if key in seen:
                raise ValueError(f"the key {key!r} stands twice in one object")
            seen.add(key)
    return content
