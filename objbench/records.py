"""The record of a run: result.json, typed and versioned."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    TypeAdapter,
    ValidationError,
    model_serializer,
    model_validator,
)

from objbench.errors import ObjbenchError
from objbench.files import write_atomically
from objbench.stored import Strict, first_fault

RECORD = "result.json"
# The keys of result.json in the order of version 1; an external record has null where it knows nothing.
_KEYS = (
    "version", "kind", "dataset", "protocol", "source", "fingerprint", "n_train", "method", "variant", "overrides",
    "seed", "config_hash", "code_version", "torch_version", "device", "date", "steps", "train_seconds", "wall_seconds",
    "images_per_second", "peak_memory_bytes", "parameters", "metrics", "scored",
)  # fmt: skip


class MeanStd(Strict):
    """Mean and sample standard deviation over the images of a split, as fractions.

    `n` is given where the metric is undefined for some images: over how many the mean was taken. `interval` is the
    95 % bootstrap confidence interval of the mean over images (`objbench.metrics.bootstrap`), in records.
    """

    model_config = ConfigDict(ser_json_inf_nan="constants")

    mean: float
    std: float | None
    n: int | None = None
    interval: tuple[float, float] | None = None

    @model_serializer(mode="wrap")
    def _without_what_is_not_given(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        optional = ("n", "interval")
        return {
            key: value for key, value in handler(self).items() if key not in optional or value is not None
        }


class Scores(BaseModel):
    """The scores on one prepared split: `n_images`, and one MeanStd per metric name."""

    model_config = ConfigDict(extra="allow", frozen=True)
    __pydantic_extra__: dict[str, MeanStd]

    n_images: int

    @property
    def values(self) -> dict[str, MeanStd]:
        """The scores by metric name."""
        return self.__pydantic_extra__


class Scored(Strict):
    """What scores were measured on, and by which definition of the metrics: equal where they may be compared.

    Attributes:
        standard: Whether it is the whole standard split of the protocol.
        generator: Version, seed and sizes of generated data, None for an upstream release.
        height: Pixels of the true masks that predictions were compared with; `width` likewise.
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
        return hash(tuple(self.names.values()))

    @property
    def names(self) -> dict[str, str]:
        """The fields that are names, by field: all but flags, sizes and the generator."""
        return {name: value for name, value in self if isinstance(value, str)}

    @property
    def place(self) -> str:
        """`DATASET@PROTOCOL/SOURCE`."""
        return f"{self.dataset}@{self.protocol}/{self.source}"


class Trained(Strict):
    """How the method of a run was trained, as far as it tells two trainings of one method apart."""

    n_train: int = Field(title="training scenes")
    steps: int = Field(title="steps")
    config_hash: str = Field(title="configuration")


class Record(Strict):
    """Scores of one method and seed, with everything needed to judge them: a `Run` or `External` scores."""

    version: Literal[1] = 1
    kind: Literal["run", "external"]
    dataset: str
    protocol: str
    source: str
    method: str
    variant: str | None = None
    overrides: dict[str, Any] = {}
    seed: int
    code_version: str
    torch_version: str
    device: str
    date: str
    metrics: dict[str, Scores]  # "test", or the id of an also_test dataset
    scored: dict[str, Scored]  # the same keys

    @model_validator(mode="before")
    @classmethod
    def _without_unknown(cls, data: Any) -> Any:
        """Drop the nulls of keys that this kind of record has no field for."""
        if not isinstance(data, dict):
            return data
        return {
            key: value
            for key, value in data.items()
            if value is not None or key in cls.model_fields or key not in _KEYS
        }

    @model_serializer(mode="wrap")
    def _in_the_order_of_the_file(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        values: dict[str, Any] = handler(self)
        return {key: values.get(key) for key in _KEYS} | values

    @property
    def dataset_ref(self) -> str:
        """`DATASET@PROTOCOL`."""
        return f"{self.dataset}@{self.protocol}"

    @property
    def place(self) -> str:
        """`DATASET@PROTOCOL/SOURCE`: what a run was trained on."""
        return f"{self.dataset_ref}/{self.source}"

    @property
    def method_label(self) -> str:
        """`METHOD[:VARIANT]`."""
        return f"{self.method}:{self.variant}" if self.variant else self.method

    def with_scores(self, key: str, scores: Scores, scored: Scored) -> Self:
        """The same record with these scores under `key`, in place of those that stood there."""
        update = {"metrics": self.metrics | {key: scores}, "scored": self.scored | {key: scored}}
        return self.model_copy(update=update)

    def save(self, folder: Path) -> None:
        """Write result.json into `folder`, whole or not at all."""
        write_atomically(folder / RECORD, self.model_dump_json(indent=1) + "\n")


class Run(Record, Trained):
    """One run: method x dataset x seed, with everything needed to repeat it.

    Attributes:
        fingerprint: Of the train split.
        wall_seconds: With everything, over all processes that worked on the run.
        images_per_second: Training images through the model, None where nothing is trained.
    """

    kind: Literal["run"] = "run"
    fingerprint: str
    train_seconds: float
    wall_seconds: float
    images_per_second: float | None
    peak_memory_bytes: int
    parameters: int

    @property
    def trained(self) -> Trained:
        """How it was trained."""
        return Trained(**{name: getattr(self, name) for name in Trained.model_fields})


class External(Record):
    """Scores of predictions made outside objbench; `method` is the name that they were given."""

    kind: Literal["external"] = "external"


_READER: TypeAdapter[Run | External] = TypeAdapter(Annotated[Run | External, Field(discriminator="kind")])


def read_record(path: Path) -> Run | External:
    """The record in `path` (a result.json or the folder of a run); ObjbenchError if it is none."""
    path = path / RECORD if path.is_dir() else path
    try:
        return _READER.validate_json(path.read_bytes())
    except FileNotFoundError:
        raise ObjbenchError(f"{path}: no such record; is the run finished?") from None
    except ValidationError as error:
        fault = first_fault(error, "a record", ignored=1)  # the location begins with the kind of record
        raise ObjbenchError(
            f"{path}: {fault}; run that seed, or evaluate those predictions, again with --fresh"
        ) from None
