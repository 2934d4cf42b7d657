"""benchmarks.yaml, typed: datasets, methods and published numbers."""

from __future__ import annotations

from difflib import get_close_matches
from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from objbench.errors import RequestError, unknown_name
from objbench.registry import names
from objbench.spec.datasets import OWN_PROTOCOL, DatasetRef, DatasetSpec
from objbench.spec.metrics import MetricSpec
from objbench.spec.names import EXPECTED, is_name
from objbench.spec.nested import flatten
from objbench.spec.published import PublishedRow, Reference
from objbench.spec.settings import SHARED_KEYS, Recipe
from objbench.stored import Strict

MethodGroup = Literal["trivial", "slots", "boxes", "layers", "other"]
# How the methods of a group represent objects; listings show the groups in this order.
GROUPS: dict[MethodGroup, str] = {
    "trivial": "no learning",
    "slots": "a fixed number of equal slots share out the pixels",
    "boxes": "each cell of a grid may have a box with an object",
    "layers": "painted objects lie on each other and on a background",
    "other": "none of trivial, slots, boxes, layers, or its block does not say it",
}


class VariantSpec(Strict):
    """A method with named overrides: an ablation or a preset."""

    description: str
    config: dict[str, Any] = {}
    datasets: dict[str, dict[str, Any]] = {}


class MethodSpec(Strict):
    """A method and its hyper-parameters.

    Attributes:
        title: The name that papers print.
        summary: What it is, in a sentence.
        class_: `class` in the yaml: its `module:Class`. A plugin may register it with an entry point instead.
        citation: A key of `references`.
        group: How it represents objects: a key of `GROUPS`.
        masks: Alternative masks -> how they change the definition of every metric that is scored by them.
        config: Hyper-parameters for all datasets.
        datasets: Dataset -> what differs there. For others see `objbench.spec.resolve.settings_block`.
        variants: Named overrides.
        resources: What `--launcher slurm` and `ray` ask for a run, by the names of submitit or Ray.
    """

    title: str
    summary: str
    class_: str | None = Field(default=None, alias="class")
    citation: str | None = None
    group: MethodGroup = "other"
    masks: dict[str, str] = {}
    config: dict[str, Any] = {}
    datasets: dict[str, dict[str, Any]] = {}
    variants: dict[str, VariantSpec] = {}
    resources: dict[str, str | int | float] = {}

    @property
    def trivial(self) -> bool:
        """Whether it is a trivial baseline, which learns nothing."""
        return self.group == "trivial"


class Spec(Strict):
    """Everything benchmarks.yaml and its layers say."""

    references: dict[str, Reference] = {}
    recipe: dict[str, Any]
    metrics: dict[str, MetricSpec] = {}
    datasets: dict[str, DatasetSpec] = {}
    methods: dict[str, MethodSpec] = {}
    published: list[PublishedRow] = []

    @field_validator("methods")
    @classmethod
    def _only_declared_keys(cls, methods: dict[str, MethodSpec]) -> dict[str, MethodSpec]:
        for name, method in methods.items():
            shared = method.config
            blocks = [(f"datasets.{d}", block) for d, block in method.datasets.items()]
            for v, variant in method.variants.items():
                blocks.append((f"variants.{v}.config", variant.config))
                blocks += [(f"variants.{v}.datasets.{d}", block) for d, block in variant.datasets.items()]
            for where, block in blocks:
                known = set(flatten(shared)) | SHARED_KEYS
                for key in flatten(block):
                    if key not in known:
                        raise ValueError(f"methods.{name}.{where}: {unknown_name('key', key, known)}")
        return methods

    @field_validator("recipe")
    @classmethod
    def _only_recipe_keys(cls, recipe: dict[str, Any]) -> dict[str, Any]:
        for key in recipe:
            if key not in Recipe.model_fields:
                raise ValueError(f"recipe: {unknown_name('key', key, Recipe.model_fields)}")
        return recipe

    @model_validator(mode="after")
    def _names_can_name_folders(self) -> Spec:
        blocks = {"datasets": [*self.datasets], "methods": [*self.methods]}
        for name, dataset in self.datasets.items():
            blocks |= {
                f"datasets.{name}.protocols": [*dataset.protocols],
                f"datasets.{name}.sources": [*dataset.sources],
            }
        blocks |= {f"methods.{name}.variants": [*method.variants] for name, method in self.methods.items()}
        for where, names_there in blocks.items():
            for name in names_there:
                if not is_name(name):
                    raise ValueError(f"{where}: '{name}' cannot name a folder of results: {EXPECTED}")
        return self

    @model_validator(mode="after")
    def _names_exist(self) -> Spec:
        for name, dataset in self.datasets.items():
            if name in dataset.also_test:
                raise ValueError(
                    f"datasets.{name}.also_test: {name} is tested on itself anyway; leave it out"
                )
            named = [("also_test", other) for other in dataset.also_test]
            if dataset.settings_like is not None:
                named.append(("settings_like", dataset.settings_like))
            for key, other in named:
                if other not in self.datasets:
                    raise ValueError(
                        f"datasets.{name}.{key}: {unknown_name('dataset', other, self.datasets)}"
                    )
        for name, method in self.methods.items():
            for known in method.datasets:  # may name datasets to come, but not one by a slip of the hand
                if known not in self.datasets and get_close_matches(known, self.datasets, cutoff=0.85):
                    raise ValueError(
                        f"methods.{name}.datasets: {unknown_name('dataset', known, self.datasets)}"
                    )
        return self

    @model_validator(mode="after")
    def _published_names_exist(self) -> Spec:
        for i, row in enumerate(self.published):
            row.check_names(f"published.{i}", self.datasets, self.all_metrics())
        return self

    @model_validator(mode="after")
    def _references_exist(self) -> Spec:
        rows = list(enumerate(self.published))
        cited = [(key, f"published.{i}") for i, row in rows for key in (row.citation, row.quoted_in)]
        cited += [(method.citation, f"methods.{name}.citation") for name, method in self.methods.items()]
        cited += [
            (key, f"datasets.{name}.citation") for name, of in self.datasets.items() for key in of.citation
        ]
        for key, where in cited:
            if key is not None and key not in self.references:
                raise ValueError(f"{where}: {unknown_name('reference', key, self.references)}")
        return self

    def dataset(self, reference: str) -> DatasetRef:
        """The dataset and protocol that `DATASET[@PROTOCOL]` names."""
        name, at, protocol = str(reference).partition("@")  # anything, in Python
        if name not in self.datasets:
            raise unknown_name("dataset", name, self.datasets)
        spec = self.datasets[name]
        if at and protocol not in spec.protocols:
            raise unknown_name(f"protocol of {name}", protocol, spec.protocols)
        return DatasetRef(
            name, protocol or spec.default_protocol, spec.under(protocol or spec.default_protocol)
        )

    def training_place(self, text: str) -> str:
        """The `DATASET@PROTOCOL/SOURCE` with a train split that `DATASET[@PROTOCOL]/SOURCE` names.

        Raises:
            RequestError: It names none.

        >>> from objbench.spec.load import load_spec
        >>> load_spec().training_place("clevrtex/official")
        'clevrtex@standard/official'
        """
        reference, _, source = text.partition("/")
        if not reference or not source:
            raise RequestError("expected DATASET[@PROTOCOL]/SOURCE, such as clevrtex/official")
        dataset = self.dataset(reference)
        if "train" not in dataset.rule.sources[dataset.source(source)]:
            raise RequestError(f"{dataset} has no train split in {source}")
        return dataset.place(source)

    def method_class(self, name: str) -> str:
        """The `module:Class` of the method `name`: as its block says, or as a plugin registers it.

        Raises:
            RequestError: There is no such method, or nothing says its class.
        """
        found = self.method(name).class_ or names("methods").get(name)
        if found is None:
            raise RequestError(
                f"method '{name}' has a block but no class: say it with methods.{name}.class (module:Class), "
                "or install the package that registers it"
            )
        return found

    def method(self, name: str) -> MethodSpec:
        """The block of the method `name` (without variant)."""
        if name not in self.methods:
            raise unknown_name("method", name, self.methods)
        return self.methods[name]

    def method_title(self, method: str, *what: str | None) -> str:
        """The name that tables print for a method, with its variant and whatever else tells it apart in brackets.

        A name that no layer describes, such as that of predictions made elsewhere, is printed as it is.
        """
        known = self.methods.get(method)
        told = ", ".join(word.replace("_", " ") for word in what if word)
        return (known.title if known else method) + (f" ({told})" if told else "")

    def dataset_title(self, name: str, *what: str | None) -> str:
        """The name that tables print for a dataset, with its protocol and whatever else tells it apart in brackets."""
        known = self.datasets.get(name)
        told = ", ".join(filter(None, what))
        return (known.short or known.title if known else name) + (f" ({told})" if told else "")

    def place_title(self, place: str) -> str:
        """The name that tables and figures print for `DATASET@PROTOCOL/SOURCE`: `ClevrTex (generated)`."""
        reference, _, source = place.partition("/")
        dataset, _, protocol = reference.partition("@")
        return self.title_under(dataset, protocol, source)

    def title_under(self, dataset: str, protocol: str, *what: str) -> str:
        """`dataset_title` with the protocol, where that is not the default one."""
        usual = protocol == self.default_protocol(dataset)
        return self.dataset_title(dataset, None if usual else protocol, *what)

    def tested_by(self, dataset: str) -> list[str]:
        """The datasets whose runs are also tested on `dataset`."""
        return [name for name, block in self.datasets.items() if dataset in block.also_test]

    def default_protocol(self, dataset: str) -> str:
        """The default protocol of a dataset; of one that no layer describes, that of all datasets of one's own."""
        known = self.datasets.get(dataset)
        return known.default_protocol if known is not None else OWN_PROTOCOL

    def metric(self, name: str) -> MetricSpec:
        """What `metrics:` says of a metric, or the neutral defaults where it says nothing."""
        return self.metrics.get(name) or MetricSpec(title=name)

    def directed_metric(self, name: str) -> MetricSpec:
        """The metric `name`, by which something is to be chosen or counted.

        Raises:
            RequestError: There is no such metric, it is a cost, or nothing says which of its values are better.
        """
        known = self.all_metrics()
        if name not in known:
            raise unknown_name("metric", name, known)
        if known[name].cost:
            raise RequestError(
                f"{name} is a cost, which tells of a device rather than of a method; choose another metric"
            )
        if known[name].better is None:
            raise RequestError(
                f"{name}: no layer of benchmarks.yaml says whether higher or lower values are better; "
                f"metrics.{name}.better says it"
            )
        return known[name]

    def all_metrics(self) -> dict[str, MetricSpec]:
        """Every metric that has a block or is registered, in the order of the blocks."""
        return {name: self.metric(name) for name in (*self.metrics, *names("metrics"))}

    def columns(self) -> dict[str, MetricSpec]:
        """The metrics that tables have a column for by default."""
        return {name: metric for name, metric in self.metrics.items() if metric.column}
