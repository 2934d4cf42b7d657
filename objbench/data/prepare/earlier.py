"""What an earlier prepare left in the folder of a dataset: whether it is the same one, and how it is removed."""

from __future__ import annotations

import contextlib
from pathlib import Path

from objbench.data.format.manifest import MANIFEST, Manifest, read_manifest, refuse_incomplete
from objbench.data.format.settings import Settings
from objbench.data.prepare.describe import are_those
from objbench.data.prepare.journal import Journal
from objbench.data.read.cache import CACHE
from objbench.data.sources.base import Source
from objbench.errors import ObjbenchError, RequestError
from objbench.locks import exclusive_lock
from objbench.spec.datasets import SPLITS
from objbench.spec.nested import differences
from objbench.stores import Place, Store, remove_tree

_OTHER_PLACE = "--force replaces it, --data chooses another place"


def same(folder: Place, settings: Settings, generator: dict[str, int] | None) -> Manifest:
    """The manifest in `folder`; RequestError if its settings are others."""
    manifest = read_manifest(folder)
    found = manifest.settings.differences(settings)
    found += differences({"generator": manifest.generator}, {"generator": generator})
    refuse_other(folder, "a dataset", found)
    refuse_incomplete(folder, manifest)
    return manifest


def remove_journal(folder: Place) -> None:
    """Remove the journal of a finished prepare: a kill right after the manifest was written leaves it."""
    journal = Journal(folder)
    if isinstance(folder, Store):
        journal.close()
    elif (folder / journal.path.name).exists():
        with (
            contextlib.suppress(ObjbenchError, OSError),  # the folder is in use or cannot be written
            exclusive_lock(folder / ".lock", "in use"),
        ):
            if (folder / MANIFEST).is_file():
                journal.close()


def refuse_other(folder: Place, what: str, found: list[str]) -> None:
    """Raise RequestError if settings differ from what is in `folder`; it names each of them."""
    if found:
        raise RequestError(
            f"{folder}: {what} with other settings is here: {'; '.join(found)}. {_OTHER_PLACE}"
        )


def clear(folder: Place) -> None:
    """Remove all that a prepare makes, the manifest first: without it nothing counts as complete."""
    (folder / MANIFEST).unlink(missing_ok=True)
    for split in SPLITS:
        for path in (*folder.glob(f"{split}-*.tar"), *folder.glob(f"{split}-*.tar.partial")):
            path.unlink(missing_ok=True)
    remove_tree(folder / CACHE)
    Journal(folder).close()


def refuse_other_files(folder: Place, manifest: Manifest, raw: Path, source: Source) -> None:
    """Raise RequestError if the files of `raw`, open as `source`, are not those that the dataset in `folder` was made from."""
    if not are_those(source.files, source.tree, manifest.files):
        made_from = ", ".join(f"{file.name} ({file.bytes:,} bytes)" for file in manifest.files)
        raise RequestError(
            f"{folder}: it was prepared from other files than those of {raw}: {made_from}. {_OTHER_PLACE}"
        )
