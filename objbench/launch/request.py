"""What `objbench run` was asked to do: options that fit together, as plain values for a worker or a scheduler's job."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Annotated, NamedTuple

from pydantic import AfterValidator, Field, field_validator, model_validator

from objbench.device import check_device, choose_device
from objbench.errors import RequestError, unknown_name
from objbench.methods.plain_block import spec_with
from objbench.methods.plain_file import MethodFile
from objbench.spec.datasets import GENERATED
from objbench.spec.schema import Spec
from objbench.stored import Strict
from objbench.stores import Place
from objbench.train.logger_kinds import check_loggers

CLUSTERS = ("slurm", "ray")
_LAUNCHERS = ("local", *CLUSTERS)
_PREDICTIONS = "predictions"
_MOST_SEEDS = 10_000


class Task(NamedTuple):
    """One run: a method (METHOD[:VARIANT]) on a dataset (DATASET[@PROTOCOL]) with a seed."""

    method: str
    dataset: str
    seed: int

    def __str__(self) -> str:
        return f"{self.method} on {self.dataset}, seed {self.seed}"


def _once(option: str, names: tuple[str, ...]) -> tuple[str, ...]:
    for name in names:
        if names.count(name) > 1:
            raise RequestError(f"{option} {name}: given twice")
    return names


class RunRequest(Strict):
    """The options of `objbench run`. The runs are the product of methods, datasets and seeds.

    What this machine must have is checked here alone: a changed copy for another process (`model_copy`) is taken as it is.

    Attributes:
        data: Folder of the prepared datasets, or their place in a store.
        runs: Folder of the runs.
        methods: METHOD[:VARIANT], each once.
        datasets: DATASET[@PROTOCOL], each once.
        seeds: Each once.
        source: The prepared source of all datasets; None for the only one that is prepared.
        assignments: KEY=VALUE, as given with --set.
        device: As given with --device.
        fresh: Whether earlier runs are deleted first.
        in_memory: Whether scenes are generated in memory.
        sizes: Split -> number of scenes generated in memory.
        log: The loggers that get the runs, besides metrics.jsonl.
        keep: "predictions" if all predictions for the test split are kept.
        config: A layer over benchmarks.yaml, or None.
        files: The methods that are no package's, with the text of their files as the command found it.
        launcher: local, slurm or ray; None: one run after another in this process.
        workers: How many runs at once with local; None: one per device.
        resources: KEY=VALUE, as given with --resources.
        wait: Whether the command waits until all jobs have ended.

    Raises:
        RequestError: A name is unknown or given twice, options do not go together, or a device or a logger is not there.
    """

    data: Place
    runs: Path
    methods: Annotated[tuple[str, ...], AfterValidator(partial(_once, "METHOD"))]
    datasets: Annotated[tuple[str, ...], AfterValidator(partial(_once, "--dataset"))]
    seeds: tuple[int, ...]
    source: str | None = None
    assignments: tuple[str, ...] = ()
    device: str = "auto"
    fresh: bool = False
    in_memory: bool = False
    sizes: Mapping[str, int] = Field(default_factory=dict)
    log: Annotated[tuple[str, ...], AfterValidator(partial(_once, "--log"))] = ()
    keep: str | None = None
    config: Path | None = None
    files: tuple[MethodFile, ...] = ()
    launcher: str | None = None
    workers: int | None = None
    resources: tuple[str, ...] = ()
    wait: bool = False

    def spec(self) -> Spec:
        """The benchmarks as the command sees them; the files are executed where that was not done in this process."""
        return spec_with(self.files, self.config, self.data)

    @property
    def tasks(self) -> list[Task]:
        """All runs: dataset by dataset, so that one is in memory at a time, and all seeds of a method together."""
        return [
            Task(method, dataset, seed)
            for dataset in self.datasets
            for method in self.methods
            for seed in self.seeds
        ]

    def elsewhere(self) -> RunRequest:
        """The same with absolute paths, for a process in another folder."""
        config = None if self.config is None else self.config.absolute()
        paths = {"data": self.data.absolute(), "runs": self.runs.absolute(), "config": config}
        return self.model_copy(update=paths)

    @field_validator("log")
    @classmethod
    def _known_loggers(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        check_loggers(names)
        return names

    @field_validator("keep")
    @classmethod
    def _known_thing(cls, name: str | None) -> str | None:
        if name is not None and name != _PREDICTIONS:
            raise unknown_name("thing to --keep", name, [_PREDICTIONS])
        return name

    @field_validator("launcher")
    @classmethod
    def _known_launcher(cls, name: str | None) -> str | None:
        if name is not None and name not in _LAUNCHERS:
            raise unknown_name("launcher", name, _LAUNCHERS)
        return name

    @model_validator(mode="after")
    def _options_go_together(self) -> RunRequest:
        if self.in_memory and self.source != GENERATED:
            raise RequestError(f"--in-memory needs --source {GENERATED}")
        if self.sizes and not self.in_memory:
            raise RequestError(
                f"--{next(iter(self.sizes))} needs --in-memory; the sizes of prepared splits are options of objbench prepare"
            )
        if self.launcher != "local" and self.workers is not None:
            raise RequestError("--workers needs --launcher local")
        if self.launcher != "local" and "," in self.device:
            raise RequestError(f"--device {self.device}: several devices need --launcher local")
        if self.launcher not in CLUSTERS and (self.resources or self.wait):
            raise RequestError(f"--resources and --wait need --launcher {' or '.join(CLUSTERS)}")
        for name in self.device.split(","):
            if not name:
                raise RequestError(f"--device {self.device}: expected a device on each side of a comma")
            if self.launcher == "local":
                check_device(name)  # its workers use it, not this process
            elif self.launcher not in CLUSTERS or not name.startswith("cuda"):
                choose_device(name)  # a job may get a GPU that this machine has not
        return self


def parse_seeds(seeds: str | None, seed: int | None) -> list[int]:
    """The seeds of `--seeds 5` (0 to 4), `--seeds 0,3,7` or `--seed 3`; by default seed 0 alone.

    Raises:
        RequestError: Both are given, or `seeds` is no number, too many, or not distinct numbers of at least 0.
    """
    if seeds is not None and seed is not None:
        raise RequestError("give either --seeds or --seed, not both")
    if seeds is None:
        return [0 if seed is None else seed]
    try:
        numbers = [int(part) for part in seeds.split(",")]
    except ValueError:
        raise RequestError(f"--seeds {seeds}: expected a number (5) or numbers (0,3,7)") from None
    if "," not in seeds:
        if numbers[0] > _MOST_SEEDS:
            raise RequestError(f"--seeds {seeds}: expected at most {_MOST_SEEDS:,} seeds; --seed runs one")
        numbers = list(range(numbers[0]))
    if not numbers or min(numbers) < 0 or len(set(numbers)) < len(numbers):
        raise RequestError(f"--seeds {seeds}: expected at least one seed, distinct numbers of at least 0")
    return numbers
