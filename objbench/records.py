"""Records, stored as result.json: the scores of a run or of external predictions, typed and versioned."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import (
    Field,
    SerializerFunctionWrapHandler,
    TypeAdapter,
    model_serializer,
    model_validator,
)

from objbench.errors import ObjbenchError, RequestError
from objbench.files import write_atomically
from objbench.paths import refuse_special, walk
from objbench.scores import ProbeScores, Scored, Scores
from objbench.spec.datasets import TEST
from objbench.stored import Strict, read_typed

RECORD = "result.json"
# The keys of result.json that every run has, in their order. An external record has null for the keys that only a run has.
_KEYS = (
    "version", "kind", "dataset", "protocol", "source", "fingerprint", "n_train", "method", "variant", "overrides",
    "seed", "config_hash", "code_version", "torch_version", "device", "date", "steps", "train_seconds", "wall_seconds",
    "images_per_second", "peak_memory_bytes", "parameters", "metrics", "scored", "slots",
)  # fmt: skip
_ONLY_IF_SET = (
    "weights_sha256", "val_fingerprint", "processes", "implementation", "probes", "trained_on",
)  # fmt: skip


_THEN = ", then "


def in_turn(values: Iterable[str]) -> str:
    """Several versions or devices that worked on a record, each once, in order: the value of one field.

    >>> in_turn(["0.1", "0.2", "0.1"])
    '0.1, then 0.2'
    """
    return _THEN.join(dict.fromkeys(values))


def versions(value: str) -> list[str]:
    """The values that `in_turn` joined.

    >>> versions("0.1, then 0.2")
    ['0.1', '0.2']
    """
    return value.split(_THEN)


class Trained(Strict):
    """What tells two trainings of the same method on the same data apart.

    Attributes:
        slots: The number of slots, K.
        val_fingerprint: Of the val split whose scores guided the training; None if none did.
    """

    n_train: int = Field(ge=0, title="training scenes")
    steps: int = Field(ge=0, title="steps")
    config_hash: str = Field(title="configuration")
    slots: int = Field(ge=1, title="slots")
    val_fingerprint: str | None = Field(default=None, title="guided by the val split of fingerprint")


class Record(Strict):
    """The scores of one method and seed, with everything needed to judge them: a `Run` or `External`.

    Attributes:
        metrics: The text of a `ScoreKey` -> scores.
        scored: What each of these scores was measured on, under the same keys.
        probes: The `where` of a `ScoreKey` -> PROBE or PROBE+loss -> what slots know of their objects.
    """

    version: Literal[1] = 1
    kind: Literal["run", "external"]
    dataset: str
    protocol: str
    source: str
    method: str
    variant: str | None = None
    overrides: dict[str, Any] = {}
    seed: int = Field(ge=0)
    code_version: str
    torch_version: str
    device: str
    date: str
    metrics: dict[str, Scores]
    scored: dict[str, Scored]
    probes: dict[str, dict[str, ProbeScores]] | None = None

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
    def _in_file_order(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        values: dict[str, Any] = handler(self)
        for name in _ONLY_IF_SET:
            if values.get(name) is None:
                values.pop(name, None)
        return {key: values.get(key) for key in _KEYS} | values

    @property
    def dataset_ref(self) -> str:
        """`DATASET@PROTOCOL`."""
        return f"{self.dataset}@{self.protocol}"

    @property
    def place(self) -> str:
        """`DATASET@PROTOCOL/SOURCE`: for a run, what it was trained on."""
        return f"{self.dataset_ref}/{self.source}"

    @property
    def method_label(self) -> str:
        """`METHOD[:VARIANT]`."""
        return f"{self.method}:{self.variant}" if self.variant else self.method

    def with_scores(
        self, key: str, scores: Scores, scored: Scored, code_version: str, torch_version: str
    ) -> Self:
        """Return the record with these scores under `key`, which replace any others, and the versions that made them."""
        update = {
            "metrics": self.metrics | {key: scores},
            "scored": self.scored | {key: scored},
            "code_version": in_turn([*versions(self.code_version), code_version]),
            "torch_version": in_turn([*versions(self.torch_version), torch_version]),
        }
        return self.model_copy(update=update)

    def with_probe(self, key: str, name: str, found: ProbeScores) -> Self:
        """Return the record with the scores of this probe under `key`, which replace those of the same name."""
        probes = dict(self.probes or {})
        probes[key] = probes.get(key, {}) | {name: found}
        return self.model_copy(update={"probes": probes})

    def save(self, folder: Path) -> None:
        """Write result.json into `folder`, completely or not at all."""
        write_atomically(folder / RECORD, self.model_dump_json(indent=1) + "\n")


class Run(Record, Trained):
    """One run: method x dataset x seed, with everything needed to repeat it.

    Attributes:
        fingerprint: Of the train split.
        train_seconds: Time spent in training steps.
        wall_seconds: Total time, over all processes that worked on the run.
        images_per_second: Training images through the model; None if nothing is trained.
        peak_memory_bytes: Of the last process that worked on the run: on CUDA of its tensors, on the CPU of all that the
            process did, earlier runs included.
        parameters: How many the model has.
        weights_sha256: Of model.safetensors; None if it is not known, as for three runs of results/trials, whose weights
            were not kept.
        processes: How many shared the run when it was finished; None for one.
        implementation: `FILE.py@SHA256:CLASS` of a method from a plain file; None for one of a package.
    """

    kind: Literal["run"] = "run"
    fingerprint: str
    train_seconds: float = Field(ge=0)
    wall_seconds: float = Field(ge=0)
    images_per_second: Annotated[float, Field(ge=0)] | None
    peak_memory_bytes: int = Field(ge=0)
    parameters: int = Field(ge=0)
    weights_sha256: str | None = None
    processes: int | None = None
    implementation: str | None = None

    @model_validator(mode="after")
    def _with_its_own_test(self) -> Self:
        if TEST not in self.metrics or TEST not in self.scored:
            raise ValueError(f"no scores of '{TEST}', the test split of its own dataset")
        return self

    @property
    def trained(self) -> Trained:
        """The fields that tell this training from another one."""
        return Trained(**{name: getattr(self, name) for name in Trained.model_fields})

    def is_of_the_run(self, other: Record) -> bool:
        """Whether both are records of one run, whatever was scored since; never if its weights are not known."""
        if not isinstance(other, Run) or self.weights_sha256 is None:
            return False
        mine, theirs = ((run.config_hash, run.seed, run.weights_sha256) for run in (self, other))
        return mine == theirs


class External(Record):
    """Scores of predictions made outside objbench; `method` is the name given to them.

    Attributes:
        trained_on: The `DATASET@PROTOCOL/SOURCE` whose train split their model learned from, as whoever scored them
            said; None if nobody said it.
    """

    kind: Literal["external"] = "external"
    trained_on: str | None = None


_READER: TypeAdapter[Run | External] = TypeAdapter(Annotated[Run | External, Field(discriminator="kind")])


def record_files(runs: Path, onerror: Callable[[OSError], None] = lambda error: None) -> Iterator[Path]:
    """Find every result.json under `runs`, also below linked folders, but for folders whose name begins with a dot.

    Args:
        runs: The folder of the runs.
        onerror: Called with the error of a folder that cannot be read.
    """
    for folder, folders, files in walk(runs, onerror):
        if RECORD in files or RECORD in folders:
            yield folder / RECORD


def read_record(path: Path) -> Run | External:
    """Read a record.

    Args:
        path: A result.json, or the folder that holds it.

    Raises:
        ObjbenchError: The file is missing, damaged, no file, or not a record of this version.
        OSError: It cannot be read; it is the filename.
    """
    path = path / RECORD if path.is_dir() and path.name != RECORD else path
    if os.path.lexists(path):
        refuse_special(path)
    remedy = "run that seed, or evaluate those predictions, again with --fresh"
    # The location of a fault begins with the kind of record.
    record = read_typed(path, _READER.validate_json, "a record", remedy, ignored=1)
    if record is None:
        raise ObjbenchError(f"{path}: no such record; is the run finished?")
    return record


def read_run(folder: Path) -> Run:
    """Read the record of a run from its folder.

    Raises:
        RequestError: It holds only scores of predictions.
        ObjbenchError: As `read_record` does.
    """
    record = read_record(folder)
    if not isinstance(record, Run):
        raise RequestError(f"{folder} holds scores of predictions, without a model: name the run of a method")
    return record


@dataclass(frozen=True)
class FoundRecord:
    """A record, and the file it was read from.

    Attributes:
        elsewhere: Key of scores -> the folder that holds them, if it is a copy of that of `path`.
    """

    path: Path
    record: Run | External
    elsewhere: Mapping[str, Path] = field(default_factory=dict)

    def folder_of(self, key: str) -> Path:
        """The folder that holds the scores of `key`, with their values per image."""
        return self.elsewhere.get(key, self.path.parent)


@dataclass(frozen=True)
class FoundRecords:
    """The readable records, in the order of their paths, and one line for each that is skipped."""

    records: list[FoundRecord]
    skipped: list[str]


def read_records(paths: Iterable[Path], skipped: Sequence[str] = ()) -> FoundRecords:
    """Read records; skip files that are damaged, unreadable, or not records.

    Args:
        paths: Each a result.json.
        skipped: What is told of others, before these.
    """
    records, told = [], [*skipped]
    for path in paths:
        try:
            record = read_record(path)
            _check(path, record)
        except ObjbenchError as error:
            told.append(str(error))
        except OSError as error:
            told.append(f"{path}: {error.strerror or error}")
        else:
            records.append(FoundRecord(path, record))
    return FoundRecords(records, told)


def find_records(runs: Path) -> FoundRecords:
    """Read every record under `runs` as `read_records` does; folders that cannot be read are told, too."""
    unread: list[str] = []

    def unreadable(error: OSError) -> None:
        if not isinstance(error, FileNotFoundError):  # no folder, no records
            unread.append(f"{error.filename}: {error.strerror}")

    return read_records(sorted(record_files(runs, unreadable)), unread)


def _check(path: Path, record: Record) -> None:
    """Refuse a record without scores, with scores of unknown origin, or with names that do not fit into a table."""
    unknown = sorted(set(record.metrics) ^ set(record.scored))
    if unknown or not record.metrics:
        what = (
            f"scores and their provenance disagree about {', '.join(unknown)}"
            if unknown
            else "no scores in it"
        )
        raise ObjbenchError(f"{path}: {what}")
    named = {name: getattr(record, name) for name in ("dataset", "protocol", "source", "method", "device")}
    named["variant"] = record.variant or "none"
    for key, scored in record.scored.items():
        named |= {f"scored.{key!r}.{name}": value for name, value in scored.names.items()}
    for name, value in named.items():
        if not value or not value.isprintable():
            raise ObjbenchError(f"{path}: {name} is {value!r}, expected a name")
        if name.rpartition(".")[2] in ("dataset", "protocol", "source") and set(value) & set("@/"):
            raise ObjbenchError(f"{path}: {name} is {value!r}, expected a name without @ and /")
