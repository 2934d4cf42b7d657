"""The journal of a prepare that is under way: what it was asked for, and which shards and splits are finished."""

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

    first, last: the source's index of its first and last sample;  digests: hex, one after the other
    skipped: damaged scenes between the samples of this shard, or before its first
    """

    shard: Shard
    first: int
    last: int
    digests: str
    object_counts: dict[int, int]
    skipped: list[Skipped]


class Closed(Stored):
    """A split that is complete: of which records, in how many shards, and what was skipped after the last."""

    records: Records
    shards: int
    skipped: list[Skipped]


class Started(Stored):
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
        return Started.read_if_valid(self.path / "started.json")

    def start(self, started: Started) -> None:
        """Open the journal."""
        self.path.mkdir(parents=True, exist_ok=True)
        started.save(self.path / "started.json")

    def add(self, finished: Finished) -> None:
        """Note a shard that stands under its final name."""
        finished.save(self.path / f"{finished.shard.name}.json")

    def finished(self, split: str) -> list[Finished]:
        """The shards of a split that are done and still as they were written: the unbroken row from the first."""
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
        """Note that a split is complete."""
        closed.save(self.path / f"{split}.json")

    def closed(self, split: str, shards: int) -> Closed | None:
        """What is noted of a split that is complete and still has all its shards; None if it is not."""
        found = Closed.read_if_valid(self.path / f"{split}.json")
        return found if found is not None and found.shards == shards else None

    def close(self) -> None:
        """Remove the journal: the manifest now says what there is."""
        shutil.rmtree(self.path, ignore_errors=True)
