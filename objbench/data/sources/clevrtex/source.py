"""ClevrTex, version 1, as its authors publish it: five archives of the main variant, one of each other variant.

Karazija et al., 2021. Read from the unpacked folder, from the archives without unpacking them, or from both where
some are unpacked; a file that is there several times counts once: the unpacked one, else the first.

Archives are read once, one after the other, by the process that prepares. In which order they hold the scenes is
not known, and splits are made in the order of the index: what comes early is held in memory up to 256 MiB, and
beyond that in a temporary file (at worst about 9 GB, for the main variant), which is gone afterwards.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from functools import cached_property
from itertools import chain
from pathlib import Path

from objbench.data.scene import BYTES_PER_JOB, SCENES_PER_JOB
from objbench.data.sources import release
from objbench.data.sources.base import Source, SourceRequest, SplitPlan
from objbench.data.sources.clevrtex import unpacked
from objbench.data.sources.clevrtex.archives import members
from objbench.data.sources.clevrtex.decode import ClevrTexBlock, Scene
from objbench.data.sources.clevrtex.names import KINDS, VARIANTS, FileId, ForeignError, refuse_foreign
from objbench.data.sources.clevrtex.reorder import AbsentError, OrderedScenes
from objbench.data.sources.clevrtex.unpacked import Files
from objbench.errors import ObjbenchError, first_few

ROLE = "data"


class OfficialSource(Source):
    """A variant of ClevrTex: its unpacked folder, the folder that holds this or the archives, or one archive."""

    def __init__(self, request: SourceRequest) -> None:
        super().__init__(request)
        self._variant = VARIANTS[release.option(request, "variant", VARIANTS)]
        self._names = release.source_spec(request).files[ROLE]
        self._raw = release.raw_path(request)
        self._folder: Path | None = None
        self._archives = [self._raw]
        if self._raw.is_dir():
            self._folder = unpacked.find(self._raw, self._variant)
            paths = (self._raw / name for name in self._names)
            self._archives = [path for path in paths if path.is_file()]
        if self._folder is None and not self._archives:
            raise self._nothing()
        for path in self._archives:
            with closing(members(path, self._variant)) as found:
                if next(found, None) is None:
                    raise ObjbenchError(f"{path}: holds no scenes of {self._variant.folder}")

    @property
    def files(self) -> list[Path]:
        """The archives; the files of an unpacked release are too many to be listed."""
        return self._archives

    def plan(self) -> list[SplitPlan]:
        """The protocol's scenes by their index.

        Where some of them are missing and all sizes are given, those that are there, in the order of the index, are
        cut one split after the other: a plan then counts positions in that order. Only then are archives read for
        what they hold; else one that is not complete is noticed at its end.
        """
        return self._planned[0]

    def read(self, plans: list[SplitPlan], done: Mapping[str, int]) -> Iterator[tuple[str, ClevrTexBlock]]:
        """The scenes; of those that are unpacked only the paths, their files are read where they are decoded."""
        wanted = [[i for i in self._indices(plan) if i >= done.get(plan.split, 0)] for plan in plans]
        every = chain.from_iterable(wanted)
        ordered = OrderedScenes(self._variant, self._files, self._archives, self._raw, every)
        with closing(ordered):
            for plan, indices in zip(plans, wanted, strict=True):
                for scenes in _in_blocks(self._scene(ordered, index, plans) for index in indices):
                    yield plan.split, ClevrTexBlock(self._variant.name, scenes)

    @cached_property
    def _files(self) -> Files:
        if self._folder is None:
            return {suffix: {} for suffix in KINDS}
        return unpacked.scan(self._folder, self._variant)

    @cached_property
    def _planned(self) -> tuple[list[SplitPlan], Sequence[int]]:
        """The plans, and the index of each scene that they count."""
        plans = release.protocol_plan(self.request)
        order = range(max((plan.start + len(plan) for plan in plans), default=0))
        all_given = release.all_sizes_given(self.request)
        if self._archives and not all_given:
            self._refuse_missing_archives()
            return plans, order
        needed = {index for plan in plans for index in order[plan.start : plan.stop]}
        found = self._found(needed)
        if needed <= found:
            return plans, order
        if not all_given:
            raise self._incomplete(plans, sorted(needed - found), len(found))
        return release.consecutive_plan(self.request, {ROLE: len(found)}, {ROLE: self._raw}), sorted(found)

    def _indices(self, plan: SplitPlan) -> Sequence[int]:
        return self._planned[1][plan.start : plan.stop]

    def _found(self, needed: set[int]) -> set[int]:
        """The scenes of which there is any file; archives are read as long as some of those `needed` are not found."""
        found = {index for folders in self._files.values() for index in folders}
        missing = needed - found
        for path in self._archives:
            with closing(members(path, self._variant)) as files:
                for file_id, _, _ in files:
                    if not missing:
                        return found
                    found.add(file_id.scene)
                    missing.discard(file_id.scene)
        return found

    def _scene(self, ordered: OrderedScenes, index: int, plans: list[SplitPlan]) -> Scene:
        try:
            return ordered.scene(index)
        except AbsentError as error:
            found = sum(map(len, plans)) - len(error.indices)
            raise self._incomplete(plans, error.indices, found) from None

    def _incomplete(self, plans: list[SplitPlan], missing: list[int], found: int) -> ObjbenchError:
        names = first_few([self._variant.file(FileId(index, "")) for index in missing])
        expected = f"needs {sum(map(len, plans)):,}; missing: {names}"
        return release.incomplete(self.request, self._raw, found, expected)

    def _refuse_missing_archives(self) -> None:
        """ObjbenchError if not all archives are there, and nothing is unpacked that could stand for them."""
        names = self._names
        here = {path.name for path in self._archives}
        if self._folder is None and here < set(names):
            missing = ", ".join(name for name in names if name not in here)
            sizes = ", ".join(f"--{split}" for split in release.rules(self.request))
            raise ObjbenchError(
                f"{self._raw}: {release.label(self.request)} comes in {len(names)} archives; missing: {missing}. "
                f"Download them from {release.source_spec(self.request).url}, or give all of {sizes} to prepare a "
                "non-standard set from what is there"
            )

    def _nothing(self) -> ObjbenchError:
        """There is neither the unpacked release nor an archive of it."""
        for path in sorted(self._raw.iterdir()):
            try:
                refuse_foreign(path.name, self._variant)
            except ForeignError as error:
                return ObjbenchError(f"{path}: {error}")
        archives = ", ".join(self._names)
        return ObjbenchError(
            f"{self._raw}: holds neither {self._variant.folder} nor {archives}, which {release.label(self.request)} is "
            f"made of. Download it from {release.source_spec(self.request).url}"
        )


def _in_blocks(scenes: Iterable[Scene]) -> Iterator[list[Scene]]:
    block: list[Scene] = []
    size = 0
    for scene in scenes:
        block.append(scene)
        size += scene.size
        if len(block) == SCENES_PER_JOB or size >= BYTES_PER_JOB:
            yield block
            block, size = [], 0
    if block:
        yield block
