"""The journal of an unfinished prepare: its settings, and which shards and splits are finished."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Self

from pydantic import ValidationError

from objbench.data.format.manifest import Records, Shard, Skipped, sizes_in
from objbench.data.format.settings import Settings
from objbench.errors import ObjbenchError
from objbench.files import sha256_of
from objbench.stored import Strict
from objbench.stores import Place, Store, remove_tree, write_whole


def shard_name(split: str, number: int) -> str:
    """The file name of a shard.

    >>> shard_name("train", 3)
    'train-000003.tar'
    """
    return f"{split}-{number:06d}.tar"


class Entry(Strict):
    """A file of the journal: one line of JSON, then its sha256, so that no flipped digit is believed."""

    @classmethod
    def read(cls, path: Place) -> Self | None:
        """The content of `path`; None if there is no such file, or it is damaged or of another version."""
        try:
            text, sha256 = path.read_bytes().splitlines()
            if json.loads(sha256) != hashlib.sha256(text).hexdigest():
                return None
            return cls.model_validate_json(text)
        except (FileNotFoundError, ValueError, ValidationError, RecursionError):
            return None

    def save(self, path: Place) -> None:
        """Write the file completely or not at all.

        A store has no locks, so that two prepares may be at work in it. They write the same; the first one's file stays.

        Raises:
            ObjbenchError: Another prepare wrote something else into the store.
        """
        text = self.model_dump_json()
        content = f"{text}\n{json.dumps(hashlib.sha256(text.encode()).hexdigest())}\n"
        if isinstance(path, Store):
            try:
                path.create(content.encode())
                return
            except FileExistsError:
                found = type(self).read(path)
            if found == self:
                return
            if found is not None:
                raise ObjbenchError(
                    f"{path}: another prepare wrote another entry; end all that are at work here, then --force prepares "
                    "the dataset anew"
                )
        write_whole(path, content)


class Finished(Entry):
    """A finished shard, with what the manifest will need of it.

    Attributes:
        first, last: The source's index of its first and last sample.
        digests: Of its samples, in hexadecimal digits, one after the other.
        images: Digests of their images alone, in the same way.
        object_counts: Number of objects -> number of scenes.
        skipped: Damaged scenes between the samples of this shard, or before its first.
    """

    shard: Shard
    first: int
    last: int
    digests: str
    images: str
    object_counts: dict[int, int]
    skipped: list[Skipped]


class Closed(Entry):
    """A complete split.

    Attributes:
        records: What it was made of.
        shards: Their number.
        skipped: Damaged scenes after the last shard.
    """

    records: Records
    shards: int
    skipped: list[Skipped]


class Qualifying(Entry):
    """The source's indices of the scenes that a protocol selects, in order; splits are cut from them."""

    indices: list[int]


class Started(Entry):
    """The settings of an unfinished prepare.

    Attributes:
        generator: Version and seed, None for a release.
        files: Those that it reads: name -> what tells whether it is the same file.
    """

    settings: Settings
    generator: dict[str, int] | None
    files: dict[str, str]


class Journal:
    """The files in `<folder>/.prepare`: the settings of a prepare, and its finished shards and splits."""

    def __init__(self, folder: Place) -> None:
        self.folder, self.path = folder, folder / ".prepare"

    def started(self) -> Started | None:
        """The settings of the unfinished prepare; None if there is none, or they cannot be read."""
        return Started.read(self.path / "started.json")

    def start(self, started: Started) -> None:
        """Start the journal of a new prepare."""
        if isinstance(self.path, Path):
            self.path.mkdir(parents=True, exist_ok=True)
        started.save(self.path / "started.json")

    def add(self, finished: Finished) -> None:
        """Add a shard that has its final name."""
        finished.save(self.path / f"{finished.shard.name}.json")

    def finished(self, split: str) -> list[Finished]:
        """The finished shards of a split, from the first one up to one that is missing or was changed.

        Those of a store are known by their sizes: an object is whole from the first, and the readers check its sha256.
        """
        row: list[Finished] = []
        size_of = sizes_in(self.folder)
        while (entry := self.entry(split, len(row), size_of)) is not None:
            row.append(entry)
        return row

    def entry(self, split: str, number: int, size_of: Callable[[str], int | None]) -> Finished | None:
        """The entry of a shard; None if it is missing or was changed.

        Args:
            split: Of the shard.
            number: Of the shard.
            size_of: `sizes_in` of the folder, which lists a store.
        """
        path = self.folder / shard_name(split, number)
        entry = Finished.read(self.path / f"{path.name}.json")
        if entry is None or size_of(path.name) != entry.shard.bytes:
            return None
        return entry if isinstance(path, Store) or sha256_of(path) == entry.shard.sha256 else None

    def has_gap(self, split: str) -> bool:
        """Whether there are entries of shards after one that has none, as parts leave them."""
        numbers = {
            int(path.name.split("-")[1].split(".")[0]) for path in self.path.glob(f"{split}-*.tar.json")
        }
        return bool(numbers) and len(numbers) <= max(numbers)

    def note(self, split: str, qualifying: Qualifying) -> None:
        """Add the index of the scenes that qualify."""
        qualifying.save(self.path / f"index-{split}.json")

    def qualifying(self, split: str) -> Qualifying | None:
        """The index of the scenes that qualify, by the split that is read for it; None if there is none."""
        return Qualifying.read(self.path / f"index-{split}.json")

    def end(self, split: str, closed: Closed) -> None:
        """Add a complete split."""
        closed.save(self.path / f"{split}.json")

    def closed(self, split: str, shards: int) -> Closed | None:
        """The entry of a complete split; None if it is not complete, or has not that many shards any more."""
        found = Closed.read(self.path / f"{split}.json")
        return found if found is not None and found.shards == shards else None

    def close(self) -> None:
        """Remove the journal, as the manifest takes its place."""
        remove_tree(self.path)
