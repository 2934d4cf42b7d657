"""A prepare in parts: which scenes every shard will hold, known before it is made, and the making of some of them.

Each shard is a function of the source and the settings, so any process can make it, and one that is made twice is the
same. Where a protocol selects scenes, an index of those that qualify comes first.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby, islice
from pathlib import Path

from objbench import progress
from objbench.data.format.manifest import Records, Skipped, sizes_in
from objbench.data.format.settings import Settings
from objbench.data.prepare.encode import Encoded, EncodedScene
from objbench.data.prepare.journal import Closed, Journal, Qualifying
from objbench.data.prepare.pipeline import jobs_of, preprocessing_of
from objbench.data.prepare.splits import SplitAssigner, shared_ranges
from objbench.data.prepare.writer import ShardWriter
from objbench.data.sources.base import Source, SplitPlan
from objbench.data.workers import run
from objbench.errors import ObjbenchError
from objbench.stores import locked


@dataclass(frozen=True)
class PlannedShard:
    """A shard before it is made.

    Attributes:
        split: train, val or test.
        number: From 0.
        plan: What the source is asked to read for it.
        start, stop: The records of an unfiltered plan; of a filtered one the index of its first scene and that after
            its last.
        count: Its scenes.
        indices: Which of the scenes between start and stop; None: all.
    """

    split: str
    number: int
    plan: SplitPlan
    start: int
    stop: int
    count: int
    indices: frozenset[int] | None = None


class Recorder:
    """In the place of a ShardWriter: notes which scenes a split would get, and of what records it would be made."""

    def __init__(self) -> None:
        self.indices: list[int] = []
        self.skipped: list[Skipped] = []
        self.closed: Closed | None = None
        self.resume = 0

    @property
    def written(self) -> int:
        """Number of scenes so far."""
        return len(self.indices)

    @property
    def first(self) -> int | None:
        """The index of the first scene."""
        return self.indices[0] if self.indices else None

    def add(self, scene: EncodedScene) -> None:
        """Note a scene."""
        self.indices.append(scene.index)

    def close(self, records: Records) -> None:
        """Note that the split is complete."""
        self.closed = Closed(records=records, shards=0, skipped=[])


class Shards:
    """The shards of a prepare whose journal is open."""

    def __init__(self, source: Source, plans: list[SplitPlan], settings: Settings, journal: Journal) -> None:
        self.source, self.plans, self.settings, self.journal = source, plans, settings, journal
        self._groups = shared_ranges(plans)

    def planned(self, workers: int) -> list[PlannedShard]:
        """All shards, split after split. Makes the index of scenes that qualify if there is none.

        Raises:
            ObjbenchError: A scene is damaged, or too few qualify.
        """
        shards: list[PlannedShard] = []
        for group in self._groups:
            if group[0].cut is None:
                shards += self._of_records(group[0])
            else:
                indices = self._index(group[0], workers)
                for split, recorder in _assigned(group, indices).items():
                    shards += self._of_scenes(split, group[0], recorder.indices)
        return shards

    def complete(self) -> dict[str, tuple[int, Records]]:
        """Split -> its scenes and the records that it is made of, for the splits that an index knows."""
        found = {}
        for group in self._groups:
            index = self.journal.qualifying(group[0].split) if group[0].cut is not None else None
            if index is not None:
                for split, recorder in _assigned(group, index.indices).items():
                    assert recorder.closed is not None
                    found[split] = (recorder.written, recorder.closed.records)
        return found

    def missing(self, shards: Sequence[PlannedShard]) -> list[PlannedShard]:
        """The shards that are not finished."""
        size_of = sizes_in(self.journal.folder)
        return [shard for shard in shards if self.journal.entry(shard.split, shard.number, size_of) is None]

    def make(
        self, shards: Sequence[PlannedShard], scratch: Path, workers: int, advance: progress.Advance
    ) -> None:
        """Make shards; neighbours are read in one go. `advance` counts samples.

        Args:
            scratch: A folder of this process alone, on the same disk.

        Raises:
            ObjbenchError: A scene is damaged, or the source gives others than it planned.
        """
        keyed = enumerate(shards)
        for _, neighbours in groupby(keyed, lambda pair: (pair[1].split, pair[1].number - pair[0])):
            self._make([shard for _, shard in neighbours], scratch, workers, advance)

    def _make(
        self, shards: list[PlannedShard], scratch: Path, workers: int, advance: progress.Advance
    ) -> None:
        first, remaining = shards[0], sum(shard.count for shard in shards)
        writer = ShardWriter(
            self.journal.folder,
            scratch,
            first.split,
            self.settings.scenes_per_shard,
            self.journal,
            first.number,
        )
        wanted = frozenset[int]().union(*(shard.indices or () for shard in shards))
        checked = False
        try:
            for encoded in self._encoded(shards, workers):
                scenes = [scene for scene in encoded.scenes if not wanted or scene.index in wanted]
                for scene in scenes:
                    writer.add(scene)
                advance(len(scenes))
                if scenes and not checked:
                    writer.check_space([len(scene.content) for scene in scenes], remaining)
                    checked = True
                if writer.written >= remaining:
                    break
            writer.end()
        finally:
            writer.abandon()
        if writer.written != remaining:
            raise ObjbenchError(
                f"the source gave {writer.written:,} scenes of {first.split} for the shards {first.number} to "
                f"{shards[-1].number}, expected {remaining:,}"
            )

    def _encoded(self, shards: list[PlannedShard], workers: int) -> Iterator[Encoded]:
        first, last = shards[0], shards[-1]
        if first.indices is None:
            blocks = self.source.read([replace(first.plan, start=first.start, stop=last.stop)], {})
        else:
            blocks = self.source.read([first.plan], {first.plan.split: first.start})
        jobs = jobs_of(blocks, preprocessing_of(self.settings), skip_bad=False)
        return run("objbench.data.prepare.encode:encode_block", jobs, workers)

    def _of_records(self, plan: SplitPlan) -> list[PlannedShard]:
        step = self.settings.scenes_per_shard
        starts = range(plan.start, plan.stop, step)
        return [
            PlannedShard(plan.split, number, plan, start, stop, stop - start)
            for number, start in enumerate(starts)
            for stop in [min(start + step, plan.stop)]
        ]

    def _of_scenes(self, split: str, lead: SplitPlan, indices: list[int]) -> list[PlannedShard]:
        shards: list[PlannedShard] = []
        remaining = iter(indices)
        while part := list(islice(remaining, self.settings.scenes_per_shard)):
            bounds = (part[0], part[-1] + 1)
            shards.append(PlannedShard(split, len(shards), lead, *bounds, len(part), frozenset(part)))
        return shards

    def _index(self, lead: SplitPlan, workers: int) -> list[int]:
        """The scenes that qualify; read from the source once, by the first of the processes that need it."""
        with locked(self.journal.path / "index.lock"):
            found = self.journal.qualifying(lead.split)
            if found is None:
                jobs = jobs_of(self.source.read([lead], {}), preprocessing_of(self.settings), skip_bad=False)
                indices: list[int] = []
                for qualifying in run("objbench.data.prepare.encode:qualifying", jobs, workers):
                    indices += qualifying
                found = Qualifying(indices=indices)
                self.journal.note(lead.split, found)
            return found.indices


def _assigned(group: list[SplitPlan], indices: list[int]) -> dict[str, Recorder]:
    """Which of the scenes that qualify belong to each split, by the rules of a prepare in one process."""
    recorders = {plan.split: Recorder() for plan in group}
    assigner = SplitAssigner(group, recorders)
    assigner.add(Encoded(group[0].split, [EncodedScene(index, b"", b"", b"", 0) for index in indices], []))
    assigner.finish()
    return recorders
