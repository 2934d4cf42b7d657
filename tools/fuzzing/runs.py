"""Targets: the files of a run, read by run, evaluate, report and list."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from fuzzing.outcome import Reading
from fuzzing.raw import scenes
from fuzzing.target import FileTarget, call, digest
from objbench.data.prepare.prepare import prepare
from objbench.spec.load import load_spec
from objbench.train.artifacts import read_per_image, read_samples
from objbench.train.checkpoint import load_checkpoint
from objbench.train.log import read_log

SIZES = {"train": 6, "val": 2, "test": 4}
STEPS = 4
DATASET = "tetrominoes@aligned"
SEED = f"runs/{DATASET}/generated/objmae-demo+*/seed-0"
RUN = (
    *("run", "objmae:demo", "--dataset", DATASET, "--seed", 0),
    *("--set", f"recipe.steps={STEPS}", "--set", "recipe.batch_size=2", "--set", "recipe.checkpoint_steps=2"),
)


@dataclass(frozen=True)
class File:
    """A file of a run, and how it is read.

    Attributes:
        read: From the folder that holds `data` and `runs`.
        checked: Whether a checksum covers it.
    """

    name: str
    how: str
    read: Callable[[Path], Reading]
    checked: bool = True


def targets() -> Iterator[FileTarget]:
    """The targets of this module."""
    files = {
        "result-report": File("result.json", "report, list", _report, checked=False),
        "result-html": File("result.json", "report --format html", _html, checked=False),
        "config-run": File("config.json", "run", _run, checked=False),
        "config-evaluate": File("config.json", "evaluate", _evaluate, checked=False),
        "weights": File("model.safetensors", "evaluate", _evaluate),
        "checkpoint": File("checkpoint.pt", "load", _checkpoint),
        "samples": File("samples.npz", "read", _samples),
        "per-image": File("per_image.npz", "read", _per_image),
        "log": File("metrics.jsonl", "read", _log, checked=False),
    }
    for name, file in files.items():
        yield FileTarget(
            name=name,
            what=f"{file.name}: {file.how}",
            build=build_run,
            read=file.read,
            victims=(f"runs/*/{file.name}",),
            unchecked=() if file.checked else ("*",),
            subjects=("seed-0",),
        )


def build_run(folder: Path) -> None:
    """A small dataset and a finished run of objmae."""
    prepare(load_spec().dataset(DATASET), "generated", folder / "data", sizes=SIZES, workers=1)
    scenes(DATASET, tuple(SIZES), folder / "data")
    call(*RUN, *places(folder))


def places(folder: Path) -> tuple[object, ...]:
    """The options for data and runs in `folder`."""
    return ("--data", folder / "data", "--runs", folder / "runs")


def seed_of(folder: Path) -> Path:
    """The folder of the run."""
    (found,) = folder.glob(SEED)
    return found


def _report(folder: Path) -> Reading:
    shown = call("report", "--dataset", DATASET, "--format", "json", *places(folder))
    listed = call("list", "runs", "--json", *places(folder))
    content = f"{shown.content}{listed.content}".replace(str(folder), "")
    return Reading(content, f"{shown.said}{listed.said}".replace(str(folder), ""))


def _html(folder: Path) -> Reading:
    page = folder / "report.html"
    shown = call("report", "--dataset", DATASET, "--format", "html", "--output", page, *places(folder))
    text = page.read_text(encoding="utf-8")
    assert text.rstrip().endswith("</html>"), "the page is not whole"
    return Reading(digest(text.replace(str(folder), "")), shown.said.replace(str(folder), ""))


def _run(folder: Path) -> Reading:
    """The record that stands after the same command."""
    call(*RUN, *places(folder))
    return Reading(digest((seed_of(folder) / "result.json").read_bytes()))


def _evaluate(folder: Path) -> Reading:
    shown = call("evaluate", seed_of(folder), "--dataset", DATASET, "--json", *places(folder))
    found = json.loads(str(shown.content))
    del found["folder"]
    return Reading(json.dumps(found), shown.said)


def _checkpoint(folder: Path) -> Reading:
    return Reading(digest(vars(load_checkpoint(seed_of(folder)))))


def _samples(folder: Path) -> Reading:
    return Reading(digest(read_samples(seed_of(folder))))


def _per_image(folder: Path) -> Reading:
    return Reading(digest(read_per_image(seed_of(folder), ["test"])))


def _log(folder: Path) -> Reading:
    return Reading(digest(read_log(seed_of(folder))))
