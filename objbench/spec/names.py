"""Names of datasets, protocols, sources, methods and variants: each is also (a part of) the name of a folder.

A method from a plain file is asked for by the path of the file instead.
"""

from __future__ import annotations

import re
from pathlib import Path

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}")
_REFERENCE = re.compile(r"(?P<path>.*\.py)(?::(?P<class>[^:]*))?(?::(?P<variant>.*))?", re.DOTALL)
EXPECTED = "expected letters, digits and _ . -, no . or - first, at most 100"


def is_name(text: str) -> bool:
    """Whether it can be such a name.

    >>> is_name("clevr6"), is_name("mine.Mine"), is_name("../runs"), is_name("")
    (True, True, False, False)
    """
    return _NAME.fullmatch(text) is not None


def split_reference(method: str) -> tuple[Path, str | None, str | None] | None:
    """Path, class and variant that a method's name says, where it names a file; None where it does not.

    >>> split_reference("work/mine.py:Mine")
    (PosixPath('work/mine.py'), 'Mine', None)
    >>> split_reference("objmae:demo") is None
    True
    """
    found = _REFERENCE.fullmatch(method)
    return (Path(found["path"]), found["class"] or None, found["variant"] or None) if found else None
