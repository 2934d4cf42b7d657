"""The dataset blocks of benchmarks.yaml, typed: protocols, splits, and what a dataset is under a protocol."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from objbench.errors import unknown_name
from objbench.spec.limits import MOST_PIXELS
from objbench.spec.numbers import Counted, Whole
from objbench.spec.sources import SourceSpec
from objbench.stored import Strict

GENERATED = "generated"  # the source whose options name a dataset's generator
TEST = "test"  # the split that methods are scored on; in a record, the key of those scores
OWN_PROTOCOL = "standard"  # of every dataset of one's own
SPLITS = ("train", "val", TEST)
ALL_RECORDS = (0, None)
FactorKind = Literal["categorical", "numeric"]


class SplitRule(Strict):
    """Which records of a source make a split: Python slice bounds, negative ones from the end.

    Attributes:
        file: The role of the file.
        records: Where the protocol selects scenes: the records [first, stop) to select from; null: to the end.
        start: The first one. Where the protocol selects scenes, bounds count qualifying scenes only.
        stop: The one after the last; null: to the end.
        in_train: Whether the records are also in the train split.
        about: About how many scenes this is, where only the file tells exactly.
    """

    file: str = "data"
    records: tuple[Whole, Whole | None] = ALL_RECORDS
    start: Whole = 0
    stop: Whole | None = None
    in_train: bool = False
    about: Counted | None = None

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

    Attributes:
        max_objects: At most so many objects in the scene, by `visibility`: before the crop.
        max_visible: At most so many objects with a pixel after the crop, before the resize.
    """

    max_objects: Counted | None = None
    max_visible: Counted | None = None


def _not_empty(crop: tuple[int, int, int, int]) -> tuple[int, int, int, int]:
    left, top, right, bottom = crop
    if not (0 <= left < right and 0 <= top < bottom):
        raise ValueError(
            f"expected [left, top, right, bottom] with 0 <= left < right and 0 <= top < bottom, found {[*crop]}"
        )
    return crop


class Transform(Strict):
    """From the release's resolution to the protocol's: Pillow's crop, then Pillow's resize with these filters.

    Attributes:
        crop: [left, top, right, bottom] in pixels, the last two exclusive; null: no crop.
        image: The filter for images; null: the crop has the right size and is not resized.
        mask: The filter for masks; null as for images.
    """

    crop: Annotated[tuple[Whole, Whole, Whole, Whole], AfterValidator(_not_empty)] | None = None
    image: Literal["nearest", "bilinear", "bicubic"] | None = None
    mask: Literal["nearest"] | None = None


class ProtocolSpec(Strict):
    """The named rule that makes a benchmark set out of a source.

    Attributes:
        description: What the protocol is, for people.
        used_by: Which papers or code follow it.
        sources: Source -> split -> its records.
        select: Source -> which of its scenes qualify; all of a source that is not named.
        transform: From the release's resolution to the protocol's; None for generators.
        height: In pixels, if it is not the dataset's.
        width: In pixels, if it is not the dataset's.
        options: Of the generator; they replace those of the source's block.
    """

    description: str
    used_by: str | None = None
    sources: dict[str, dict[str, SplitRule]]
    select: dict[str, Select] = {}
    transform: Transform | None = None
    height: Counted | None = None
    width: Counted | None = None
    options: dict[str, int | float | str] = {}


class DatasetSpec(Strict):
    """One benchmark dataset: its geometry, its sources and its protocols (the first is the default).

    Attributes:
        short: The name in tables and figures, where `title` is too long for them.
        settings_like: The dataset whose settings a method takes here if it has none for this one.
        also_test: Test sets on which every run is scored too.
        probe: The factors of objects that `objbench probe` predicts unless others are asked for, and their kind. A factor
            that is not named is categorical if it is a string, else numeric.
    """

    title: str
    short: str | None = None
    description: str
    slots: Counted
    height: Counted
    width: Counted
    scenes_per_shard: Counted = 1000
    citation: list[str] = []
    default_source: str
    settings_like: str | None = None
    also_test: list[str] = []
    probe: dict[str, FactorKind] = {}
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

    @model_validator(mode="after")
    def _nothing_is_ignored(self) -> DatasetSpec:
        for name, protocol in self.protocols.items():
            plain = {
                source: rules for source, rules in protocol.sources.items() if source not in protocol.select
            }
            for source, rules in plain.items():
                for split, rule in rules.items():
                    if rule.records != ALL_RECORDS:
                        raise ValueError(
                            f"protocols.{name}.sources.{source}.{split}.records: only where the protocol selects scenes; "
                            "give start and stop"
                        )
            if protocol.options and GENERATED not in protocol.sources:
                raise ValueError(
                    f"protocols.{name}.options: they are those of a generator, and the protocol has no source '{GENERATED}'"
                )
        return self

    @model_validator(mode="after")
    def _can_be_read_again(self) -> DatasetSpec:
        for name in self.protocols:
            height, width = self.under(name).image_shape[1:]
            if height * width > MOST_PIXELS:
                raise ValueError(
                    f"protocols.{name}: images of {height}x{width} pixels, expected at most {MOST_PIXELS:,}"
                )
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

    def place(self, source: str) -> str:
        """`DATASET@PROTOCOL/SOURCE`."""
        return f"{self.name}@{self.protocol}/{source}"

    def source(self, name: str | None) -> str:
        """`name` if this protocol has such a source; without a name the default or the only one."""
        if name is None:
            default = self.spec.default_source
            return default if default in self.sources else self.sources[0]
        if name not in self.sources:
            raise unknown_name(f"source of {self}", name, self.sources)
        return name
