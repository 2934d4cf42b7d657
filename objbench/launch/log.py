"""What a run prints when a launcher runs it: a file beside its folder."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def logged(folder: Path) -> Iterator[None]:
    """Send what the run writes to stdout and stderr to the file `.seed-N.log` beside its folder."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    sys.stdout.flush()
    sys.stderr.flush()
    with log_path(folder).open("ab") as file:
        before = os.dup(1), os.dup(2)
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    try:
        yield
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        for descriptor, number in zip(before, (1, 2), strict=True):
            os.dup2(descriptor, number)
            os.close(descriptor)


def log_path(folder: Path) -> Path:
    """The file with what the run in `folder` printed when a launcher ran it."""
    return folder.with_name(f".{folder.name}.log")
