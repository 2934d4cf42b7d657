"""CSV for programs and spreadsheets: no text of a foreign record is taken for a formula."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Sequence
from typing import Any

_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def csv_text(lines: Iterable[Sequence[Any]]) -> str:
    """Write CSV: nothing for None, JSON for mappings, items of tuples joined by `;`.

    A text that a spreadsheet would take for a formula gets a ' before it; numbers stay as they are.

    >>> print(csv_text([["=1+1", -1.5, None, (3, 5), {"a": 1}]]), end="")
    '=1+1,-1.5,,3;5,"{""a"": 1}"
    """
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerows([_cell(value) for value in line] for line in lines)
    return out.getvalue()


def _cell(value: Any) -> Any:
    flat = _flat(value)
    return f"'{flat}" if isinstance(flat, str) and flat.startswith(_FORMULA) else flat


def _flat(value: Any) -> Any:
    if value is None:
        return ""
    if isinstance(value, dict):
        return json.dumps(value, sort_keys=True) if value else ""
    if isinstance(value, tuple):
        return ";".join(str(item) for item in value)
    return value
