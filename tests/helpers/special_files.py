"""Names of files behind which there is no file."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

SPECIAL: dict[str, Callable[[Path], None]] = {
    "a pipe or device": os.mkfifo,
    "a link to nothing": lambda path: path.symlink_to("nowhere"),
    "a folder": Path.mkdir,
}
PIPE_AND_LINK = sorted(SPECIAL.items())[1:]
