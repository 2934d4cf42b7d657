"""The journal of an unfinished prepare: its settings, and which shards and splits are finished."""

from __future__ import annotations

import shutil
from pathlib import Path

from objbench.data.format.manifest import Records, Settings, Shard, Skipped
from objbench.files import sha256_of
from objbench.stored import Stored


def shard_name(split: str, number: int) -> str:
    """The file name of a shard.

    >>> shard_name("train", 3)
    'train-000003.tar'
    """
    return f"{split}-{number:06d}.tar"


class Finished(Stored):
    """A finished shard, with what the manifest will need of it.

    Attributes:
        first, last: The source's index of its first and last sample.
        digests: Of its samples, in hexadecimal digits, one after the other.
        object_counts: Number of objects -> number of scenes.
        skipped: Damaged scenes between the samples of this shard, or before its first.
    """

    shard: Shard
    first: int
    last: int
    digests: str
    object_counts: dict[int, int]
    skipped: list[Skipped]


class Closed(Stored):
    """A complete split.

    Attributes:
        records: What it was made of.
        shards: Their number.
        skipped: Damaged scenes after the last shard.
    """

    records: Records
    shards: int
    skipped: list[Skipped]


class Started(Stored):
    """The settings of an unfinished prepare.

    Attributes:
        generator: Version and seed, None for a release.
        files: Those that it reads: name -> bytes.
    """

    settings: Settings
    generator: dict[str, int] | None
    files: dict[str, int]


class Journal:
    """The files in `<folder>/.prepare`: the settings of a prepare, and its finished shards and splits."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.path = folder, folder / ".prepare"

    def started(self) -> Started | None:
        """The settings of the unfinished prepare; None if there is none, or they cannot be read."""
        return Started.read_if_valid(self.path / "started.json")

    def start(self, started: Started) -> None:
        """Start the journal of a new prepare."""
        self.path.mkdir(parents=True, exist_ok=True)
        started.save(self.path / "started.json")

    def add(self, finished: Finished) -> None:
        """Add a shard that has its final name."""
        finished.save(self.path / f"{finished.shard.name}.json")

    def finished(self, split: str) -> list[Finished]:
        """The finished shards of a split, from the first one up to one that is missing or was changed."""
        row: list[Finished] = []
        while True:
            path = self.folder / shard_name(split, len(row))
            entry = Finished.read_if_valid(self.path / f"{path.name}.json")
            if entry is None or not path.is_file() or path.stat().st_size != entry.shard.bytes:
                return row
            if sha256_of(path) != entry.shard.sha256:
                return row
            row.append(entry)

    def end(self, split: str, closed: Closed) -> None:
        """Add a complete split."""
        closed.save(self.path / f"{split}.json")

    def closed(self, split: str, shards: int) -> Closed | None:
        """The entry of a complete split; None if it is not complete, or has not that many shards any more."""
        found = Closed.read_if_valid(self.path / f"{split}.json")
        return found if found is not None and found.shards == shards else None

    def close(self) -> None:
        """Remove the journal, as the manifest takes its place."""
        shutil.rmtree(self.path, ignore_errors=True)
