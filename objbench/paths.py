"""Paths that a user named: what they have to be, where they lead, what lies below them."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from objbench.errors import ObjbenchError, RequestError


def path_of(where: Any) -> Path:
    """What a caller in Python names a file or folder by.

    Raises:
        RequestError: It is neither a text nor a path.
    """
    if not isinstance(where, str | os.PathLike):
        raise RequestError(f"expected a path, found {where!r}")
    return Path(where)


def resolved(path: Path) -> Path:
    """The absolute path without links; links in a circle stay as they are, so that opening them fails by name."""
    return Path(os.path.realpath(path))


def check_output(path: Path) -> None:
    """Refuse a file that a user named with --output, before any work, unless its folder is there.

    Raises:
        RequestError: There is no such folder, or `path` is a folder itself.
    """
    folder = path.parent
    if folder.is_dir() and not path.is_dir():
        return
    if path.is_dir():
        raise RequestError(f"--output {path}: a folder, expected the name of a file")
    found = "is no folder" if folder.exists() else "does not exist; make it first, or choose another"
    raise RequestError(f"--output {path}: the folder {folder} {found}")


def check_folder(option: str, path: Path) -> None:
    """Refuse a folder, there or to be made, that a user named with `option`, if it or one above it is a file.

    Raises:
        RequestError: It is.
    """
    there = next((place for place in (path, *path.parents) if os.path.exists(place)), path)
    if os.path.exists(there) and not os.path.isdir(there):
        which = "" if there == path else f"{there} is "
        raise RequestError(f"{option} {path}: {which}a file, expected a folder; choose another place")


def refuse_special(path: Path) -> None:
    """Refuse what has the name of a file and is none, before opening it waits for a pipe's other end.

    Raises:
        ObjbenchError: `path` is a link to nothing, a pipe, a device or a folder.
    """
    if os.path.isfile(path):
        return
    found = (
        "a folder" if path.is_dir() else "a pipe or device" if os.path.exists(path) else "a link to nothing"
    )
    raise ObjbenchError(f"{path}: {found}, expected a file; move it away")


def walk(
    root: Path, onerror: Callable[[OSError], None] = lambda error: None
) -> Iterator[tuple[Path, list[str], list[str]]]:
    """Each folder in and below `root`, once, with the sorted names of its folders and of its files.

    Links to folders are followed. Folders whose name begins with a dot are left out.

    Args:
        root: The folder.
        onerror: Called with the error of a folder that cannot be read.
    """
    seen = {os.path.realpath(root)}
    for folder, folders, files in os.walk(root, onerror=onerror, followlinks=True):
        below = sorted(name for name in folders if not name.startswith("."))
        yield Path(folder), below, sorted(files)
        folders.clear()
        for name in sorted(below, key=lambda name: os.path.islink(os.path.join(folder, name))):
            if (real := os.path.realpath(os.path.join(folder, name))) not in seen:
                seen.add(real)
                folders.append(name)
