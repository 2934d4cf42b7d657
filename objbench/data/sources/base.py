"""The contract of a source: what it is made of, which scenes make each split, and the scenes themselves."""

from __future__ import annotations

import sys
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, NamedTuple

from objbench.data.scene import Block
from objbench.errors import whole_number
from objbench.spec.datasets import DatasetRef, slice_size


@dataclass(frozen=True)
class SplitPlan:
    """The records [start, stop) of one file that become a split.

    Where the protocol selects scenes, those of the records that qualify. If several plans differ in `cut` only, `read`
    gets the first of them, and the scenes are assigned to the splits afterwards.

    Attributes:
        split: train, val or test.
        file: The role of the file in the source's block.
        start: The first record.
        stop: The record after the last.
        standard: Whether these are exactly the records that the protocol asks for.
        in_train: Whether the records are also in the train split.
        cut: Which of the qualifying scenes, as slice bounds (negative ones count from the end); None without selection.
        expected: About how many scenes this is, where records are selected.
    """

    split: str
    file: str
    start: int
    stop: int
    standard: bool = True
    in_train: bool = False
    cut: tuple[int, int | None] | None = None
    expected: int | None = None

    def __len__(self) -> int:
        return self.stop - self.start if self.expected is None else self.expected

    @property
    def size(self) -> int | None:
        """The number of scenes, or None if it is known only after reading."""
        return self.stop - self.start if self.cut is None else slice_size(*self.cut)

    def shares(self, other: SplitPlan) -> bool:
        """Whether a scene is in both splits, as far as their bounds say: the end of a selection is not known."""
        if self.file != other.file or max(self.start, other.start) >= min(self.stop, other.stop):
            return False
        if self.cut is None or other.cut is None:
            return True
        front, back = sorted((self.cut, other.cut), key=lambda cut: cut[0] < 0)
        if front[0] >= 0 > back[0]:  # one counts from the start, the other one from the end
            return front[1] is None or back[0] < front[1] < 0
        open_end = 0 if front[0] < 0 else sys.maxsize
        ends = [open_end if stop is None or start >= 0 > stop else stop for start, stop in (front, back)]
        return max(front[0], back[0]) < min(ends)


@dataclass(frozen=True)
class SourceRequest:
    """What the user asked for.

    Attributes:
        dataset: The dataset and its protocol.
        source: The name of the source's block.
        raw: The downloaded release, a file or folder; None if there is none.
        sizes: The sizes of those splits whose size was given.
        seed: Of a generator.
    """

    dataset: DatasetRef
    source: str
    raw: Path | None = None
    sizes: Mapping[str, int] = field(default_factory=dict)
    seed: int = 0

    def __post_init__(self) -> None:
        whole_number("seed", self.seed, least=0)


class SourceTree(NamedTuple):
    """The files of a source that are too many to be listed one by one: the manifest has one digest of them all.

    Attributes:
        root: The folder.
        members: The paths of the files in it, with /, in their order.
    """

    root: Path
    members: tuple[str, ...]


class Source(ABC):
    """An opened source. The constructor checks that the files exist and are of the right kind, and reads little.

    Subclasses are registered by name (entry-point group `objbench.sources`) and constructed with a SourceRequest.

    Attributes:
        native: Whether the scenes have the release's resolution, so that the protocol's transform must be applied.
        selects: Which keys of a protocol's `select` its `plan` and `read` follow; a protocol with another one is refused.
    """

    native: ClassVar[bool] = True
    selects: ClassVar[tuple[str, ...]] = ()

    def __init__(self, request: SourceRequest) -> None:
        self.request = request

    @property
    def files(self) -> list[Path]:
        """The files that the scenes come from (hashed into the manifest); none for a generator."""
        return []

    @property
    def tree(self) -> SourceTree | None:
        """The folder whose files the scenes come from, where they are too many for `files`."""
        return None

    @property
    def generator(self) -> dict[str, int] | None:
        """What the manifest says of a generator; None for a release.

        `{"version": v, "seed": s}`, with `"stand_in": 1` if the scenes do not have the release's look.
        """
        return None

    @abstractmethod
    def plan(self) -> list[SplitPlan]:
        """The splits to make, in the order in which `read` gives them. Splits of size 0 are left out."""

    @abstractmethod
    def read(self, plans: list[SplitPlan], done: Mapping[str, int]) -> Iterator[tuple[str, Block]]:
        """The scenes of `plans`, split after split in that order, each in index order, undecoded, in blocks.

        A block should have at most SCENES_PER_JOB scenes and about BYTES_PER_JOB bytes; the caller splits larger
        ones, as a generator may give. Where blocks begin and end does not change the result. Images have the release's
        resolution; the protocol's crop and resize come later. A damaged scene goes into a block, too: its `decode`
        raises BadScene, so that --skip-bad can leave it out.

        Args:
            plans: Those of `plan` that are not finished.
            done: Split -> index: scenes with a smaller index are prepared already and are left out.

        Raises:
            ObjbenchError: Nothing more can be read; the message names file and record.
        """
