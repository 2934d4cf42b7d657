"""manifest.json: what a prepared dataset consists of. It is written last, so a folder that has one is complete."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, ClassVar, Literal

from pydantic import AfterValidator, PositiveInt

from objbench.data.format.settings import Settings, refuse_changed_settings
from objbench.errors import ObjbenchError, RequestError, unknown_name
from objbench.spec.datasets import GENERATED, SPLITS, DatasetRef
from objbench.spec.own import prepare_command
from objbench.stored import Stored, Strict
from objbench.stores import Place, Store

MANIFEST = "manifest.json"


def _split_name(name: str) -> str:
    if name not in SPLITS:
        raise ValueError(f"'{name}' is no split")
    return name


SplitName = Annotated[str, AfterValidator(_split_name)]


class SourceFile(Strict):
    """A file that the scenes were read from."""

    name: str
    bytes: int
    sha256: str


class Shard(Strict):
    """One shard: its file name, size, hash and number of samples."""

    name: str
    bytes: int
    sha256: str
    count: int


class Records(Strict):
    """The records [start, stop) of a file of the source that were read for a split.

    The split's `count` says how many of them were kept.
    """

    file: str
    start: int
    stop: int


class Skipped(Strict):
    """A damaged scene that was left out: its index in the source, and the fault."""

    index: int
    reason: str


class Split(Strict):
    """One prepared split.

    Attributes:
        standard: Whether it is the whole split that the protocol defines.
        in_train: Whether its scenes are also in the train split.
        repeated: How many of its images train has, too; of train itself, how many stand there a second time. None: not
            counted, as there is no train or its images are made on a GPU.
        object_counts: Number of objects -> number of scenes.
    """

    count: int
    standard: bool
    in_train: bool
    repeated: int | None = None
    records: Records
    fingerprint: str
    object_counts: dict[int, int]
    skipped: list[Skipped]
    shards: list[Shard]

    @property
    def fault(self) -> str | None:
        """Why its samples cannot be used: there are none, or its counts contradict each other. None: no fault."""
        counts = [shard.count for shard in self.shards]
        if self.count == 0 and not self.shards:
            return "is empty"
        if sum(counts) != self.count:
            return f"has {self.count:,} samples, but its shards have {sum(counts):,} together"
        if min(counts) < 1:
            return "has a shard without samples"
        if len({shard.name for shard in self.shards}) < len(counts):
            return "has a shard twice"
        return None


class Manifest(Stored):
    """All that is known of a prepared dataset. It has no dates and no paths: equal prepares give equal manifests."""

    kind: ClassVar[str] = "a manifest"
    remedy: ClassVar[str] = "prepare it again with --force"
    indent: ClassVar[int | None] = 1

    version: Literal[1] = 1
    objbench: str
    dataset: str
    protocol: str
    source: str
    height: PositiveInt
    width: PositiveInt
    settings: Settings
    generator: dict[str, int] | None
    files: list[SourceFile]
    splits: dict[SplitName, Split]

    @property
    def repeats(self) -> dict[str, str]:
        """Split -> how many of its images train has, too, in words. Without splits of which the protocol says so."""
        return {
            name: f"{split.repeated:,} of its {split.count:,} images "
            + ("stand there a second time" if name == "train" else "are in train, too")
            for name, split in self.splits.items()
            if split.repeated and not split.in_train
        }

    def split(self, name: str) -> Split:
        """The split `name`.

        Raises:
            RequestError: There is no such name.
            ObjbenchError: The split was left out, is empty, or its counts contradict each other.
        """
        if name not in SPLITS:
            raise unknown_name("split", name, SPLITS)
        if name not in self.splits:
            raise ObjbenchError(
                f"{self.dataset}@{self.protocol} ({self.source}) was prepared without a split '{name}'; "
                f"it has: {', '.join(self.splits)}"
            )
        split = self.splits[name]
        if split.fault is not None:
            raise ObjbenchError(
                f"{MANIFEST} of {self.dataset}@{self.protocol} ({self.source}): split '{name}' {split.fault}; {self.remedy}"
            )
        return split


def folder_of(data: Place, dataset: DatasetRef, source: str) -> Place:
    """The folder of a prepared dataset: `<data>/<dataset>[@protocol]/<source>`."""
    return data / str(dataset) / source


def read_manifest(folder: Place) -> Manifest:
    """The manifest of a prepared dataset; ObjbenchError if there is none or it is damaged."""
    path = folder / MANIFEST
    manifest = Manifest.read(path)
    if manifest is None:
        raise ObjbenchError(
            f"{path}: no such file; the dataset is not prepared, or its prepare was interrupted"
        )
    return manifest


def prepared(data: Place, dataset: DatasetRef) -> dict[str, Manifest]:
    """The prepared sources of a dataset under one protocol, by name."""
    return {source: manifest_of(data, dataset, source) for source in prepared_sources(data, dataset)}


def prepared_sources(data: Place, dataset: DatasetRef) -> list[str]:
    """The names of the prepared sources of a dataset under one protocol; their manifests are not read.

    A source that the protocol does not have, or no longer has, does not count.
    """
    there = {path.parent.name for path in (data / str(dataset)).glob(f"*/{MANIFEST}")}
    return sorted(there & set(dataset.sources))


def manifest_of(data: Place, dataset: DatasetRef, source: str) -> Manifest:
    """The manifest of a dataset from one source; ObjbenchError if there is none, or it is damaged or of another one."""
    folder = folder_of(data, dataset, source)
    manifest = read_manifest(folder)
    found = (manifest.dataset, manifest.protocol, manifest.source)
    if found != (dataset.name, dataset.protocol, source):
        raise ObjbenchError(
            f"{folder / MANIFEST}: is of {found[0]}@{found[1]} from {found[2]}, which is not what its folder is named "
            "after; move the folder back, or prepare again with --force"
        )
    return manifest


def find(data: Place, dataset: DatasetRef, source: str | None) -> tuple[Place, Manifest]:
    """The folder and manifest of a prepared dataset.

    Args:
        source: May be None if only one is prepared.

    Raises:
        RequestError: Several sources are prepared and none is given; or it was prepared with other settings than those
            of `dataset`.
        ObjbenchError: None is prepared; the message has the command that prepares it.
    """
    here = prepared_sources(data, dataset) if source is None else [dataset.source(source)]
    if len(here) > 1:
        raise RequestError(f"{dataset} is prepared from several sources: give --source {' or '.join(here)}")
    for name in here:
        folder = folder_of(data, dataset, name)
        if (folder / MANIFEST).is_file():
            manifest = manifest_of(data, dataset, name)
            refuse_changed_settings(folder, manifest.settings, dataset, name)
            return folder, manifest
    wanted = dataset.source(source)
    begun = folder_of(data, dataset, wanted)
    if any(begun.glob("*.tar")):
        raise ObjbenchError(
            f"{dataset} is not prepared yet: the prepare into {begun} is unfinished; {prepare_command(dataset, wanted, data)}, "
            "with the sizes and the seed that it had, goes on"
        )
    free = source is None and wanted != GENERATED and GENERATED in dataset.sources
    other = f" (--source {GENERATED} needs no download)" if free else ""
    raise ObjbenchError(
        f"{dataset} is not prepared in {data / str(dataset)}"
        f"{f' from source {source}' if source else ''}: {prepare_command(dataset, wanted, data)}{other}"
    )


def refuse_incomplete(folder: Place, manifest: Manifest) -> None:
    """Raise ObjbenchError if a split cannot be used, or a shard is missing or has another size.

    Shards are not read.
    """
    size_of = sizes_in(folder)
    for name in manifest.splits:
        for shard in manifest.split(name).shards:
            if (size := size_of(shard.name)) != shard.bytes:
                found = "is missing" if size is None else f"has {size} bytes"
                raise ObjbenchError(
                    f"{folder / shard.name}: {found}, the manifest says {shard.bytes} bytes; objbench verify lists all "
                    "differences, objbench prepare --force replaces the dataset"
                )


def sizes_in(folder: Place) -> Callable[[str], int | None]:
    """What gives the size of a file of `folder` by its name, None if there is no such file. A store is asked once."""
    if isinstance(folder, Store):
        stored = {name: facts.bytes for name, facts in folder.files().items()}
        return stored.get

    def size(name: str) -> int | None:
        path = folder / name
        return path.stat().st_size if path.is_file() else None

    return size
