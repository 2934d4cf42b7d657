"""Where the shards of a prepared dataset are read: in their own folder, or in this disk's copies of a store's."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from objbench.data.download.copies import Wanted, fetch_copies
from objbench.data.format.manifest import MANIFEST, Manifest, Shard
from objbench.folders import CACHE_VARIABLE, copy_folder
from objbench.locks import exclusive_lock
from objbench.os_errors import explain_os_errors
from objbench.stores import Place, Store

_REMEDY = "objbench verify lists all differences, prepare --force replaces the dataset"


@dataclass(frozen=True)
class Located:
    """A prepared dataset.

    Attributes:
        folder: Where it was prepared.
        here: The folder of this disk that its shards are read from. A folder of copies belongs to one manifest: after
            another prepare in the same place there is another one.
    """

    folder: Place
    here: Path

    @staticmethod
    def of(folder: Place, manifest: Manifest) -> Located:
        """The dataset with this manifest in `folder`."""
        if isinstance(folder, Path):
            return Located(folder, folder)
        identity = hashlib.sha256(manifest.model_dump_json().encode()).hexdigest()[:12]
        return Located(folder, copy_folder("data", folder) / identity)

    def fetch(self, shards: Iterable[Shard], manifest: Manifest | None = None) -> None:
        """See to it that these shards are `here`, whole and with the sha256 of the manifest.

        Args:
            manifest: Is written beside the copies.

        Raises:
            ObjbenchError: A shard of a store is missing or was changed, the store fails, or the disk has no room.
        """
        if not isinstance(self.folder, Store):
            return
        fetch_copies(
            [
                Wanted(
                    self.folder / shard.name, self.here / shard.name, shard.bytes, shard.sha256, None, _REMEDY
                )
                for shard in shards
            ]
        )
        if manifest is not None and not (self.here / MANIFEST).is_file():
            with explain_os_errors(self.here, CACHE_VARIABLE), exclusive_lock(self.here / ".lock"):
                manifest.save(self.here / MANIFEST)
