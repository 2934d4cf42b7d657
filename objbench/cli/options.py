"""Options that several verbs share, and the names that a shell completes."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Annotated

import typer


def complete_dataset(incomplete: str) -> list[str]:
    """Names of datasets; after an @ those of protocols."""
    from objbench.spec.load import load_spec

    datasets = load_spec(None).datasets
    rules = (f"{name}@{rule}" for name, dataset in datasets.items() for rule in dataset.protocols)
    return _starting(incomplete, rules if "@" in incomplete else datasets)


def complete_method(incomplete: str) -> list[str]:
    """Names of methods; after a colon those of variants."""
    from objbench.spec.load import load_spec

    methods = load_spec(None).methods
    variants = (f"{name}:{variant}" for name, method in methods.items() for variant in method.variants)
    return _starting(incomplete, variants if ":" in incomplete else methods)


def complete_metric(incomplete: str) -> list[str]:
    """Names of metrics."""
    from objbench.spec.load import load_spec

    return _starting(incomplete, load_spec(None).all_metrics())


def complete_format(incomplete: str) -> list[str]:
    """Formats of a report."""
    from objbench.report.request import FORMATS

    return _starting(incomplete, FORMATS)


def complete_name(incomplete: str) -> list[str]:
    """Everything that `objbench info` explains."""
    return [
        name for find in (complete_dataset, complete_method, complete_metric) for name in find(incomplete)
    ]


def local_path(text: str | Path) -> Path:
    """A path of this machine; a URL of an object store is refused, because nothing would be written to or read from it."""
    from objbench.stores import place

    path = place(str(text))
    if isinstance(path, Path):
        return path
    raise typer.BadParameter(
        f"{text} is in an object store, expected a path of this machine; copy it from or to the store by its own command"
    )


def completes_to(*values: str) -> Callable[[str], list[str]]:
    """What completes to one of `values`."""

    def complete(incomplete: str) -> list[str]:
        return _starting(incomplete, values)

    return complete


def _starting(incomplete: str, names: Iterable[str]) -> list[str]:
    return [name for name in names if name.startswith(incomplete)]


RUN_HELP = "Folder of a finished run, also below --runs as objbench list runs prints it; or the name of shipped weights (objbench list weights)"
RunName = Annotated[str, typer.Argument(metavar="RUN", help=f"{RUN_HELP}.")]
DatasetName = Annotated[
    str,
    typer.Argument(
        metavar="DATASET[@PROTOCOL]",
        help="Dataset, with a protocol unless it is the default one (see objbench list datasets).",
        autocompletion=complete_dataset,
    ),
]
PreparedDataset = Annotated[
    str,
    typer.Option(
        metavar="DATASET[@PROTOCOL]",
        help="Prepared dataset, with a protocol unless it is the default one.",
        autocompletion=complete_dataset,
    ),
]
PreparedSource = Annotated[
    str | None, typer.Option(metavar="SOURCE", help="Prepared source to use. Default: the only one.")
]
SplitName = Annotated[
    str,
    typer.Option(
        metavar="SPLIT",
        help="Split: train, val or test.",
        autocompletion=completes_to("train", "val", "test"),
    ),
]
DeviceName = Annotated[
    str,
    typer.Option(
        metavar="DEVICE",
        help="Device: auto, cpu, cuda or cuda:N.",
        autocompletion=completes_to("auto", "cpu", "cuda"),
    ),
]
TrainSize = Annotated[
    int | None,
    typer.Option(metavar="N", max=10**9, help="Number of scenes to learn from; 0 leaves the split out."),
]
ValSize = Annotated[
    int | None,
    typer.Option(
        metavar="N",
        max=10**9,
        help="Number of scenes to validate on during training; 0 leaves the split out.",
    ),
]
TestSize = Annotated[
    int | None,
    typer.Option(
        metavar="N", max=10**9, help="Number of scenes to score at the end; 0 leaves the split out."
    ),
]
PartName = Annotated[
    str | None,
    typer.Option(
        metavar="K/N|auto",
        help="Only the K-th of N shares of the work; auto (or auto/N): by the variables of an array scheduler.",
    ),
]
