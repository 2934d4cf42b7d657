"""Strings of foreign files, made fit to be printed."""

from __future__ import annotations


def printable(text: str) -> str:
    r"""Show characters that are not printable (ESC, NUL, ...) as escapes; newlines stay.

    >>> print(printable("a\x1b[31mb"))
    a\x1b[31mb
    """
    if text.isprintable():
        return text
    return "".join(
        sign if sign == "\n" or sign.isprintable() else sign.encode("unicode_escape").decode()
        for sign in text
    )
