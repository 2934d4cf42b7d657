"""Numbers on the command lines of the tools: types for argparse, which say what they expected."""

from __future__ import annotations

from argparse import ArgumentTypeError
from math import inf, nan


def count(text: str) -> int:
    """A whole number, 0 included."""
    if not text.isdecimal():
        raise ArgumentTypeError(f"expected a whole number, found '{text}'")
    return int(text)


def positive(text: str) -> int:
    """A whole number, at least 1."""
    if not text.isdecimal() or int(text) < 1:
        raise ArgumentTypeError(f"expected a whole number of at least 1, found '{text}'")
    return int(text)


def minutes(text: str) -> float:
    """A length of time above 0."""
    try:
        found = float(text)
    except ValueError:
        found = nan
    if not 0 < found < inf:
        raise ArgumentTypeError(f"expected a number above 0, found '{text}'")
    return found
