"""The bench `cost`: operations and memory of a training step, counted on tensors without values; it needs no device."""

from __future__ import annotations

import json
from argparse import ArgumentParser, Namespace
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from benches.machine import machine
from benches.report import Report, Row, Section
from benches.timing import say
from benches.train_ceilings import DTYPES
from benches.train_memory import TensorMemory
from objbench.errors import RequestError
from objbench.methods.base import Progress, Stage
from objbench.methods.create import build
from objbench.spec.datasets import DatasetRef
from objbench.spec.load import load_spec
from objbench.spec.resolve import MethodConfig, resolve
from objbench.spec.schema import Spec

DATASETS = ("tetrominoes", "multi_dsprites", "clevr6", "clevrtex")
TITLE = ": memory of a training step"
NOTE = (
    "A step at the end of each stage of the training, with the batch of the recipe: forward and backward pass, multiplications and\n"
    "  additions counted apart, of matrix products and convolutions alone. GB: the peak of all tensors, parameters and\n"
    "  gradients included; what optimizers keep, the images, and what kernels use inside themselves come on top."
)


@dataclass(frozen=True)
class Cost:
    """The cost of a training step.

    Attributes:
        parameters: of the whole method.
        batch: images.
        operations: on floating-point numbers.
        memory: peak bytes of tensors.
        weights: bytes of them for parameters and their gradients.
    """

    parameters: int
    batch: int
    operations: int
    memory: int
    weights: int


def add_options(parser: ArgumentParser) -> None:
    """Add the options of this bench."""
    parser.add_argument(
        "--merge", action="store_true", help="keep what the file of --json holds of other methods"
    )
    parser.add_argument("--methods", nargs="+", metavar="M", help="METHOD[:VARIANT]; default: all that learn")
    parser.add_argument("--datasets", nargs="+", metavar="D", help=f"default {' '.join(DATASETS)}")


def measure(options: Namespace) -> Report:
    """One section per method, one row per dataset and precision. Nothing is repeated because counts do not vary."""
    spec = load_spec()
    quick = ("tetrominoes",) if options.quick else DATASETS
    references = [spec.dataset(name) for name in options.datasets or quick]
    methods = options.methods or [name for name, method in spec.methods.items() if not method.trivial]
    if options.merge and options.json is None:
        raise RequestError("--merge: say with --json which file holds the other methods")
    for name in methods:  # what is wrong is refused before anything is counted
        for reference in references:
            _stages(spec, name, reference)
    kept = _kept(options.json, methods) if options.merge else []
    counted = [*(section.title.removesuffix(TITLE) for section in kept), *methods]
    return Report({"methods": counted}, chain(kept, _sections(spec, methods, references)))


def _kept(path: Path, methods: Sequence[str]) -> list[Section]:
    """The sections of a file of this bench, but those of `methods`; none if there is no file yet."""
    if not path.exists():
        return []
    try:
        sections = json.loads(path.read_text())["sections"]
        return [
            Section(found["title"], found["unit"], _rows(found), note=found["note"], origin=found["origin"])
            for found in sections
            if found["title"] not in {f"{name}{TITLE}" for name in methods}
        ]
    except (ValueError, KeyError, TypeError) as error:
        raise RequestError(
            f"{path}: not a file of this bench ({error!r}); leave out --merge to replace it"
        ) from None


def _rows(section: dict[str, Any]) -> list[Row]:
    return [Row(row["name"], row["samples"], figures=row["figures"]) for row in section["rows"]]


def _sections(spec: Spec, methods: Sequence[str], references: Sequence[DatasetRef]) -> Iterator[Section]:
    here = machine()
    origin = {key: here[key] for key in ("commit", "torch", "date")}
    for name in methods:
        rows = []
        for reference in references:
            say(f"{name} on {reference}")
            config = resolve(spec, name, reference, {})
            stages = _stages(spec, name, reference)
            for index, stage in enumerate(stages):
                label = f"{reference} {stage.name}" if len(stages) > 1 else str(reference)
                rows += [_row(label, step_cost(config, reference, p, index), p) for p in DTYPES]
        yield Section(f"{name}{TITLE}", "GB", rows, note=NOTE, origin=origin)


def _row(label: str, cost: Cost, precision: str) -> Row:
    figures = {
        "parameters": float(cost.parameters),
        "batch": float(cost.batch),
        "GFLOP/image": cost.operations / cost.batch / 1e9,
        "MB/image": (cost.memory - cost.weights) / cost.batch / 1e6,
    }
    return Row(f"{label} {precision}", [cost.memory / 1e9], figures=figures)


def step_cost(config: MethodConfig, reference: DatasetRef, precision: str, index: int = 0) -> Cost:
    """The cost of the last step of the stage `index` of the training."""
    memory = TensorMemory()
    # As plain products, since some of the fused attentions are not counted.
    with FakeTensorMode(), memory, sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        method = build(config, reference)
        stage = method.stages()[index]
        images = torch.rand(stage.batch_size, *reference.spec.image_shape)
        steps = stage.steps or 1000
        progress = Progress(stage.name, steps - 1, steps, 0, method.recipe.nominal_epochs)
        half = torch.autocast("cpu", DTYPES[precision]) if precision == "bf16" else nullcontext()
        with half:
            loss = method.training_loss(images, progress).total
        loss.backward()  # type: ignore[no-untyped-call]
        del loss
    held = [tensor for p in method.parameters() for tensor in (p, p.grad) if tensor is not None]
    return Cost(
        sum(p.numel() for p in method.parameters()),
        stage.batch_size,
        int(counter.get_total_flops()),
        memory.peak - images.nbytes,
        sum(tensor.nbytes for tensor in held),
    )


def _stages(spec: Spec, name: str, reference: DatasetRef) -> list[Stage]:
    """The stages of a method's training; refuses one that does not train."""
    stages = build(resolve(spec, name, reference, {}), reference).stages()
    if not stages:
        raise RequestError(f"method '{name}' does not train: there is no step to count")
    return stages
