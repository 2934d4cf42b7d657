"""CSV for programs and spreadsheets: no text of a foreign record is taken for a formula."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Sequence
from typing import Any

_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def csv_text(lines: Iterable[Sequence[Any]]) -> str:
    """Write CSV. A text that a spreadsheet would take for a formula gets a ' before it; numbers stay as they are.

    >>> csv_text([["=1+1", -1.5, "grid"]])
    "'=1+1,-1.5,grid\\n"
    """
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerows([_cell(value) for value in line] for line in lines)
    return out.getvalue()


def _cell(value: Any) -> Any:
    return f"'{value}" if isinstance(value, str) and value.startswith(_FORMULA) else value


def flat(value: Any) -> Any:
    """Turn a value into one CSV field: empty for None, JSON for mappings, items joined by `;`."""
    if value is None:
        return ""
    if isinstance(value, dict):
        return json.dumps(value, sort_keys=True) if value else ""
    if isinstance(value, tuple):
        return ";".join(str(item) for item in value)
    return value
