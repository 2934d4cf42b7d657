"""The contract of a source: what it is made of, which scenes make each split, and the scenes themselves."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from objbench.data.scene import SceneBatch
from objbench.spec import DatasetRef


@dataclass(frozen=True)
class SplitPlan:
    """The records [start, stop) of one file that become a split.

    standard: exactly the records that the protocol asks for; in_train: they are also in the train split.
    """

    split: str
    file: str
    start: int
    stop: int
    standard: bool = True
    in_train: bool = False

    def __len__(self) -> int:
        return self.stop - self.start


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
    """

    def __init__(self, request: SourceRequest) -> None:
        self.request = request

    @property
    def files(self) -> list[Path]:
        """The files that the scenes come from (hashed into the manifest); none for a generator."""
        return []

    @property
    def generator(self) -> dict[str, int] | None:
        """`{"version": v, "seed": s}` of a generator, None for a release."""
        return None

    @abstractmethod
    def plan(self) -> list[SplitPlan]:
        """The splits to make, in the order in which `read` gives them. Splits of size 0 are left out."""

    @abstractmethod
    def read(self, plans: list[SplitPlan], done: Mapping[str, int]) -> Iterator[tuple[str, SceneBatch]]:
        """The scenes of `plans`, split after split in that order, each in index order, in batches of any size.

        `done[split]` scenes at the start of a split are already prepared and are left out.
        Raises ObjbenchError naming file and record where the input is damaged.
        """
