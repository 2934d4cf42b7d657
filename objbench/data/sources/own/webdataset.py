"""The source `webdataset`: tar archives of anybody, in which files of one sample share the name up to the first dot."""

from __future__ import annotations

import re
import tarfile
from collections.abc import Generator, Iterator, Mapping
from contextlib import closing
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

from objbench.data.sources import release
from objbench.data.sources.base import Source, SourceRequest, SplitPlan
from objbench.data.sources.own.scenes import MOST_BYTES, OwnBlock, OwnScene, Part, blocks
from objbench.data.sources.own.splits import ALIKE, HASHED, plans, split_by_hash
from objbench.errors import ObjbenchError, RequestError, brief, first_few, is_of_the_content, unknown_name
from objbench.files import CHUNK
from objbench.os_errors import naming
from objbench.paths import refuse_special
from objbench.spec.datasets import SPLITS

_DEFAULTS = {"image": "png;jpg;jpeg;webp", "labels": "mask.png;seg.png"}
_SUFFIXES = (".tar", ".tar.gz", ".tgz")
_NAMES = {"train": "train(ing)?", "val": "val(idation)?", "test": "test"}  # how archives of a split begin
_NAMED = "by the names of the archives"
_DAMAGE = (tarfile.TarError, OSError, EOFError, ValueError)


class Sample(NamedTuple):
    """Consecutive members of an archive that share a key.

    Attributes:
        archive: The archive.
        key: The path of the members up to the first dot of the name.
        parts: What follows that dot, such as `seg.png` -> the content; None where it was not asked for, or is too large.
    """

    archive: Path
    key: str
    parts: dict[str, bytes | None]


class WebDatasetSource(Source):
    """An archive, or a folder of them, read as streams and never unpacked.

    Options, of the dataset's block or by --option: `image` and `labels`, the endings of the members' names, several with ;
    between them, of which the first that a sample has is taken; `train`, `val` and `test`, a pattern of the archives'
    names for each split. Without patterns, archives whose names begin with train, val or test make these splits; if
    none does, a hash of the keys makes them. Scenes are in the order of the archives' names, and have the factor `name`.
    """

    def __init__(self, request: SourceRequest) -> None:
        super().__init__(request)
        options = release.source_spec(request).options
        for key in options:
            if key not in (*_DEFAULTS, *SPLITS):
                raise unknown_name(f"option of {release.label(request)}", key, (*_DEFAULTS, *SPLITS))
        self._endings = {
            part: [ending.strip().lstrip(".") for ending in str(options.get(part, default)).split(";")]
            for part, default in _DEFAULTS.items()
        }
        raw = release.raw_path(request)
        self._archives = _archives(raw)
        self._by_split = _by_split(self._archives, {s: str(options[s]) for s in SPLITS if s in options}, raw)
        self._look_at_first_sample()

    @property
    def files(self) -> list[Path]:
        """The archives of the wanted splits."""
        if self._by_split is None:
            return self._archives
        return sorted(
            {
                path
                for split in SPLITS
                if release.wanted(self.request, split)
                for path in self._by_split[split]
            }
        )

    def plan(self) -> list[SplitPlan]:
        """Every sample of each split."""
        return plans(self.request, self._counts, HASHED if self._by_split is None else _NAMED)

    def read(self, plans: list[SplitPlan], done: Mapping[str, int]) -> Iterator[tuple[str, OwnBlock]]:
        """The scenes: one pass over the archives of each split, or over all where keys make the splits."""
        for plan in plans:
            scenes = self._scenes(plan.split, max(plan.start, done.get(plan.split, 0)), plan.stop)
            for block in blocks(scenes, self.request.dataset.spec.slots):
                yield plan.split, block

    @cached_property
    def _counts(self) -> dict[str, int]:
        """Split -> the number of its samples; only the headers of the members are read."""
        counts = dict.fromkeys(SPLITS, 0)
        for split in SPLITS if self._by_split is not None else ("",):
            if not split or release.wanted(self.request, split):
                for path in self._of(split):
                    for sample in samples(path, ()):
                        counts[split or split_by_hash(sample.key)] += 1
        return counts

    def _of(self, split: str) -> list[Path]:
        return self._archives if self._by_split is None else self._by_split[split]

    def _scenes(self, split: str, start: int, stop: int) -> Iterator[OwnScene]:
        wanted = tuple(ending for endings in self._endings.values() for ending in endings)
        index = 0
        for path in self._of(split):
            if index >= stop:
                return
            with closing(samples(path, wanted)) as found:
                for sample in found:
                    if self._by_split is None and split_by_hash(sample.key) != split:
                        continue
                    if start <= index < stop:
                        parts = {part: self._part(part, sample) for part in _DEFAULTS}
                        yield OwnScene(index, f"{path.name}/{sample.key}", parts["image"], parts["labels"])
                    index += 1

    def _part(self, part: str, sample: Sample) -> Part:
        where = f"{sample.archive}: sample {sample.key}"
        ending = next((ending for ending in self._endings[part] if ending in sample.parts), None)
        if ending is None:
            names = " or ".join(f".{ending}" for ending in self._endings[part])
            found = ", ".join(f".{ending}" for ending in sorted(sample.parts)) or "nothing"
            return Part(
                where,
                missing=f"has no {part} ({names}); found {found}; --option {part}=ENDING names another one",
            )
        content = sample.parts[ending]
        where = f"{where}.{ending}"
        if content is None:
            return Part(where, missing=f"has more than {MOST_BYTES:,} bytes")
        return Part(where, f".{ending}", content)

    def _look_at_first_sample(self) -> None:
        """ObjbenchError if the members have other names than asked for: then every sample would be damaged."""
        with closing(samples(self._archives[0], ())) as found:
            first = next(found, None)
        if first is None:
            raise ObjbenchError(
                f"{self._archives[0]}: holds no files, expected samples of an image and its labels"
            )
        for part in _DEFAULTS:
            if not set(self._endings[part]) & set(first.parts):
                lacking = self._part(part, first)
                raise ObjbenchError(
                    f"{lacking.where}: {lacking.missing}. The files of a sample follow each other, as tar --sort=name puts them"
                )


def samples(path: Path, wanted: tuple[str, ...]) -> Generator[Sample, None, None]:
    """The samples of an archive in its order, with the content of the `wanted` members.

    Raises:
        ObjbenchError: The archive is damaged, or no tar archive.
        RequestError: It holds links, a file twice, or a sample whose files do not follow each other.
    """
    last, sample = "none", None
    seen: set[str] = set()
    try:
        with naming(path), tarfile.open(path) as archive:
            while (member := archive.next()) is not None:
                archive.members.clear()  # type: ignore[attr-defined]  # it would keep all of them
                last = member.name
                folder, _, name = member.name.rpartition("/")
                if name.startswith("."):
                    continue
                if member.islnk() or member.issym():
                    raise RequestError(
                        f"{path}: {member.name} is a link; make the archive with tar --dereference --hard-dereference"
                    )
                if not member.isfile():
                    continue
                stem, _, ending = name.partition(".")
                key = f"{folder}/{stem}" if folder else stem
                if sample is None or sample.key != key:
                    if sample is not None:
                        yield sample
                    if key in seen:
                        raise RequestError(
                            f"{path}: files of the sample {key} do not follow each other, or are there twice; make the archive "
                            "with tar --sort=name"
                        )
                    seen.add(key)
                    sample = Sample(path, key, {})
                content = None
                if ending in wanted and member.size <= MOST_BYTES:
                    file = archive.extractfile(member)
                    assert file is not None
                    content = file.read()
                if ending in sample.parts:
                    raise RequestError(f"{path}: {member.name} is there twice; which one is right?")
                sample.parts[ending] = content
            _check_end(archive)
    except _DAMAGE as error:
        if not is_of_the_content(error):
            raise
        raise ObjbenchError(
            f"{path}: no tar archive, or a damaged one ({brief(error)}); last member read: {last}; get another copy of it"
        ) from None
    if sample is not None:
        yield sample


def _check_end(archive: tarfile.TarFile) -> None:
    """Raise ValueError unless zeros and nothing else follow the last member: tarfile takes any damaged header for the end."""
    file = archive.fileobj
    assert file is not None
    file.seek(archive.offset)
    mark = file.read(tarfile.BLOCKSIZE)
    if not mark:
        raise ValueError("it is cut short: no end mark")
    while mark:
        if any(mark):
            raise ValueError(
                "more follows, which is no header of a member; several archives in one are not read"
            )
        mark = file.read(CHUNK)


def _archives(raw: Path) -> list[Path]:
    if raw.is_file():
        return [raw]
    found = sorted(path for path in raw.iterdir() if path.name.lower().endswith(_SUFFIXES))
    for path in found:
        refuse_special(path)
    if not found:
        raise ObjbenchError(f"{raw}: holds no archives, expected files *.tar, *.tar.gz or *.tgz")
    return found


def _refuse_names_within(archives: list[Path], raw: Path) -> None:
    """Raise RequestError if archives have names of several splits in them: a hash of the keys would mix their samples."""
    within = {word[1].lower(): path for path in archives for word in ALIKE.finditer(path.name)}
    if len(within) > 1:
        raise RequestError(
            f"{raw}: {first_few([path.name for path in within.values()])} have the names of splits in them; say which "
            "archives make a split, such as --option train='*-train-*.tar'"
        )


def _by_split(archives: list[Path], patterns: dict[str, str], raw: Path) -> dict[str, list[Path]] | None:
    """Split -> its archives; None where the archives do not say."""
    if not patterns:
        found = {
            split: [path for path in archives if re.match(rf"{name}(?![a-z])", path.name, re.IGNORECASE)]
            for split, name in _NAMES.items()
        }
        named = [path for paths in found.values() for path in paths]
        if named and len(named) < len(archives):
            others = first_few([path.name for path in archives if path not in named])
            raise RequestError(
                f"{raw}: {named[0].name} is named after a split, {others} after none; move them away, or say which archives "
                "make a split, such as --option train='train-*.tar'"
            )
        if not named:
            _refuse_names_within(archives, raw)
        return found if named else None
    found = {split: [] for split in SPLITS}
    taken: dict[Path, str] = {}
    for split, pattern in patterns.items():
        found[split] = [path for path in archives if path.match(pattern)]
        if not found[split]:
            names = first_few([path.name for path in archives])
            raise RequestError(f"{raw}: no archive matches {split}={pattern}; found {names}")
        for path in found[split]:
            if path in taken:
                first = f"{taken[path]}={patterns[taken[path]]}"
                raise RequestError(
                    f"{path}: matches {first} and {split}={pattern}; an archive can be in one split only"
                )
            taken[path] = split
    return found
