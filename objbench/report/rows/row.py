"""The rows of every table: a method on a dataset, measured or published, with where the numbers come from."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from objbench.records import External, Run, Scored, Trained
from objbench.spec.datasets import TEST
from objbench.spec.metrics import MetricSpec

Kind = Literal["run", "external", "published"]
ALL_SEEDS = "all"


@dataclass(frozen=True)
class Statistic:
    """A metric over seeds, as it was computed: scores as fractions.

    Attributes:
        metric: What it is.
        std: Over seeds, None where there is one seed or none is printed.
        seeds: Seed -> value; empty if published.
        intervals: Seed -> 95 % bootstrap confidence interval of its mean over images.
        decimals: How many the paper prints, None if measured.
    """

    metric: MetricSpec
    mean: float
    std: float | None
    seeds: Mapping[int, float] = field(default_factory=dict)
    intervals: Mapping[int, tuple[float, float]] = field(default_factory=dict)
    decimals: int | None = None


@dataclass(frozen=True, eq=False)
class MethodId:
    """Who was scored: a method of objbench, predictions under a name of their own, or a method of a paper.

    Attributes:
        trivial: Whether it is a baseline that learns nothing.
    """

    method: str
    variant: str | None
    overrides: Mapping[str, Any]
    trivial: bool

    def __eq__(self, other: object) -> bool:
        return isinstance(other, MethodId) and self._key == other._key

    def __hash__(self) -> int:
        return hash(self._key)

    @property
    def _key(self) -> tuple[object, ...]:
        overrides = sorted((key, str(value)) for key, value in self.overrides.items())
        return (self.method, self.variant, *overrides)

    @property
    def settings(self) -> str:
        """The overrides as `key=value, key=value`; empty where there are none."""
        return ", ".join(f"{key}={value}" for key, value in self.overrides.items())


class Training(Trained):
    """How the method of a measured row was trained, and on what.

    Attributes:
        trained_on: `DATASET@PROTOCOL/SOURCE`.
        standard_n_train: How many training scenes the protocol has there, None where it does not say it exactly.
    """

    trained_on: str
    standard_n_train: int | None

    @property
    def shortened(self) -> str | None:
        """A note where the training set is not the whole one of the protocol and something was trained."""
        if not self.steps or self.standard_n_train in (None, self.n_train):
            return None
        return f"trained on {self.n_train:,} scenes, the protocol has {self.standard_n_train:,}"


@dataclass(frozen=True)
class Origin:
    """Where the values of one seed come from: a record, the folder that it stands in, the key of its scores."""

    folder: Path
    record: Run | External
    key: str


@dataclass(frozen=True, kw_only=True)
class Row(ABC):
    """A method on one dataset, with everything needed to judge what its numbers may stand beside.

    Attributes:
        label: What tables call the method.
        protocol: A name of benchmarks.yaml, or what the paper says.
        n: How many seeds.
        selection: "all", or which of the seeds were chosen and how.
        definitions: What each metric means, where that is known.
        notes: What sets the row apart from what its dataset stands for, as footnotes say it.
    """

    label: str
    who: MethodId
    dataset: str
    protocol: str
    n: int | None
    selection: str
    std_kind: Literal["sample", "population", "not stated"]
    definitions: Mapping[str, str]
    values: Mapping[str, Statistic]
    notes: tuple[str, ...] = ()

    @property
    @abstractmethod
    def kind(self) -> Kind:
        """Where the numbers come from."""

    @property
    @abstractmethod
    def data(self) -> str:
        """The source of measured numbers, the citation of published ones."""

    @property
    def published(self) -> bool:
        """Whether the numbers come from a paper."""
        return isinstance(self, Published)

    @property
    def selected(self) -> bool:
        """Whether the numbers are of chosen seeds only."""
        return not self.selection.startswith(ALL_SEEDS)

    @property
    def dataset_ref(self) -> str:
        """`DATASET`, or `DATASET@PROTOCOL` where a measured row is not of the default protocol."""
        return self.dataset

    @property
    @abstractmethod
    def test_id(self) -> str | None:
        """`PROTOCOL/SOURCE` of the standard upstream test split that the numbers are of, None if of no such one."""


@dataclass(frozen=True, kw_only=True)
class Measured(Row):
    """A row made of records.

    Attributes:
        trained: None for predictions made outside objbench.
        origins: Seed -> where its values come from.
    """

    scored: Scored
    n_images: int
    default_protocol: bool
    trained: Training | None
    devices: tuple[str, ...]
    origins: Mapping[int, Origin]

    @property
    def kind(self) -> Kind:
        """A run's, or predictions made outside objbench."""
        return "external" if self.trained is None else "run"

    @property
    def data(self) -> str:
        """The source of the scenes."""
        return self.scored.source

    @property
    def learned(self) -> Training | None:
        """The training, None where nothing is learned or how is not known."""
        return self.trained if self.trained and self.trained.steps else None

    @property
    def dataset_ref(self) -> str:
        """`DATASET`, or `DATASET@PROTOCOL` where it is not the default protocol."""
        return self.dataset if self.default_protocol else f"{self.dataset}@{self.protocol}"

    @property
    def test_id(self) -> str | None:
        """`PROTOCOL/SOURCE` of the standard test split of an upstream release, None for any other split."""
        on = self.scored
        upstream = on.generator is None and on.standard and on.split == TEST
        return f"{on.protocol}/{on.source}" if upstream else None


@dataclass(frozen=True, kw_only=True)
class Published(Row):
    """A row of numbers from a paper.

    Attributes:
        citation: Key of the reference that the numbers come from.
        quoted_in: Key of the reference that prints them too, None if they were read in the former.
        tables: Which tables of the paper in benchmarks.yaml they stand in.
        test_set: `PROTOCOL/SOURCE` of the standard test split that they are of, None if of no such one.
        remarks: What benchmarks.yaml notes of them.
    """

    citation: str
    quoted_in: str | None
    tables: tuple[str, ...]
    test_set: str | None
    remarks: tuple[str, ...]

    @property
    def kind(self) -> Kind:
        """A paper's."""
        return "published"

    @property
    def data(self) -> str:
        """The citation."""
        return self.citation

    @property
    def test_id(self) -> str | None:
        """The same as `test_set`."""
        return self.test_set
