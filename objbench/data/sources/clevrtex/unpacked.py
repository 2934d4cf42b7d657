"""The unpacked release: which files of which scenes lie where."""

from __future__ import annotations

import os
from pathlib import Path

from objbench.data.sources.clevrtex.names import KINDS, ForeignError, Variant, parse
from objbench.errors import ObjbenchError
from objbench.paths import refuse_special

Files = dict[str, dict[int, str]]  # suffix -> index -> the folder that this file of the scene is in


def find(raw: Path, variant: Variant) -> Path | None:
    """The unpacked release, if the folder `raw` is or holds it: known by its name or by its numbered folders."""
    inside = raw / variant.folder
    if inside.is_dir():
        return inside
    numbered = raw.name == variant.folder or any(entry.name.isdigit() for entry in _entries(raw))
    return raw if numbered else None


def scan(folder: Path, variant: Variant) -> Files:
    """The files of all scenes in `folder` and its folders; only names are read.

    Raises:
        ObjbenchError: A scene is of another variant or of version 2, or is there twice.
    """
    files: Files = {suffix: {} for suffix in KINDS}
    for entry in _entries(folder):
        for file in _entries(entry.path) if entry.is_dir() else [entry]:
            try:
                file_id = parse(file.name, variant)
            except ForeignError as error:
                raise ObjbenchError(f"{file.path}: {error}") from None
            if file_id is not None:
                if not file.is_file():
                    refuse_special(Path(file.path))
                parent = os.path.dirname(file.path)
                first = files[file_id.suffix].setdefault(file_id.scene, parent)
                if first != parent:
                    raise ObjbenchError(
                        f"{file.path}: this file is also in {first}; which one is right? Move the other one away"
                    )
    return files


def _entries(folder: str | Path) -> list[os.DirEntry[str]]:
    with os.scandir(folder) as entries:
        return sorted(entries, key=lambda entry: entry.name)
