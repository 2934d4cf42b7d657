"""benchmarks.yaml, typed: datasets, protocols, methods and published numbers."""

from __future__ import annotations

from difflib import get_close_matches
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from objbench.errors import unknown_name
from objbench.nested import dotted

SPLITS = ("train", "val", "test")
Mean = Annotated[float, "percent as printed; hours or iterations in a cost table"]


class Strict(BaseModel):
    """A block of benchmarks.yaml: unknown keys are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Reference(Strict):
    """A publication: numbers and methods cite it by its key."""

    text: str
    url: str | None = None


class SplitRule(Strict):
    """Which records of a source make a split: Python slice bounds, negative ones from the end.

    Where the protocol selects scenes, the bounds count those that qualify among the `records` of the file
    ([first, stop), null = to its end); `about` how many these are where only the file's end decides it.
    """

    file: str = "data"
    records: tuple[int, int | None] = (0, None)
    start: int = 0
    stop: int | None = None
    in_train: bool = False
    about: int | None = None

    @property
    def size(self) -> int | None:
        """The number of scenes, if the bounds alone say it."""
        return slice_size(self.start, self.stop)


def slice_size(start: int, stop: int | None) -> int | None:
    """The length of a long enough list's [start:stop], None where it depends on the list's own.

    >>> slice_size(-640, -320), slice_size(-320, None), slice_size(0, -640)
    (320, 320, None)
    """
    if stop is None:
        return -start if start < 0 else None
    return stop - start if (start < 0) == (stop < 0) else None


class Select(Strict):
    """Which scenes of a source qualify. Exactly one of the two is given; the background is no object.

    max_objects  at most so many objects in the scene, by `visibility`: before the crop
    max_visible  at most so many objects with a pixel after the crop, before the resize
    """

    max_objects: int | None = Field(default=None, gt=0)
    max_visible: int | None = Field(default=None, gt=0)


class Transform(Strict):
    """From the release's resolution to the protocol's: Pillow's crop, then Pillow's resize with these filters.

    crop  [left, top, right, bottom] in pixels, the last two exclusive; null leaves it out
    image, mask  null: what is cropped has the right size and is not resized
    """

    crop: tuple[int, int, int, int] | None = None
    image: Literal["nearest", "bilinear", "bicubic"] | None = None
    mask: Literal["nearest"] | None = None


class RemoteFile(Strict):
    """Where a file of a release can be downloaded: see `objbench.data.download.Remote`."""

    urls: tuple[str, ...] = Field(min_length=1)
    bytes: int | None = Field(default=None, gt=0)
    sha256: str | None = None
    md5: str | None = None
    member: str | None = None


class Download(Strict):
    """The files of a release that can be downloaded, by name; sources of one release share a folder."""

    folder: str
    files: dict[str, RemoteFile]


class SourceSpec(Strict):
    """Where scenes come from: the files a release consists of, and what is known of it."""

    title: str
    licence: str
    url: str | None = None
    download: Download | None = None
    files: dict[str, list[str]] = {}  # role -> accepted file names, best known first
    records: dict[
        str, int | None
    ] = {}  # role -> records of the complete release; null: as many as the file has
    entities: list[
        int
    ] = []  # planes of the stored mask stack, background included: these numbers are accepted
    factors: dict[str, str] = {}
    order: list[str] = ["train", "test", "val"]  # in which an incomplete release is cut
    errata: list[str] = []


class ProtocolSpec(Strict):
    """The named rule that makes a benchmark set out of a source.

    select   source -> which of its scenes qualify; all of a source that is not named
    height, width  in pixels, where they are not the dataset's;  options: of a generator
    """

    description: str
    used_by: str | None = None
    sources: dict[str, dict[str, SplitRule]]
    select: dict[str, Select] = {}
    transform: Transform | None = None
    height: int | None = Field(default=None, gt=0)
    width: int | None = Field(default=None, gt=0)
    options: dict[str, int | float | str] = {}


class DatasetSpec(Strict):
    """One benchmark dataset: its geometry, its sources and its protocols (the first is the default)."""

    title: str
    description: str
    slots: int = Field(gt=0)
    height: int = Field(gt=0)
    width: int = Field(gt=0)
    scenes_per_shard: int = Field(gt=0)
    citation: list[str]
    default_source: str
    also_test: list[str] = []
    errata: list[str] = []
    sources: dict[str, SourceSpec]
    protocols: dict[str, ProtocolSpec] = Field(min_length=1)

    @model_validator(mode="after")
    def _names_exist(self) -> DatasetSpec:
        if self.default_source not in self.sources:
            raise ValueError(f"default_source: {unknown_name('source', self.default_source, self.sources)}")
        for name, protocol in self.protocols.items():
            for source, rules in protocol.sources.items():
                where = f"protocols.{name}.sources.{source}"
                if source not in self.sources:
                    raise ValueError(f"{where}: {unknown_name('source', source, self.sources)}")
                files = self.sources[source].files or ["data"]
                for split, rule in rules.items():
                    if split not in SPLITS:
                        raise ValueError(f"{where}: {unknown_name('split', split, SPLITS)}")
                    if rule.file not in files:
                        raise ValueError(f"{where}.{split}: {unknown_name('file', rule.file, files)}")
                    if source in protocol.select and rule.size is None and rule.about is None:
                        raise ValueError(f"{where}.{split}: say with 'about' how many scenes this is")
            for source, select in protocol.select.items():
                where = f"protocols.{name}.select"
                if source not in protocol.sources:
                    raise ValueError(f"{where}: {unknown_name('source', source, protocol.sources)}")
                if (select.max_objects is None) == (select.max_visible is None):
                    raise ValueError(f"{where}.{source}: give exactly one of max_objects and max_visible")
        return self

    @property
    def default_protocol(self) -> str:
        """The protocol that may be left out: the first."""
        return next(iter(self.protocols))

    def under(self, protocol: str) -> DatasetSpec:
        """The same with the height and width of a protocol."""
        rule = self.protocols[protocol]
        return self.model_copy(
            update={"height": rule.height or self.height, "width": rule.width or self.width}
        )

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(channels, height, width)."""
        return (3, self.height, self.width)


class VariantSpec(Strict):
    """A method with named overrides: an ablation or a preset."""

    description: str
    config: dict[str, Any] = {}
    datasets: dict[str, dict[str, Any]] = {}


class MethodSpec(Strict):
    """A method's hyper-parameters: shared ones, those per dataset (empty: any dataset will do), variants."""

    title: str
    summary: str
    citation: str | None = None
    trivial: bool = False
    config: dict[str, Any] = {}
    datasets: dict[str, dict[str, Any]] = {}
    variants: dict[str, VariantSpec] = {}


class PublishedRow(Strict):
    """Numbers from a paper, as printed (percent), with everything needed to judge them.

    `values` maps dataset -> metric -> [mean, std]; std is null where none is printed. `test_set` maps dataset ->
    `PROTOCOL/SOURCE` where the images scored are known to be the standard test split of that name.
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
    seeds: int | None = None
    selection: str | None = None
    note: str | None = None
    dataset_notes: dict[str, str] = {}
    decimals: Literal[1, 2] = 1
    test_set: dict[str, str] = {}
    values: dict[str, dict[str, tuple[Mean, float | None]]]


class Recipe(BaseModel):
    """The keys of `recipe` that every method has; a method's block may add its own.

    Exactly one of `steps` and `epochs` says how long training lasts; both null: the method's stages say.
    """

    model_config = ConfigDict(extra="allow", frozen=True)

    steps: int | None = Field(gt=0)
    epochs: int | None = Field(gt=0)
    nominal_epochs: int = Field(gt=0)
    batch_size: int = Field(gt=0)
    clip_norm: float | None = Field(gt=0)
    precision: Literal["fp32", "bf16"]
    stepper: Literal["auto", "plain"]
    checkpoint_steps: int = Field(gt=0)
    log_steps: int = Field(gt=0)
    evaluations: int = Field(ge=0)
    evaluation_batch_size: int = Field(gt=0)
    evaluation_images: int | None = Field(gt=0)


class Spec(Strict):
    """Everything benchmarks.yaml and its layers say."""

    references: dict[str, Reference] = {}
    recipe: dict[str, Any]
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
                known = set(dotted(shared)) | {f"recipe.{key}" for key in Recipe.model_fields}
                for key in dotted(block):
                    if key not in known:
                        raise ValueError(f"{name}.{where}: {unknown_name('key', key, known)}")
        return methods

    @field_validator("recipe")
    @classmethod
    def _only_recipe_keys(cls, recipe: dict[str, Any]) -> dict[str, Any]:
        for key in recipe:
            if key not in Recipe.model_fields:
                raise ValueError(f"recipe: {unknown_name('key', key, Recipe.model_fields)}")
        return recipe

    @model_validator(mode="after")
    def _names_exist(self) -> Spec:
        for name, dataset in self.datasets.items():
            for other in dataset.also_test:
                if other not in self.datasets:
                    raise ValueError(
                        f"datasets.{name}.also_test: {unknown_name('dataset', other, self.datasets)}"
                    )
        for name, method in self.methods.items():
            for known in method.datasets:  # may name datasets to come, but not one by a slip of the hand
                if known not in self.datasets and get_close_matches(known, self.datasets, cutoff=0.85):
                    raise ValueError(
                        f"methods.{name}.datasets: {unknown_name('dataset', known, self.datasets)}"
                    )
        return self

    @model_validator(mode="after")
    def _references_exist(self) -> Spec:
        for row in self.published:
            for key in filter(None, (row.citation, row.quoted_in)):
                if key not in self.references:
                    raise ValueError(str(unknown_name("reference", key, self.references)))
        return self

    def dataset(self, reference: str) -> DatasetRef:
        """The dataset and protocol that `DATASET[@PROTOCOL]` names."""
        name, _, protocol = reference.partition("@")
        if name not in self.datasets:
            raise unknown_name("dataset", name, self.datasets)
        spec = self.datasets[name]
        if protocol and protocol not in spec.protocols:
            raise unknown_name(f"protocol of {name}", protocol, spec.protocols)
        return DatasetRef(
            name, protocol or spec.default_protocol, spec.under(protocol or spec.default_protocol)
        )

    def method(self, name: str) -> MethodSpec:
        """The block of the method `name` (without variant)."""
        if name not in self.methods:
            raise unknown_name("method", name, self.methods)
        return self.methods[name]


class DatasetRef:
    """A dataset under one of its protocols.

    `str()` gives `DATASET`, or `DATASET@PROTOCOL` where it is not the default protocol.
    """

    def __init__(self, name: str, protocol: str, spec: DatasetSpec) -> None:
        self.name, self.protocol, self.spec = name, protocol, spec

    def __str__(self) -> str:
        return self.name if self.protocol == self.spec.default_protocol else f"{self.name}@{self.protocol}"

    @property
    def rule(self) -> ProtocolSpec:
        """The protocol's block."""
        return self.spec.protocols[self.protocol]

    @property
    def sources(self) -> list[str]:
        """The sources that the protocol is defined for."""
        return list(self.rule.sources)

    def source(self, name: str | None) -> str:
        """`name` if this protocol has such a source; without a name the default or the only one."""
        if name is None:
            default = self.spec.default_source
            return default if default in self.sources else self.sources[0]
        if name not in self.sources:
            raise unknown_name(f"source of {self}", name, self.sources)
        return name
