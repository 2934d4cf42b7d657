"""The publications of benchmarks.yaml, and the numbers that they print."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from objbench.errors import unknown_name
from objbench.spec.datasets import DatasetSpec
from objbench.spec.metrics import MetricSpec
from objbench.spec.numbers import Counted, Number, Whole
from objbench.stored import Strict

_ALL = re.compile(r"all( \d+ seeds)?")
Mean = Annotated[Number, "percent as printed; hours or iterations in a cost table"]


class Reference(Strict):
    """A publication: numbers and methods cite it by its key.

    Attributes:
        text: How it is printed below tables; where it is left out it is made of the other fields.
        author: `Last, First and Last, First and ...`, as BibTeX has it.
        title: Of the publication.
        venue: Where it appeared, as printed, with the year.
        year: When it appeared.
        url: Where it can be read.
    """

    text: str
    author: str | None = None
    title: str | None = None
    venue: str | None = None
    year: Whole | None = None
    url: str | None = None

    @model_validator(mode="before")
    @classmethod
    def _text_of_fields(cls, given: Any) -> Any:
        """Greff et al., Multi-Object Representation Learning ..., ICML 2019."""
        if not isinstance(given, dict) or "text" in given:
            return given
        if not all(isinstance(given.get(name), str) for name in ("author", "title")):
            raise ValueError("a reference has either a text, or an author and a title")
        last, *others = [name.partition(",")[0].strip() for name in given["author"].split(" and ")]
        names = f"{last} et al." if len(others) > 1 else " and ".join([last, *others])
        parts = [names, given["title"], given.get("venue") or given.get("year")]
        return given | {"text": ", ".join(str(part) for part in parts if part)}


class PublishedRow(Strict):
    """Numbers from a paper, as printed (percent), with everything needed to judge them.

    `values` maps dataset -> metric -> [mean, std]; std is null where none is printed. `definitions` maps a metric to
    the paper's definition of it, or "not stated"; a metric left out is defined as in `metrics:`. `test_set` maps
    dataset -> `PROTOCOL/SOURCE` where the images scored are known to be the standard test split of that name.

    Attributes:
        selection: Which of its seeds or checkpoints a paper chose; "all N seeds" where it chose none and says so.
        read_in: The page, table or file of the citation that the numbers were read in. Rows of the objmae paper have the
            number of its table instead.
        pretrained: What the model had learned from before, such as a backbone; None for nothing.
        clusters: How many segments the method was told to make: a number, or that of each image; None for its own slots.
        train_set: What it was trained on, if that is not the standard training split.
        resolution: HEIGHTxWIDTH that masks were scored at, if it is not the dataset's.
        average: Over what the metrics are averaged.
    """

    table: str
    method: str
    variant: str | None = None
    label: str | None = None
    citation: str
    quoted_in: str | None = None
    protocol: str = "not stated"
    definitions: dict[str, str] = {}
    std: Literal["sample", "population", "not stated"]
    seeds: Counted | None = None
    selection: str | None = None
    note: str | None = None
    dataset_notes: dict[str, str] = {}
    decimals: Literal[1, 2] = 1
    test_set: dict[str, str] = {}
    read_in: str | None = None
    pretrained: str | None = None
    clusters: Counted | Literal["true number"] | None = None
    train_set: str | None = None
    resolution: Annotated[str, Field(pattern=r"^[1-9]\d*x[1-9]\d*$")] | None = None
    average: Literal["images", "objects"] = "images"
    values: dict[str, dict[str, tuple[Mean, Annotated[Number, Field(ge=0)] | None]]]

    @property
    def selected(self) -> bool:
        """Whether the numbers are of chosen seeds or checkpoints only."""
        return self.selection is not None and _ALL.fullmatch(self.selection) is None

    @property
    def conditions(self) -> tuple[str, ...]:
        """In what the numbers differ, for readers, from those of a model trained on the standard split and nothing else."""
        told = (
            self.pretrained and f"pretrained: {self.pretrained}",
            "told the true number of segments of each image" if self.clusters == "true number" else None,
            self.train_set and f"trained on {self.train_set}",
            self.resolution and f"scored at {self.resolution}",
            "averaged over objects, not over images" if self.average == "objects" else None,
        )
        return tuple(filter(None, told))

    def check_names(
        self, where: str, datasets: Mapping[str, DatasetSpec], metrics: Mapping[str, MetricSpec]
    ) -> None:
        """Raise ValueError, with `where` the row stands, for an unknown name or a mean that its metric cannot have."""
        for dataset in (*self.values, *self.test_set, *self.dataset_notes):
            if dataset not in datasets:
                raise ValueError(f"{where}: {unknown_name('dataset', dataset, datasets)}")
        for metric in (*self.definitions, *(name for values in self.values.values() for name in values)):
            if metric not in metrics:
                raise ValueError(f"{where}: {unknown_name('metric', metric, metrics)}")
        for dataset, values in self.values.items():
            for metric, (mean, _) in values.items():
                if metrics[metric].is_outside(mean / 100 if metrics[metric].percent else mean):
                    raise ValueError(
                        f"{where}.values.{dataset}.{metric}: {mean:g} is outside of the metric's range"
                    )
        for dataset, place in self.test_set.items():
            protocols = datasets[dataset].protocols.items()
            places = [f"{protocol}/{source}" for protocol, rule in protocols for source in rule.sources]
            if place not in places:
                raise ValueError(f"{where}.test_set.{dataset}: {unknown_name('place', place, places)}")
