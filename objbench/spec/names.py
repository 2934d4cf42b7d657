"""Names of datasets, protocols, sources, methods and variants: each is also (a part of) the name of a folder."""

from __future__ import annotations

import re

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}")
EXPECTED = "expected letters, digits and _ . -, no . or - first, at most 100"


def is_name(text: str) -> bool:
    """Whether it can be such a name.

    >>> is_name("clevr6"), is_name("mine.Mine"), is_name("../runs"), is_name("")
    (True, True, False, False)
    """
    return _NAME.fullmatch(text) is not None
