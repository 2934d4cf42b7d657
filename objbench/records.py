"""The record of a run: result.json, typed and versioned."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    SerializerFunctionWrapHandler,
    ValidationError,
    model_serializer,
    model_validator,
)

from objbench.errors import ObjbenchError
from objbench.files import write_atomically

RECORD = "result.json"
KNOWN_OF_A_RUN = (
    "fingerprint",
    "n_train",
    "config_hash",
    "steps",
    "train_seconds",
    "wall_seconds",
    "peak_memory_bytes",
    "parameters",
)


class MeanStd(BaseModel):
    """Mean and sample standard deviation over the images of a split, as fractions.

    `n` is given where the metric is undefined for some images: over how many the mean was taken. `interval` is the
    95 % bootstrap confidence interval of the mean over images (`objbench.metrics.bootstrap`), in records.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, ser_json_inf_nan="constants")

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


class Scored(BaseModel):
    """On what the scores of the same key were measured, and by which definition."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    dataset: str
    protocol: str
    source: str
    split: str
    fingerprint: str
    standard: bool
    generator: dict[str, int] | None
    height: int
    width: int
    definition: str


class Record(BaseModel):
    """One run: method x dataset x seed, with everything needed to judge and repeat it.

    Or, of kind "external", the scores of predictions made outside objbench: how they came about (`KNOWN_OF_A_RUN`)
    is None there, and `method` is the name that they were given.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    version: Literal[1] = 1
    kind: Literal["run", "external"] = "run"
    dataset: str
    protocol: str
    source: str
    fingerprint: str | None  # of the train split
    n_train: int | None
    method: str
    variant: str | None
    overrides: dict[str, Any]
    seed: int
    config_hash: str | None
    code_version: str
    torch_version: str
    device: str
    date: str
    steps: int | None
    train_seconds: float | None
    wall_seconds: float | None  # with everything, over all processes that worked on the run
    images_per_second: float | None  # training images through the model
    peak_memory_bytes: int | None
    parameters: int | None
    metrics: dict[str, Scores]  # "test", or the id of an also_test dataset
    scored: dict[str, Scored]  # the same keys

    @model_validator(mode="after")
    def _whole(self) -> Record:
        missing = [name for name in KNOWN_OF_A_RUN if getattr(self, name) is None]
        if self.kind == "run" and missing:
            raise ValueError(f"the record of a run must say {', '.join(missing)}")
        return self

    @property
    def dataset_ref(self) -> str:
        """`DATASET@PROTOCOL`."""
        return f"{self.dataset}@{self.protocol}"

    @property
    def method_label(self) -> str:
        """`METHOD[:VARIANT]`."""
        return f"{self.method}:{self.variant}" if self.variant else self.method

    def with_scores(self, key: str, scores: Scores, scored: Scored) -> Record:
        """The same record with these scores under `key`, in place of those that stood there."""
        update = {"metrics": self.metrics | {key: scores}, "scored": self.scored | {key: scored}}
        return self.model_copy(update=update)

    def save(self, folder: Path) -> None:
        """Write result.json into `folder`, whole or not at all."""
        write_atomically(folder / RECORD, self.model_dump_json(indent=1) + "\n")


def read_record(path: Path) -> Record:
    """The record in `path` (a result.json or the folder of a run); ObjbenchError if it is none."""
    path = path / RECORD if path.is_dir() else path
    try:
        return Record.model_validate_json(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ObjbenchError(f"{path}: no such record; is the run finished?") from None
    except UnicodeDecodeError as error:
        raise ObjbenchError(
            f"{path}: damaged ({error}); run that seed, or evaluate those predictions, again with --fresh"
        ) from None
    except ValidationError as error:
        first = error.errors()[0]
        if first["type"] == "json_invalid":
            raise ObjbenchError(
                f"{path}: damaged ({first['msg']}); run that seed, or evaluate those predictions, again with --fresh"
            ) from None
        place = ".".join(str(part) for part in first["loc"]) or "record"
        raise ObjbenchError(
            f"{path}: not a record of this version of objbench ({place}: {first['msg']}); "
            "run that seed, or evaluate those predictions, again with --fresh"
        ) from None
