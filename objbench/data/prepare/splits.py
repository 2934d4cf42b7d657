"""Assigning scenes to splits, even if a split is counted from the end of the source."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import Protocol

from objbench.data.format.manifest import Records, Skipped
from objbench.data.prepare.encode import Encoded, EncodedScene
from objbench.data.prepare.journal import Closed
from objbench.data.scene import refuse_other_types
from objbench.data.sources.base import SplitPlan
from objbench.errors import ObjbenchError

MOST_SKIPPED = 0.1  # of the scenes of a split; one scene may always be left out, unless it is the only one
_REASONS = 3  # damaged scenes whose fault a refusal quotes


class Writer(Protocol):
    """What gets the scenes of a split: a ShardWriter, or what only notes them."""

    @property
    def written(self) -> int: ...
    @property
    def skipped(self) -> list[Skipped]: ...
    @property
    def first(self) -> int | None: ...
    @property
    def resume(self) -> int: ...
    @property
    def closed(self) -> Closed | None: ...
    def add(self, scene: EncodedScene) -> None: ...
    def close(self, records: Records) -> None: ...


def shared_ranges(plans: list[SplitPlan]) -> list[list[SplitPlan]]:
    """The plans in groups that are made in one reading: those that differ only in their cut."""
    groups: dict[tuple[str, int, int, str], list[SplitPlan]] = {}
    for plan in plans:
        alone = plan.split if plan.cut is None else ""
        groups.setdefault((plan.file, plan.start, plan.stop, alone), []).append(plan)
    return list(groups.values())


class SplitAssigner:
    """Assigns the scenes of one range of records, in order, to the splits taken from it.

    A split may begin or end n scenes before the last one. So the last n scenes are held back, encoded: that takes
    megabytes, undecoded ones would take gigabytes. A resumed prepare continues at the position it had reached.
    """

    def __init__(self, plans: list[SplitPlan], writers: Mapping[str, Writer]) -> None:
        self.plans, self.writers = plans, writers
        self._bounds = {plan.split: plan.cut or (0, None) for plan in plans}
        self._tail = max(-min(start, stop or 0, 0) for start, stop in self._bounds.values())
        self._held: deque[EncodedScene] = deque()
        self._types: dict[str, str] | None = None
        self._samples = 0  # held, without the skipped ones
        started = [(self._bounds[p.split][0], writers[p.split].written) for p in plans]
        self._position = max((start + done for start, done in started if start >= 0 and done), default=0)
        self._next = self.resume

    @property
    def lead(self) -> SplitPlan:
        """The plan under whose split the source gives the scenes."""
        return self.plans[0]

    @property
    def resume(self) -> int:
        """Scenes with an index below this are done."""
        return max(self.writers[plan.split].resume for plan in self.plans)

    @property
    def complete(self) -> bool:
        """Whether no more scenes are wanted."""
        return all(self.writers[plan.split].closed for plan in self.plans)

    def add(self, encoded: Encoded) -> None:
        """Take the scenes of a block.

        Raises:
            ObjbenchError: The source gives them out of order, or with factors of other names, types or shapes than before.
        """
        for types in encoded.types:
            if self._types is None:
                self._types = types
            refuse_other_types(f"the factors of {self.lead.split}", types, self._types)
        for scene in encoded.scenes:
            if scene.index < self._next:
                raise ObjbenchError(f"the indices of {self.lead.split} must ascend: found {scene.index}")
            self._next = scene.index + 1
            self._held.append(scene)
            self._samples += not scene.reason
            # A damaged scene has no position. It is not among the last n once n samples follow it.
            while self._held and self._samples + bool(self._held[0].reason) > self._tail:
                self._release()

    def finish(self) -> None:
        """Assign the scenes held back, as all scenes were given; ObjbenchError if a split lacks some."""
        count = self._position + self._samples
        while self._held:
            split = self._owner(min(self._position, count - 1), count)
            if split is not None:
                self._close_before(split, self._held[0].index)
            self._release(count)
        for plan in self.plans:
            self._close(plan, plan.stop)

    def _close_before(self, split: str, stop: int) -> None:
        """Close the splits before `split`, as its first scene is reached."""
        for plan in self.plans:
            if plan.split == split:
                return
            self._close(plan, stop)

    def _release(self, count: int | None = None) -> None:
        """Give the first scene held back to its split, and close the split if that completes it."""
        scene = self._held.popleft()
        split = self._owner(self._position if count is None else min(self._position, count - 1), count)
        if split is not None:
            self.writers[split].add(scene)
        if scene.reason:
            return
        self._samples -= 1
        self._position += 1
        for plan in self.plans:
            if plan.split == split and self._position == self._bounds[split][1]:
                self._close(plan, scene.index + 1)

    def _owner(self, position: int, count: int | None) -> str | None:
        """The unfinished split that a position is in, None if there is none.

        Args:
            count: Number of scenes; None: not known yet, but more than are held back.
        """
        for split, (start, stop) in reversed(self._bounds.items()):  # splits at the end come first
            if count is None:
                inside = 0 <= start <= position and (stop is None or stop < 0 or position < stop)
            else:
                inside = position in range(count)[start:stop]
            if inside and self.writers[split].closed is None:
                return split
        return None

    def _close(self, plan: SplitPlan, stop: int) -> None:
        """Declare a split complete, unless it is already; its records end at `stop`."""
        writer = self.writers[plan.split]
        if writer.closed is not None:
            return
        found = writer.written + (len(writer.skipped) if plan.cut is None else 0)
        if plan.size is not None and found != plan.size:
            raise ObjbenchError(_wrong_count(plan, found, plan.size))
        _check_skipped(plan.split, writer.written, writer.skipped)
        start = plan.start
        if plan.cut is not None and plan.cut[0] != 0 and writer.first is not None:
            start = writer.first
        writer.close(Records(file=plan.file, start=start, stop=plan.stop if plan.cut is None else stop))


def _check_skipped(split: str, written: int, skipped: list[Skipped]) -> None:
    """Raise ObjbenchError if a split is empty, or if --skip-bad left out more than MOST_SKIPPED of it."""
    total = written + len(skipped)
    if written and len(skipped) <= max(1, MOST_SKIPPED * total):
        return
    if not skipped:
        raise ObjbenchError(f"split {split} is empty: no scene of the source qualifies for it")
    reasons = "; ".join(f"scene {scene.index}: {scene.reason}" for scene in skipped[:_REASONS])
    raise ObjbenchError(
        f"split {split}: {len(skipped):,} of {total:,} scenes are damaged; --skip-bad leaves out one scene or at most "
        f"{MOST_SKIPPED:.0%} of a split, and never all of it. The first: {reasons}. Get another copy of the source"
    )


def _wrong_count(plan: SplitPlan, found: int, wanted: int) -> str:
    if found > wanted:
        return f"the source gave more than the {wanted:,} scenes of {plan.split}"
    if plan.cut is not None:
        return (
            f"split {plan.split} should have {wanted:,} scenes, only {found:,} of the remaining ones qualify"
        )
    missing = wanted - found
    return (
        f"the source ended early: split {plan.split} should have {wanted:,} scenes, {missing:,} are missing"
    )
