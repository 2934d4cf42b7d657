"""The cache of a decoded split: plain bytes on disk, which later loads read at the speed of a memory copy."""

from __future__ import annotations

from pathlib import Path

from objbench.data.format.manifest import MANIFEST, Manifest
from objbench.files import sha256_of
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
    """Says that a decoded split is complete: what it was decoded from, and the size of each of its files."""

    stamp: CacheKey
    bytes: dict[str, int]


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
        """Declare the folder complete."""
        CacheEntry(stamp=key, bytes=self._bytes()).save(self._entry)

    def is_valid(self, key: CacheKey) -> bool:
        """Whether the folder is complete, and was decoded from what `key` describes."""
        try:
            return CacheEntry.read_if_valid(self._entry) == CacheEntry(stamp=key, bytes=self._bytes())
        except OSError:
            return False

    def _bytes(self) -> dict[str, int]:
        return {path.name: path.stat().st_size for path in (self.images, self.masks, self.samples, self.keys)}


def cache_of(folder: Path, manifest: Manifest, split: str) -> DecodedCache:
    """The cache of a split of a prepared dataset, whether it is there or not."""
    count = manifest.split(split).count
    return DecodedCache(folder / CACHE / split, count, manifest.height, manifest.width)
