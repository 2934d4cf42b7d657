"""What `objbench run` was asked to do, as plain values: what a worker or a scheduler's job is given."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NamedTuple

from objbench.methods.plain_block import spec_with
from objbench.methods.plain_file import MethodFile
from objbench.spec.schema import Spec
from objbench.stores import Place


class Task(NamedTuple):
    """One run: a method (METHOD[:VARIANT]) on a dataset (DATASET[@PROTOCOL]) with a seed."""

    method: str
    dataset: str
    seed: int

    def __str__(self) -> str:
        return f"{self.method} on {self.dataset}, seed {self.seed}"


@dataclass(frozen=True)
class RunRequest:
    """The options of `objbench run`. The runs are the product of methods, datasets and seeds.

    Attributes:
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
        keep: Whether all predictions for the test split are kept.
        data: Folder of the prepared datasets, or their place in a store.
        runs: Folder of the runs.
        config: A layer over benchmarks.yaml, or None.
        files: The methods that are no package's, with the text of their files as the command found it.
    """

    methods: tuple[str, ...]
    datasets: tuple[str, ...]
    seeds: tuple[int, ...]
    data: Place
    runs: Path
    source: str | None = None
    assignments: tuple[str, ...] = ()
    device: str = "auto"
    fresh: bool = False
    in_memory: bool = False
    sizes: Mapping[str, int] = field(default_factory=dict)
    log: tuple[str, ...] = ()
    keep: bool = False
    config: Path | None = None
    files: tuple[MethodFile, ...] = ()

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
        return replace(
            self,
            data=self.data.absolute(),
            runs=self.runs.absolute(),
            config=self.config.absolute() if self.config is not None else None,
        )
