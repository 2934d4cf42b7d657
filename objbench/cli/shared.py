"""A command that torchrun starts several times: one of its processes speaks, and they end together."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO

from objbench.ranks.group import ALONE, Ranks, join, shared


@contextmanager
def shared_command() -> Iterator[Ranks]:
    """The processes of this command. All but the first print nothing, and one of them says how the command failed."""
    messages, ranks = sys.stderr, ALONE
    try:
        ranks = join()
        if not ranks.first:
            sys.stdout = sys.stderr = _nowhere()
        yield ranks
    except BaseException:
        if ranks.several:
            speaks = ranks.speaks()
        else:  # before they met, the first one speaks
            speaks = not shared() or os.environ["RANK"] == "0"
        sys.stderr = messages if speaks else _nowhere()
        ranks.leave(failed=True)
        raise
    ranks.leave()


def _nowhere() -> TextIO:
    return open(os.devnull, "w", encoding="utf-8")
