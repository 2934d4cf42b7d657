"""Writing the shards of a split, each whole or not at all, and the journal of those that are done."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import IO

from pydantic import ValidationError

from objbench.data import tar
from objbench.data.encode import Encoded
from objbench.data.manifest import Frozen, Settings, Shard, SourceFile
from objbench.files import write_atomically

CHUNK = 1 << 22


def shard_name(split: str, number: int) -> str:
    """The file name of a shard.

    >>> shard_name("train", 3)
    'train-000003.tar'
    """
    return f"{split}-{number:06d}.tar"


class Finished(Frozen):
    """A finished shard, with what the manifest will need of it. `digests`: hex, one after the other."""

    shard: Shard
    digests: str
    object_counts: dict[int, int]


class Started(Frozen):
    """What a prepare that is under way was asked for, and what it reads."""

    settings: Settings
    generator: dict[str, int] | None
    files: dict[str, int]


class Journal:
    """`<folder>/.prepare`: with what a prepare was started and which shards it has finished."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.path = folder, folder / ".prepare"

    def started(self) -> Started | None:
        """What the prepare that stands here was started with; None if there is none (or it can't be read)."""
        try:
            return Started.model_validate_json((self.path / "started.json").read_text(encoding="utf-8"))
        except (FileNotFoundError, ValidationError, UnicodeDecodeError):
            return None

    def start(self, started: Started) -> None:
        """Open the journal."""
        self.path.mkdir(parents=True, exist_ok=True)
        write_atomically(self.path / "started.json", started.model_dump_json())

    def add(self, finished: Finished) -> None:
        """Note a shard that stands under its final name."""
        write_atomically(self.path / f"{finished.shard.name}.json", finished.model_dump_json())

    def finished(self, split: str) -> list[Finished]:
        """The shards of a split that are done and still as they were written: the unbroken row from the first."""
        row: list[Finished] = []
        while True:
            name = shard_name(split, len(row))
            try:
                text = (self.path / f"{name}.json").read_text(encoding="utf-8")
                entry = Finished.model_validate_json(text)
            except (FileNotFoundError, ValidationError, UnicodeDecodeError):
                return row
            path = self.folder / name
            if (
                not path.is_file()
                or path.stat().st_size != entry.shard.bytes
                or sha256_of(path) != entry.shard.sha256
            ):
                return row
            row.append(entry)

    def close(self) -> None:
        """Remove the journal: the manifest now says what there is."""
        shutil.rmtree(self.path, ignore_errors=True)


class ShardWriter:
    """Puts the samples of one split, as they come, into shards of `per_shard`, going on after those finished."""

    def __init__(
        self, folder: Path, split: str, count: int, per_shard: int, finished: list[Finished], journal: Journal
    ) -> None:
        self.folder, self.split, self.count, self.per_shard = folder, split, count, per_shard
        self.finished, self.journal = finished, journal
        self._file: IO[bytes] | None = None

    @property
    def written(self) -> int:
        """Samples in finished shards."""
        return sum(entry.shard.count for entry in self.finished)

    def room(self, position: int) -> int:
        """How many more samples the shard that sample `position` goes into can take, itself included."""
        return min(self.per_shard - position % self.per_shard, self.count - position)

    def append(self, encoded: Encoded) -> None:
        """Add samples that all go into the current shard; close it when it is full or the last."""
        if self._file is None:
            self._open()
        self._write(encoded.content)
        self._digests += encoded.digests
        self._objects.update(encoded.n_objects)
        if len(self._digests) == self.room(self.written):
            self._finish()

    def abandon(self) -> None:
        """Remove the shard that is not finished."""
        if self._file is not None:
            self._file.close()
            self._partial.unlink(missing_ok=True)
            self._file = None

    def _open(self) -> None:
        self._name = shard_name(self.split, len(self.finished))
        self._partial = self.folder / f"{self._name}.partial"
        self._file = self._partial.open("wb")
        self._sha, self._bytes = hashlib.sha256(), 0
        self._digests: list[bytes] = []
        self._objects: Counter[int] = Counter()

    def _write(self, content: bytes) -> None:
        assert self._file is not None
        self._file.write(content)
        self._sha.update(content)
        self._bytes += len(content)

    def _finish(self) -> None:
        assert self._file is not None
        self._write(tar.END)
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        self._partial.replace(self.folder / self._name)
        self._file = None
        shard = Shard(
            name=self._name, bytes=self._bytes, sha256=self._sha.hexdigest(), count=len(self._digests)
        )
        entry = Finished(shard=shard, digests=b"".join(self._digests).hex(), object_counts=self._objects)
        self.journal.add(entry)
        self.finished.append(entry)


def sha256_of(path: Path, step: Callable[[int], None] = lambda amount: None) -> str:
    """The sha256 of a file, read in pieces; `step` is told the size of each."""
    sha = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(CHUNK):
            sha.update(chunk)
            step(len(chunk))
    return sha.hexdigest()


def describe_file(path: Path, step: Callable[[int], None]) -> SourceFile:
    """Name, size and hash of a file that scenes come from."""
    return SourceFile(name=path.name, bytes=path.stat().st_size, sha256=sha256_of(path, step))
