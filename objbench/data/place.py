"""The folder of a dataset: what already stands there, and whether there is room for more."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path

from objbench.data.manifest import MANIFEST
from objbench.data.raw import CACHE
from objbench.data.shards import Journal
from objbench.dataset_spec import SPLITS
from objbench.errors import ObjbenchError, RequestError
from objbench.files import differences


def refuse_other(folder: Path, what: str, here: Mapping[str, object], asked: Mapping[str, object]) -> None:
    """RequestError that names every setting in which `asked` differs from what stands in `folder`."""
    found = [text.removeprefix("settings.") for text in differences(here, asked)]
    if found:
        raise RequestError(
            f"{folder}: {what} with other settings stands here: {'; '.join(found)}. "
            "--force replaces it, --data chooses another place"
        )


def check_space(folder: Path, needed: int) -> None:
    """ObjbenchError unless `needed` bytes are free where `folder` is."""
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise ObjbenchError(
            f"{folder}: the shards still need about {megabytes(needed)}, only {megabytes(free)} are free; "
            "free some space, choose another place with --data, or make smaller splits"
        )


def megabytes(count: int) -> str:
    """A number of bytes for people.

    >>> megabytes(3_200_000_000)
    '3,200 MB'
    """
    return f"{count / 1e6:,.0f} MB" if count >= 1e7 else f"{count / 1e6:,.1f} MB"


def clear(folder: Path) -> None:
    """Remove what a prepare makes, the manifest first: from then on nothing here counts as complete."""
    (folder / MANIFEST).unlink(missing_ok=True)
    for split in SPLITS:
        for path in (*folder.glob(f"{split}-*.tar"), *folder.glob(f"{split}-*.tar.partial")):
            path.unlink()
    shutil.rmtree(folder / CACHE, ignore_errors=True)
    Journal(folder).close()
