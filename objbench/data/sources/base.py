"""The contract of a source: what it is made of, which scenes make each split, and the scenes themselves."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

from objbench.data.scene import Block
from objbench.spec.datasets import DatasetRef, slice_size


@dataclass(frozen=True)
class SplitPlan:
    """The records [start, stop) of one file that become a split.

    Where the protocol selects scenes: those of them that qualify; `cut` then says which of these, as slice bounds
    (negative ones count from the end), and `expected` about how many scenes this is. Of plans that differ in their
    cut alone `read` is given the first, and the scenes are shared out afterwards.
    standard: exactly the records that the protocol asks for; in_train: they are also in the train split.
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
        """The number of scenes where it is certain beforehand."""
        return self.stop - self.start if self.cut is None else slice_size(*self.cut)


@dataclass(frozen=True)
class SourceRequest:
    """What the user asked for; sizes holds only the splits whose size was given."""

    dataset: DatasetRef
    source: str
    raw: Path | None = None
    sizes: Mapping[str, int] = field(default_factory=dict)
    seed: int = 0


class Source(ABC):
    """An opened source. Constructing one checks that its files exist and are of the right kind, reading little.

    Subclasses are registered by name (entry-point group objbench.sources) and constructed with a SourceRequest.

    native: its scenes come as the release has them, and the protocol's transform is still to be applied.
    """

    native: ClassVar[bool] = True

    def __init__(self, request: SourceRequest) -> None:
        self.request = request

    @property
    def files(self) -> list[Path]:
        """The files that the scenes come from (hashed into the manifest); none for a generator."""
        return []

    @property
    def generator(self) -> dict[str, int] | None:
        """`{"version": v, "seed": s}` of a generator (and `"stand_in": 1` of one that cannot follow the release's look),
        None for a release."""
        return None

    @abstractmethod
    def plan(self) -> list[SplitPlan]:
        """The splits to make, in the order in which `read` gives them. Splits of size 0 are left out."""

    @abstractmethod
    def read(self, plans: list[SplitPlan], done: Mapping[str, int]) -> Iterator[tuple[str, Block]]:
        """The scenes of `plans`, split after split in that order, each in index order, undecoded, in blocks.

        A block has at most SCENES_PER_JOB scenes and about BYTES_PER_JOB bytes; larger ones, as a generator may
        give, are cut by who reads them. Where blocks begin and end changes nothing of the result, so they need not
        keep to any border. Images are of the release's own resolution; the protocol's crop and resize come later.
        Scenes of a split with an index below `done[split]` are already prepared and are left out.

        A damaged scene is not the reader's matter: it goes into a block, whose `decode` raises BadScene, so that
        --skip-bad can leave it out. Raises ObjbenchError, naming file and record, where nothing more can be read.
        """
