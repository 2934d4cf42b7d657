"""Scores as records hold them: of masks, of reconstructions, of probes; and what they were measured on."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import Annotated, Any, Literal, NamedTuple, Self, get_args

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    model_serializer,
    model_validator,
)

from objbench.registry import DEFAULT_DEFINITION
from objbench.stored import Strict

ProbeName = Literal["linear", "mlp", "gradient_boosting"]
Matching = Literal["masks", "loss"]
Measure = Literal["accuracy", "r2"]
LEVEL = 0.95  # of the intervals of scores, and of those that reports compute from them
PROBES: tuple[ProbeName, ...] = get_args(ProbeName)
MATCHINGS: tuple[Matching, ...] = get_args(Matching)


def probe_name(probe: ProbeName, matching: Matching) -> str:
    """The name of a probe in records: PROBE, or PROBE+loss.

    >>> probe_name("mlp", "loss")
    'mlp+loss'
    """
    return probe if matching == "masks" else f"{probe}+{matching}"


def mean_and_std(values: Sequence[float]) -> tuple[float, float | None]:
    """The mean and the sample standard deviation, each rounded once; NaN and None where there is none that a float holds.

    >>> mean_and_std([1.0, 3.0]), mean_and_std([1.0]), mean_and_std([1e308, 1e308])
    ((2.0, 1.4142135623730951), (1.0, None), (nan, None))
    """
    mean = _sum(values) / len(values)
    if len(values) == 1 or not math.isfinite(mean):
        return mean, None
    variance = _sum([(value - mean) * (value - mean) for value in values]) / (len(values) - 1)
    return mean, math.sqrt(variance) if math.isfinite(variance) else None


def _sum(values: Sequence[float]) -> float:
    try:
        return math.fsum(values)
    except (OverflowError, ValueError):  # it is beyond all floats, or of both infinities
        return math.nan


def _in_order(interval: tuple[float, float]) -> tuple[float, float]:
    low, high = interval
    if low > high:
        raise ValueError(f"expected low and high, found {low} and {high}")
    return interval


Interval = Annotated[tuple[float, float], AfterValidator(_in_order)]


class MeanStd(Strict):
    """Mean and sample standard deviation over the images of a split, as fractions.

    Attributes:
        mean: Infinite if the metric is for an image, as PSNR for an exact reconstruction.
        std: None for one image and for an infinite mean.
        n: Over how many images the mean is taken, if the metric is undefined for some of them.
        interval: 95 % bootstrap confidence interval of the mean over images (`objbench.metrics.bootstrap`).
            None for an infinite mean.
    """

    mean: float
    std: Annotated[float, Field(ge=0)] | None
    n: Annotated[int, Field(ge=1)] | None = None
    interval: Interval | None = None

    @model_serializer(mode="wrap")
    def _without_missing(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return _without(handler(self), "n", "interval")


def _without(found: dict[str, Any], *optional: str) -> dict[str, Any]:
    """The fields but for those of `optional` that are None."""
    return {key: value for key, value in found.items() if key not in optional or value is not None}


class Scores(BaseModel):
    """The scores on one prepared split: the number of images, and a MeanStd per metric name.

    Attributes:
        slots: The number of slots that the run was evaluated with, if it is not the number that it was trained with.
        masks: The name of the masks that were scored, if they are not those that the method segments with.
        crowded: How many images have more objects than the prediction has planes; None if no image has, or if the
            number of planes is not known.
        repeated: How many of the images the training split has, too, equal in every pixel; None if it has none of them,
            or nobody counted.
    """

    model_config = ConfigDict(extra="allow", frozen=True, ser_json_inf_nan="constants")
    __pydantic_extra__: dict[str, MeanStd]

    n_images: int = Field(ge=1)
    slots: int | None = None
    masks: str | None = None
    crowded: int | None = None
    repeated: int | None = None

    @model_validator(mode="after")
    def _of_so_many_images(self) -> Self:
        for name, value in self.values.items():
            if value.n is not None and value.n > self.n_images:
                raise ValueError(f"{name} is a mean over {value.n} of {self.n_images} images")
        return self

    @model_serializer(mode="wrap")
    def _without_missing(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return _without(handler(self), "slots", "masks", "crowded", "repeated")

    @property
    def values(self) -> dict[str, MeanStd]:
        """The scores by metric name."""
        return self.__pydantic_extra__


class Scored(Strict):
    """What scores were measured on, and by which definition of the metrics.

    Attributes:
        fingerprint: Of the split.
        standard: Whether it is the whole standard split of the protocol.
        generator: Version, seed and sizes of generated data; None for an upstream release.
        height: Of the true masks, in pixels.
        width: Of the true masks, in pixels.
        definition: Which evaluator's definition of the metrics was used.
    """

    dataset: str
    protocol: str
    source: str
    split: str
    fingerprint: str
    standard: bool = Field(title="standard split")
    generator: dict[str, int] | None
    height: int
    width: int
    definition: str = Field(title="definition of metrics")

    def __hash__(self) -> int:
        return hash((self.dataset, self.fingerprint, self.definition))  # the generator, a dict, has no hash

    @property
    def names(self) -> dict[str, str]:
        """The values of all fields that hold a name: no flags, no sizes, no generator."""
        return {name: value for name, value in self if isinstance(value, str)}

    @property
    def place(self) -> str:
        """`DATASET@PROTOCOL/SOURCE`."""
        return f"{self.dataset}@{self.protocol}/{self.source}"


_KEY = re.compile(r"([^#]*?)(?:\+slots=(\d+))?(?:\+masks=([^#]*))?(?:#(.*))?", re.DOTALL)


class ScoreKey(NamedTuple):
    """The key of scores in a record, as `WHERE[+slots=N][+masks=NAME][#DEFINITION]`.

    Attributes:
        where: "test" for the test split of the training's set, the id of an also_test set of its source, or
            `DATASET[@PROTOCOL]/SOURCE[:SPLIT]`.
        slots: The number of slots, if it is not that of the training.
        masks: The name of the masks, if they are not those that the method segments with.
        definition: The definition of the metrics, left out if it is the default one.

    >>> ScoreKey("clevrtex_ood", slots=7, masks="composited", definition="emorl").text
    'clevrtex_ood+slots=7+masks=composited#emorl'
    >>> ScoreKey.parse("clevrtex@paper/official:val+slots=7")
    ScoreKey(where='clevrtex@paper/official:val', slots=7, masks=None, definition='clevrtex')
    """

    where: str
    slots: int | None = None
    masks: str | None = None
    definition: str = DEFAULT_DEFINITION

    @classmethod
    def parse(cls, text: str) -> ScoreKey:
        """The key that a record has."""
        found = _KEY.fullmatch(text)
        assert found is not None, "it takes any text"
        where, slots, masks, definition = found.groups()
        return cls(where, int(slots) if slots else None, masks, definition or DEFAULT_DEFINITION)

    @property
    def text(self) -> str:
        """The key as records have it."""
        slots = "" if self.slots is None else f"+slots={self.slots}"
        masks = "" if self.masks is None else f"+masks={self.masks}"
        definition = "" if self.definition == DEFAULT_DEFINITION else f"#{self.definition}"
        return f"{self.where}{slots}{masks}{definition}"

    @property
    def reading(self) -> str:
        """The key without the definition, on which label maps do not depend."""
        return self._replace(definition=DEFAULT_DEFINITION).text

    @property
    def samples(self) -> str:
        """The key of the samples, which hold the label maps by other masks too."""
        return self._replace(masks=None, definition=DEFAULT_DEFINITION).text


class FactorScore(Strict):
    """How well one factor of the objects, or all of a kind in the mean, is predicted from slots.

    Attributes:
        measure: "accuracy" in [0,1], or "r2", at most 1.
        score: Of the probe; None if the factor does not vary among the test objects.
        interval: Its 95 % bootstrap interval over images.
        majority: The score of the most frequent class, or of the mean, of the training objects.
        masks: The score of the same probe on colour and place of the predicted masks alone; None for trivial methods.
        untrained: The score of the same probe on the slots of the untrained model; None for methods without training.
    """

    measure: Measure
    score: float | None
    interval: Interval | None = None
    majority: float | None
    masks: float | None = None
    untrained: float | None = None


class ProbeScores(Strict):
    """What slots know of their objects, by one kind of probe: `objbench.probe`.

    Attributes:
        probe: linear, mlp or gradient_boosting.
        matching: How slots were paired with objects: by overlap of masks, or by the loss of the probe.
        n_train: Scenes that the probe learned from.
        train_fingerprint: Of the split that they are from.
        n_images: Test scenes.
        n_objects: Visible objects in them.
        missed: The share of these without a slot, for which the majority is predicted.
        factors: Factor -> its score.
        means: "accuracy" and "r2" -> the mean over the factors of that measure.
        constant: Factors that do not vary among the training objects, which cannot be probed.
        disentanglement: Of the code, in [0,1]; None if there is one factor.
        completeness: Of the code, in [0,1].
        scored: What the test scenes are.
    """

    probe: ProbeName
    matching: Matching
    n_train: int
    train_fingerprint: str
    n_images: int
    n_objects: int
    missed: float
    factors: dict[str, FactorScore]
    means: dict[str, FactorScore]
    constant: list[str] = []
    disentanglement: float | None = None
    completeness: float | None = None
    scored: Scored
