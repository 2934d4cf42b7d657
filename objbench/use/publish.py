"""A finished run as a folder for a hub: card, weights, configuration, record and an example."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from torch import Tensor

from objbench.errors import RequestError, first_few
from objbench.files import write_atomically
from objbench.locks import folder_lock
from objbench.markdown import render
from objbench.methods.plain_file import COPY
from objbench.os_errors import explain_os_errors
from objbench.paths import check_folder
from objbench.records import RECORD, FoundRecord, Record, Run, read_record
from objbench.report.rows.measured import Selection, measured_rows
from objbench.spec.schema import Spec
from objbench.train.checkpoint import CHECKPOINT, WEIGHTS
from objbench.train.run_folder import CONFIG
from objbench.use.copied import copy_files, is_unfinished
from objbench.use.finished import FinishedRun

CARD, EXAMPLE = "README.md", "example.py"
_HUB_LICENCES = re.compile(r"[a-z0-9][a-z0-9.-]*")
_EXAMPLE = '''\
"""Segment images with this model: python example.py IMAGE...

Without images, it segments one of random colours.
"""

import sys
from pathlib import Path

import torch

import objbench

run = objbench.open_run(Path(__file__).parent)
print(run)
for one in run.segment(sys.argv[1:] or [torch.rand(3, 64, 48)]):
    print(one)
'''


def publish(run: FinishedRun, spec: Spec, output: Path, name: str, licence: str | None) -> list[Path]:
    """Write the folder. It is a run itself, which `objbench.open_run` opens; the record is written last.

    Args:
        run: What to publish.
        spec: The benchmarks.
        output: The folder: new, empty, or of an earlier call for the same run.
        name: The title of the card.
        licence: Of the weights, as hubs name licences: apache-2.0; None if it is not stated.

    Returns:
        The files.

    Raises:
        RequestError: The folder holds something else, or the licence is no such name.
        LockedError: Another process publishes into the folder.
    """
    if licence is not None and not _HUB_LICENCES.fullmatch(licence):
        raise RequestError(
            f"--licence {licence}: expected a name as hubs have it, such as apache-2.0 or cc-by-4.0"
        )
    _refuse_other_content(run, output)  # before a folder is made
    copied = [WEIGHTS, CONFIG]
    if run.record.implementation:
        copied.append(COPY)
    if any(not isinstance(value, Tensor) for value in run.method.state_dict().values()):
        copied.append(CHECKPOINT)  # state that is no tensor lies there alone
    with explain_os_errors(output, "--output"):
        output.mkdir(parents=True, exist_ok=True)
        with folder_lock(
            output, f"--output {output}: another process publishes there; choose another folder"
        ):
            _refuse_other_content(run, output)  # which is another one's by now if two calls began at once
            copy_files(run.folder, output, copied)
            write_atomically(output / CARD, card(run, spec, name, output.name, licence))
            write_atomically(output / EXAMPLE, _EXAMPLE)
            run.record.save(output)
    return [output / file for file in (CARD, *copied, EXAMPLE, RECORD)]


def card(run: FinishedRun, spec: Spec, name: str, folder: str, licence: str | None) -> str:
    """The model card, with the front matter that hubs read.

    Args:
        run: The run.
        spec: The benchmarks.
        name: Its title.
        folder: What its example calls the folder.
        licence: Of the weights; None if it is not stated.
    """
    method = run.block
    return render(
        "objbench.use",
        "model_card.md.jinja",
        front_matter(run.record, spec, name, licence),
        name=name,
        folder=folder,
        record=run.record,
        method=method,
        dataset=run.spec,
        slots=run.method.slots,
        height=run.size[0],
        width=run.size[1],
        implementation=run.record.implementation or spec.method_class(run.record.method),
        file=COPY if run.record.implementation else None,
        rows=_rows(run.record, spec),
        remarks=_remarks(run.record, spec),
        generated=any(on.generator is not None for on in run.record.scored.values()),
        reference=spec.references[method.citation] if method.citation else None,
    )


def front_matter(record: Run, spec: Spec, name: str, licence: str | None) -> dict[str, Any]:
    """The metadata that a hub reads from a model card; percents are percents."""
    results = []
    for key, scores in record.metrics.items():
        on = record.scored[key]
        metrics = []
        for metric, value in scores.values.items():
            described = spec.metric(metric)
            factor, digits = (100, 2) if described.percent else (1, 6)
            metrics.append(
                {"type": metric, "name": described.title, "value": round(value.mean * factor, digits)}
            )
        dataset = {"type": on.dataset, "name": f"{on.place} {key}", "split": on.split}
        results.append({"task": {"type": "image-segmentation"}, "dataset": dataset, "metrics": metrics})
    return {
        "license": licence or "unknown",
        "library_name": "objbench",
        "pipeline_tag": "image-segmentation",
        "tags": ["object-centric-learning", "unsupervised-segmentation", record.method, record.dataset],
        "model-index": [{"name": name, "results": results}],
    }


def _remarks(record: Run, spec: Spec) -> list[str]:
    """In what the training and the scores differ from the protocol, as tables mark it."""
    found = measured_rows([FoundRecord(Path(RECORD), record)], spec, Selection())
    return list(dict.fromkeys(note for row in found.rows for note in row.notes))


def _rows(record: Run, spec: Spec) -> list[dict[str, Any]]:
    rows = []
    for key, scores in record.metrics.items():
        for metric, value in scores.values.items():
            described = spec.metric(metric)
            rows.append(
                {
                    "where": key,
                    "images": value.n or scores.n_images,
                    "title": described.title,
                    "unit": ", %" if described.percent else "",
                    "mean": described.format(value.mean),
                    "std": "-" if value.std is None else described.format(value.std),
                }
            )
    return rows


def _refuse_other_content(run: FinishedRun, output: Path) -> None:
    check_folder("--output", output)
    if output.resolve().is_relative_to(run.folder.resolve()):
        what = "is" if output.resolve() == run.folder.resolve() else "is in"
        raise RequestError(f"--output {output}: that {what} the folder of the run itself; choose another one")
    if not output.is_dir() or not any(output.iterdir()):
        return
    if (output / RECORD).is_file():
        there = read_record(output)
        if run.record.is_of_the_run(there):
            _refuse_loss(run, there, output)
            return
    elif is_unfinished(output, {CARD, EXAMPLE, RECORD}):
        return
    raise RequestError(f"--output {output}: it holds something else; choose a new folder")


def _refuse_loss(run: FinishedRun, there: Record, output: Path) -> None:
    """Raise RequestError if what was published was scored or probed further, and the run was not."""
    probes, mine = there.probes or {}, run.record.probes or {}
    lost = [f"the scores of {key}" for key in there.metrics if key not in run.record.metrics]
    lost += [
        f"the probe {name} of {key}"
        for key, named in probes.items()
        for name in named
        if name not in mine.get(key, {})
    ]
    if lost:
        raise RequestError(
            f"--output {output}: it alone has {first_few(lost)}, which would be lost; evaluate or probe {run.folder} "
            "likewise, or choose a new folder"
        )
