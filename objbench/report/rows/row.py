"""The row types of all tables: the numbers of a method on a dataset, measured or published, and their provenance."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from objbench.records import External, Run, Trained, versions
from objbench.scores import Scored
from objbench.spec.datasets import TEST
from objbench.spec.metrics import MetricSpec
from objbench.spec.resolve import digest

Kind = Literal["run", "external", "published"]
ALL_SEEDS = "all"


@dataclass(frozen=True)
class Images:
    """The images that the mean of one seed is taken over: those for which the metric is defined.

    Attributes:
        n: How many they are.
        of: How many the split has.
        keys: Digest of their keys; None for all images of the split, or if it is not known.
    """

    n: int
    of: int
    keys: str | None = None

    @property
    def note(self) -> str | None:
        """In words, if they are not all images of the split."""
        return f"mean over {self.n:,} of {self.of:,} images" if self.n < self.of else None


@dataclass(frozen=True)
class Statistic:
    """The values of one metric over seeds, as computed: scores are fractions, not percent.

    Attributes:
        metric: What the reader must know of it.
        std: Over seeds; None for a single seed, or if the paper prints none.
        seeds: Seed -> value; empty if published.
        intervals: Seed -> 95 % bootstrap confidence interval of its mean over images.
        decimals: How many the paper prints; None if measured.
        images: Seed -> the images that its value is a mean over; empty for costs, and if published.
    """

    metric: MetricSpec
    mean: float
    std: float | None
    seeds: Mapping[int, float] = field(default_factory=dict)
    intervals: Mapping[int, tuple[float, float]] = field(default_factory=dict)
    decimals: int | None = None
    images: Mapping[int, Images] = field(default_factory=dict)

    @property
    def n_images(self) -> tuple[int, ...]:
        """Over how many images the value of a seed is a mean: one number if it is the same for all seeds."""
        return tuple(sorted({images.n for images in self.images.values()}))


@dataclass(frozen=True, eq=False)
class MethodId:
    """The identity of what was scored: a method of objbench, named external predictions, or a method of a paper.

    Attributes:
        trivial: Whether it is a trivial baseline, which learns nothing.
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
        """The overrides as `key=value, key=value`; empty if there are none."""
        return ", ".join(f"{key}={value}" for key, value in self.overrides.items())

    @property
    def mark(self) -> str:
        """`+hash6` of the overrides, as in the run's folder; empty if there are none."""
        return f"+{digest(dict(self.overrides))[:6]}" if self.overrides else ""


class Training(Trained):
    """How the method of a measured row was trained, and on what.

    Attributes:
        trained_on: `DATASET@PROTOCOL/SOURCE`.
        train_fingerprint: Of the training split.
        standard_n_train: How many training scenes the protocol has there; None if it does not fix the number.
    """

    trained_on: str
    train_fingerprint: str
    standard_n_train: int | None

    @property
    def shortened(self) -> str | None:
        """A note, if something was trained and not on the whole training set of the protocol."""
        if not self.steps or self.standard_n_train in (None, self.n_train):
            return None
        return f"trained on {self.n_train:,} scenes, the protocol has {self.standard_n_train:,}"


@dataclass(frozen=True)
class Origin:
    """Where the values of one seed come from: a record, its folder, and the key of the scores in it."""

    folder: Path
    record: Run | External
    key: str


@dataclass(frozen=True, kw_only=True)
class Row(ABC):
    """The numbers of a method on one dataset, with everything needed to judge what they can be compared with.

    Attributes:
        label: The name of the method as one types it, `METHOD[:VARIANT]`, or the paper's own.
        title: The name of the method in tables and figures.
        who: The identity of the method.
        protocol: A name of benchmarks.yaml, or what the paper says.
        n: Number of seeds; None if not stated.
        selection: "all", or in words which seeds were chosen, or why all stayed.
        selected: Whether the numbers are of chosen seeds only.
        definitions: Metric -> its definition, if known.
        notes: Texts of its footnotes: in what it differs from what its column stands for.
    """

    label: str
    title: str
    who: MethodId
    dataset: str
    protocol: str
    n: int | None
    selection: str
    selected: bool
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
    def name(self) -> str:
        """`METHOD[:VARIANT][+hash6]`: the label, with what tells rows of other overrides apart. For messages."""
        return f"{self.label}{self.who.mark}"

    @property
    def published(self) -> bool:
        """Whether the numbers come from a paper."""
        return isinstance(self, Published)

    @property
    def selection_note(self) -> str | None:
        """The selection in words; None where that is simply all seeds."""
        return None if self.selection == ALL_SEEDS else self.selection

    @property
    def dataset_ref(self) -> str:
        """`DATASET`, or `DATASET@PROTOCOL` for a measured row of another than the default protocol."""
        return self.dataset

    @property
    @abstractmethod
    def test_id(self) -> str | None:
        """`PROTOCOL/SOURCE`, if the numbers are of the standard test split of an upstream release."""


@dataclass(frozen=True, kw_only=True)
class Measured(Row):
    """A row made of the records of one or several seeds.

    Attributes:
        trained: None for predictions made outside objbench.
        training_places: Each `DATASET@PROTOCOL/SOURCE` whose train split may belong to the test split: the one that it is of,
            and those that are also tested on it (ClevrTex for its OOD set).
        dataset_slots: How many slots the dataset of the scores has; None if the dataset is not known.
        evaluation_slots: How many slots the evaluation had, if not as many as the training.
        masks: The name of the masks that were scored, if they are not those that the method segments with.
        crowded: How many images have more objects than the prediction has planes.
        repeated: How many images the training split has, too.
        origins: Seed -> where its values come from.
        mixed: The metrics that another row of the same dataset averages over other images.
    """

    scored: Scored
    n_images: int
    default_protocol: bool
    trained: Training | None
    training_places: frozenset[str]
    dataset_slots: int | None
    evaluation_slots: int | None
    masks: str | None
    crowded: int | None
    repeated: int | None
    devices: tuple[str, ...]
    origins: Mapping[int, Origin]
    mixed: frozenset[str] = frozenset()

    @property
    def kind(self) -> Kind:
        """Either "run", or "external" for predictions made outside objbench."""
        return "external" if self.trained is None else "run"

    @property
    def data(self) -> str:
        """The source of the scenes."""
        return self.scored.source

    def made_by(self, name: Literal["code_version", "torch_version"]) -> tuple[str, ...]:
        """The versions of objbench or torch that made the numbers, over all seeds, each once."""
        found = (version for o in self.origins.values() for version in versions(getattr(o.record, name)))
        return tuple(dict.fromkeys(found))

    @property
    def learned(self) -> Training | None:
        """The training; None if nothing was trained, or if it is not known."""
        return self.trained if self.trained and self.trained.steps else None

    @property
    def said_of_training(self) -> str | None:
        """`DATASET@PROTOCOL/SOURCE` that predictions made outside objbench are said to have learned from; None for runs, and if nothing is said."""
        record = self.origins[min(self.origins)].record
        return None if isinstance(record, Run) else record.trained_on

    @property
    def trained_on(self) -> str | None:
        """`DATASET@PROTOCOL/SOURCE` that the method learned from; None if nothing was trained, or if it is not known."""
        return self.learned.trained_on if self.learned else self.said_of_training

    @property
    def slots(self) -> int | None:
        """The number of slots behind the numbers; None if it is not known."""
        return self.evaluation_slots or (self.trained.slots if self.trained else None)

    @property
    def dataset_ref(self) -> str:
        """`DATASET`, or `DATASET@PROTOCOL` if it is not the default protocol."""
        return self.dataset if self.default_protocol else f"{self.dataset}@{self.protocol}"

    @property
    def test_id(self) -> str | None:
        """`PROTOCOL/SOURCE`, if it is the standard test split of an upstream release."""
        on = self.scored
        upstream = on.generator is None and on.standard and on.split == TEST
        return f"{on.protocol}/{on.source}" if upstream else None


@dataclass(frozen=True, kw_only=True)
class Published(Row):
    """A row of numbers from a paper.

    Attributes:
        citation: Key of the reference that the numbers come from.
        quoted_in: Key of the reference that quotes them, if they were read there.
        tables: The tables of benchmarks.yaml that contain them.
        test_set: `PROTOCOL/SOURCE`, if they are of the standard test split of an upstream release.
        remarks: Notes of benchmarks.yaml on them.
        conditions: In what they differ from numbers of a model that learned from the standard training split alone: they
            can be compared only with those of the same conditions.
    """

    citation: str
    quoted_in: str | None
    tables: tuple[str, ...]
    test_set: str | None
    remarks: tuple[str, ...]
    conditions: tuple[str, ...] = ()

    @property
    def kind(self) -> Kind:
        """Always "published"."""
        return "published"

    @property
    def data(self) -> str:
        """The citation."""
        return self.citation

    @property
    def test_id(self) -> str | None:
        """The test set, as `test_set` names it."""
        return self.test_set
