"""The cache of a decoded split: plain bytes on disk, which later loads read at the speed of a memory copy."""

from __future__ import annotations

import zlib
from pathlib import Path

from objbench.data.format.manifest import MANIFEST, Manifest
from objbench.files import sha256_of, sync
from objbench.stored import Stored, Strict

CACHE = ".cache"


class CacheKey(Strict):
    """What a split was decoded from.

    Attributes:
        manifest: Its sha256.
        shards: (size, mtime in ns) of every shard, by name.
    """

    manifest: str
    shards: dict[str, tuple[int, int]]

    @staticmethod
    def now(folder: Path, manifest: Manifest, split: str) -> CacheKey:
        """The key of the split as it is in `folder` now; FileNotFoundError if a shard is missing."""
        states = {shard.name: (folder / shard.name).stat() for shard in manifest.split(split).shards}
        shards = {name: (state.st_size, state.st_mtime_ns) for name, state in states.items()}
        return CacheKey(manifest=sha256_of(folder / MANIFEST), shards=shards)


class CacheEntry(Stored):
    """Says that a decoded split is complete.

    Attributes:
        stamp: What it was decoded from.
        bytes: Size of each of its files.
        crc32: Checksums of the files of texts. Those of pixels would take longer than reading them.
    """

    stamp: CacheKey
    bytes: dict[str, int]
    crc32: dict[str, int]


class DecodedCache:
    """A folder with the decoded samples of a split, each kind in one file, in the order of the keys.

    Attributes:
        images: File of uint8 (N,3,H,W).
        masks: File of uint8 (N,H,W).
        samples: File with one JSON text per line.
        keys: File with one key per line.
    """

    def __init__(self, path: Path, count: int, height: int, width: int) -> None:
        self.path, self.count, self.height, self.width = path, count, height, width
        self.images, self.masks = path / "images.u8", path / "masks.u8"
        self.samples, self.keys = path / "samples.jsonl", path / "keys.txt"
        self._entry = path / "sealed.json"

    @property
    def mask_bytes(self) -> int:
        """Bytes of one label map. An image has three times as many."""
        return self.height * self.width

    def create(self) -> None:
        """Make the folder and its large files; OSError if that is impossible."""
        self.path.mkdir(parents=True)
        for path, size in ((self.images, 3 * self.mask_bytes), (self.masks, self.mask_bytes)):
            with path.open("wb") as file:
                file.truncate(size * self.count)

    def commit(self, key: CacheKey) -> None:
        """Declare the folder complete, once the disk has its files."""
        for path in self._files:
            sync(path)
        self._describe(key).save(self._entry)

    def is_valid(self, key: CacheKey) -> bool:
        """Whether the folder is intact, and was decoded from what `key` describes."""
        return self.is_of(key) and self.is_intact()

    def is_of(self, key: CacheKey) -> bool:
        """Whether the folder was complete, and was decoded from what `key` describes."""
        entry = self._read_entry()
        return entry is not None and entry.stamp == key

    def is_intact(self) -> bool:
        """Whether its files have the sizes, and the texts the checksums, that they had when they were written."""
        entry = self._read_entry()
        try:
            return entry is not None and entry == self._describe(entry.stamp)
        except OSError:
            return False

    @property
    def _files(self) -> tuple[Path, ...]:
        return self.images, self.masks, self.samples, self.keys

    def _read_entry(self) -> CacheEntry | None:
        try:
            return CacheEntry.read_if_valid(self._entry)
        except OSError:
            return None

    def _describe(self, key: CacheKey) -> CacheEntry:
        sizes = {path.name: path.stat().st_size for path in self._files}
        checksums = {path.name: zlib.crc32(path.read_bytes()) for path in (self.samples, self.keys)}
        return CacheEntry(stamp=key, bytes=sizes, crc32=checksums)


def cache_of(folder: Path, manifest: Manifest, split: str) -> DecodedCache:
    """The cache of a split of a prepared dataset, whether it is there or not."""
    count = manifest.split(split).count
    return DecodedCache(folder / CACHE / split, count, manifest.height, manifest.width)
