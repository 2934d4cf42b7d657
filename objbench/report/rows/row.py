"""The one row type of every table: a method on a dataset, measured or published, with its provenance."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from objbench.spec.datasets import TEST
from objbench.spec.metrics import MetricSpec

Kind = Literal["run", "external", "published"]
ALL_SEEDS = "all"


@dataclass(frozen=True)
class Statistic:
    """A metric over seeds, as it was computed: scores as fractions.

    metric: what it is; std: over seeds, None where there is one seed or none is printed; seeds: seed -> value, {} if published;
    intervals: seed -> 95 % bootstrap confidence interval of its mean over images; decimals: how many the paper
    prints, None if measured.
    """

    metric: MetricSpec
    mean: float
    std: float | None
    seeds: Mapping[int, float] = field(default_factory=dict)
    intervals: Mapping[int, tuple[float, float]] = field(default_factory=dict)
    decimals: int | None = None


@dataclass(frozen=True)
class Origin:
    """Where the values of one seed stand: the folder of its record, and the key of the scores there."""

    folder: Path
    key: str


@dataclass(frozen=True)
class Row:
    """A method on one dataset with everything needed to judge what its numbers may stand beside.

    What is not known (of a published row) is None or "not stated". `protocol` is a name of benchmarks.yaml, or what
    the paper says; `trained_on` is DATASET@PROTOCOL/SOURCE, of whose training scenes the protocol has
    `standard_n_train`; `definitions` says what each metric means where that is known; `definition` names the evaluator
    of a measured row; `origins` says for each seed which record its values come from.
    """

    kind: Kind
    dataset: str
    protocol: str
    default_protocol: bool
    source: str | None
    split: str | None
    fingerprint: str | None
    standard: bool | None
    generator: Mapping[str, int] | None
    resolution: tuple[int, int] | None
    n_images: int | None
    definition: str | None
    trained_on: str | None
    n_train: int | None
    standard_n_train: int | None
    steps: int | None
    method: str
    variant: str | None
    overrides: Mapping[str, Any]
    config_hash: str | None
    label: str
    trivial: bool
    n: int | None
    selection: str
    std_kind: Literal["sample", "population", "not stated"]
    definitions: Mapping[str, str]
    devices: tuple[str, ...]
    values: Mapping[str, Statistic]
    citation: str | None = None
    quoted_in: str | None = None
    tables: tuple[str, ...] = ()
    test_set: str | None = None
    notes: tuple[str, ...] = ()
    origins: Mapping[int, Origin] = field(default_factory=dict)

    @property
    def published(self) -> bool:
        """Whether the numbers come from a paper."""
        return self.kind == "published"

    @property
    def selected(self) -> bool:
        """Whether the numbers are of chosen seeds only."""
        return not self.selection.startswith(ALL_SEEDS)

    @property
    def short_training(self) -> str | None:
        """What is to be said of a training set that is not the protocol's, None if it is or nothing was trained."""
        if not self.steps or self.n_train is None or self.standard_n_train in (None, self.n_train):
            return None
        return f"trained on {self.n_train:,} scenes, the protocol has {self.standard_n_train:,}"

    @property
    def dataset_ref(self) -> str:
        """`DATASET`, or `DATASET@PROTOCOL` where a measured row is not of the default protocol."""
        return self.dataset if self.published or self.default_protocol else f"{self.dataset}@{self.protocol}"

    @property
    def test_id(self) -> str | None:
        """`PROTOCOL/SOURCE` of the standard upstream test split that the numbers are of, None if of no such one."""
        if self.published:
            return self.test_set
        if self.generator is not None or not self.standard or self.split != TEST:
            return None
        return f"{self.protocol}/{self.source}"
