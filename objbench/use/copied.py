"""Copies of a finished run: of its files, and how one that was not ended is told from something else."""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from pathlib import Path

from objbench.files import replacing
from objbench.methods.plain_file import COPY
from objbench.train.checkpoint import CHECKPOINT, WEIGHTS
from objbench.train.run_folder import CONFIG

_FILES = {WEIGHTS, CONFIG, COPY, CHECKPOINT}


def copy_files(run: Path, target: Path, files: Iterable[str]) -> None:
    """Copy `files` of the folder of a run, the weights among them first; the record, written last, says that it is whole."""
    for file in files:
        with replacing(target / file) as partial:
            shutil.copyfile(run / file, partial)


def is_unfinished(folder: Path, further: Iterable[str] = ()) -> bool:
    """Whether a folder without a record holds what a copy leaves that was killed or found no space, and nothing else.

    Args:
        folder: The folder.
        further: What else such a copy may hold.
    """
    names = {path.name.removesuffix(".partial") for path in folder.iterdir()}
    return WEIGHTS in names and names <= _FILES | {*further}
