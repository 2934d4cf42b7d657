"""The bench `train`: the time of a training step per dataset, precision and path, next to what the device can do."""

from __future__ import annotations

import gc
import os
from argparse import ArgumentParser, Namespace
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from arguments import positive

from benches.options import add_device
from benches.report import Check, Report, Row, Section, Speedup
from benches.timing import Timing, quartiles, say
from benches.train_ceilings import DTYPES, copying, products
from benches.train_paths import PATHS, paths_of
from benches.train_products import by_themselves
from benches.train_race import Entrant, Work, greatest_difference, operations, race
from objbench.device import choose_device, describe
from objbench.errors import RequestError
from objbench.methods.create import build
from objbench.spec.datasets import DatasetRef
from objbench.spec.load import load_spec
from objbench.spec.resolve import resolve
from objbench.train.heap import keep_freed_memory

DATASETS = ("tetrominoes", "multi_dsprites", "clevr6", "clevrtex")
SMALL_BATCH = 8
SMALL_OBJMAE = {
    "model.width": 64,
    "model.depth": 2,
    "model.heads": 4,
    "model.decoder_width": 64,
    "model.decoder_depth": 1,
    "model.decoder_heads": 4,
}
BATCHES = 16  # of images; more of them would take no other time
# Milliseconds on an H200.
TARGETS = {"tetrominoes": 1.0, "multi_dsprites": 3.2, "clevr6": 8.5, "clevrtex": 12.0}
MEMORY_LIMIT = 16.0  # GB
TOLERANCES = {"fp32": 1e-5, "bf16": 2e-2}


@dataclass(frozen=True)
class Setting:
    """What is measured, how often, and on which device.

    With `small`, few steps are compared, and objmae has a smaller model. `batch` None means that of the recipe.
    """

    method: str
    datasets: Mapping[DatasetRef, list[str]]  # with the paths of each
    precisions: list[str]
    points: list[float]
    repeats: int
    device: torch.device
    small: bool
    batch: int | None

    @property
    def compared_steps(self) -> int:
        """The number of steps for which the losses of two paths are compared."""
        return 20 if self.small else 100

    def overrides(self, precision: str) -> dict[str, Any]:
        """The settings that differ from benchmarks.yaml."""
        chosen: dict[str, Any] = {"recipe.precision": precision}
        if self.batch is not None:
            chosen["recipe.batch_size"] = self.batch
        if self.small and self.method.partition(":")[0] == "objmae":
            chosen |= SMALL_OBJMAE
        return chosen


@dataclass(frozen=True)
class Limits:
    """What a step could reach.

    Attributes:
        flops: Operations of a step.
        peak: TFLOP/s of a large matrix product.
        products: Seconds that the matrix products of a step take alone.
    """

    flops: float
    peak: float
    products: float

    def reached(self, seconds: float) -> dict[str, float]:
        """The columns of a step of so many seconds."""
        speed = self.flops / seconds / 1e12
        return {
            "TFLOP/s": speed,
            "MFU %": 100 * speed / self.peak,
            "products %": 100 * self.products / seconds,
        }


def add_options(parser: ArgumentParser) -> None:
    """Add the options of this bench."""
    parser.add_argument(
        "--method", metavar="METHOD[:VARIANT]",
        help="default on CUDA and with --quick objmae, else its preset for the CPU, objmae:demo",
    )  # fmt: skip
    parser.add_argument(
        "--datasets", nargs="+", metavar="D",
        help=f"default on CUDA {' '.join(DATASETS)}, elsewhere tetrominoes",
    )  # fmt: skip
    parser.add_argument(
        "--precision", nargs="+", choices=list(DTYPES), help="default both, with --quick fp32"
    )
    parser.add_argument(
        "--paths", nargs="+", choices=list(PATHS), help="default all that the method has: "
        + "; ".join(f"{name}: {text}" for name, text in PATHS.items()),
    )  # fmt: skip
    parser.add_argument(
        "--points", type=positive, default=5, metavar="N",
        help="moments of the training to measure at, from its beginning to its end; 1 is the end (default 5)",
    )  # fmt: skip
    parser.add_argument(
        "--batch", type=positive, metavar="N",
        help=f"images per step (default the recipe's, with --quick {SMALL_BATCH})",
    )  # fmt: skip
    add_device(parser)


def measure(options: Namespace) -> Report:
    """All sections, each measured when it is iterated over."""
    device = choose_device(options.device)
    cuda = device.type == "cuda"
    small = options.quick
    spec = load_spec()
    names = options.datasets or (DATASETS if cuda and not small else DATASETS[:1])
    options.method = options.method or ("objmae" if cuda or small else "objmae:demo")
    references = [spec.dataset(name) for name in dict.fromkeys(names)]
    setting = Setting(
        method=options.method,
        datasets={reference: _paths(options, reference) for reference in references},
        precisions=list(dict.fromkeys(options.precision or (["fp32"] if small else DTYPES))),
        points=[1.0] if options.points == 1 else [i / (options.points - 1) for i in range(options.points)],
        repeats=options.repeats or (2 if options.quick else 5),
        device=device,
        small=small,
        batch=options.batch or (SMALL_BATCH if small else None),
    )
    parameters = {
        "method": setting.method,
        "device": describe(device),
        "small": small,
        "points": [round(point, 4) for point in setting.points],
        "repeats": setting.repeats,
        "compared_steps": setting.compared_steps,
        "threads": 1,
    }
    return Report(parameters, _sections(setting))


def _paths(options: Namespace, dataset: DatasetRef) -> list[str]:
    """The paths to measure; RequestError if the method does not train or has no such path."""
    method = build(resolve(load_spec(), options.method, dataset, {}), dataset)
    if not method.stages():
        raise RequestError(f"method '{options.method}' does not train: there is no step to measure")
    known = paths_of(method)
    for path in options.paths or []:
        if path not in known:
            raise RequestError(f"method '{options.method}' has no path '{path}' (it has: {', '.join(known)})")
    return [path for path in known if path in (options.paths or known)]


def _sections(setting: Setting) -> Iterator[Section]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    if setting.device.type == "cpu":
        keep_freed_memory()  # as trainings do
    try:
        with _no_compiled_kernels():
            cuda = setting.device.type == "cuda"
            ceilings = products(setting.device, setting.precisions, 8192 if cuda else 512, setting.repeats)
            yield ceilings
            yield copying(setting.device, 4000 if cuda else 100, setting.repeats)
            peaks = {row.name: quartiles(row.samples)[1] for row in ceilings.rows}
            for dataset, paths in setting.datasets.items():
                yield training(setting, dataset, paths, peaks)
    finally:
        torch.set_num_threads(threads)


@contextmanager
def _no_compiled_kernels() -> Iterator[None]:
    """Give torch.compile and Triton empty caches on disk while the context is active."""
    names = ("TORCHINDUCTOR_CACHE_DIR", "TRITON_CACHE_DIR")
    before = {name: os.environ.get(name) for name in names}
    with TemporaryDirectory(prefix="objbench-bench-", ignore_cleanup_errors=True) as folder:
        os.environ |= {name: str(Path(folder) / name.lower()) for name in names}
        try:
            yield
        finally:
            for name, value in before.items():
                os.environ.pop(name)
                if value is not None:
                    os.environ[name] = value


def training(setting: Setting, dataset: DatasetRef, paths: list[str], peaks: Mapping[str, float]) -> Section:
    """All precisions and paths on one dataset; `peaks` are TFLOP/s by precision."""
    rows, checks = [], []
    for precision in setting.precisions:
        say(f"{setting.method} on {dataset}, {precision}")
        work = _work(setting, dataset, precision)
        entrants = race(work, paths, setting.points, setting.repeats)
        flops = operations(work, setting.points)
        products = by_themselves(work, setting.points, DTYPES[precision], setting.repeats)
        limits = Limits(flops, peaks[precision], quartiles(products.seconds)[1])
        rows += [_row(entrant, entrants, work, precision, limits) for entrant in entrants]
        rows.append(_alone_row(products, precision, limits))
        checks += _checks(setting, dataset, precision, entrants)
        del entrants
        _free(setting.device)
        checks += _agreement(setting, work, precision, paths)
        _free(setting.device)
    height, width = dataset.spec.height, dataset.spec.width
    scale = f", a small model ({_list(SMALL_OBJMAE)})" if "model.width" in setting.overrides("fp32") else ""
    return Section(
        f"{setting.method} on {dataset}: {height}x{width}, K={dataset.spec.slots}, batch {work.batch}{scale}",
        "ms/iteration",
        rows,
        checks,
        _note(setting),
    )


def _work(setting: Setting, dataset: DatasetRef, precision: str) -> Work:
    config = resolve(load_spec(), setting.method, dataset, setting.overrides(precision))
    batch = build(config, dataset).stages()[0].batch_size
    shape = (BATCHES * batch, *dataset.spec.image_shape)
    generator = torch.Generator(setting.device).manual_seed(0)
    images = torch.randint(256, shape, dtype=torch.uint8, device=setting.device, generator=generator)
    return Work(dataset, config, images, batch)


def _row(entrant: Entrant, entrants: list[Entrant], work: Work, precision: str, limits: Limits) -> Row:
    name = f"{entrant.path} {precision}"
    if entrant.failure:
        return Row(name, [], remark=entrant.failure)
    timing = entrant.timing
    seconds = quartiles(timing.seconds)[1]
    plain = next((e for e in entrants if e.path == "plain" and e is not entrant and not e.failure), None)
    speedup = None
    if plain is not None:
        pairs = zip(plain.timing.seconds, timing.seconds, strict=True)
        speedup = Speedup(f"plain {precision}", [theirs / ours for theirs, ours in pairs])
    figures = {
        "least": 1000 * min(entrant.at_points),
        "most": 1000 * max(entrant.at_points),
        "images/s": work.batch / seconds,
        "GFLOP/image": limits.flops / work.batch / 1e9,
        **limits.reached(seconds),
        "start s": entrant.startup,
    }
    if entrant.memory is not None:
        figures["peak GB"] = entrant.memory / 1e9
    milliseconds = [1000 * s for s in timing.seconds]
    return Row(name, milliseconds, 1, timing, speedup, figures=figures, remark=entrant.remark)


def _alone_row(timing: Timing, precision: str, limits: Limits) -> Row:
    milliseconds = [1000 * s for s in timing.seconds]
    figures = limits.reached(limits.products)
    return Row(f"products {precision}", milliseconds, 1, timing, figures=figures)


def _checks(setting: Setting, dataset: DatasetRef, precision: str, entrants: list[Entrant]) -> list[Check]:
    """The checks: no path but the compiled one fails, and on CUDA with the paper's sizes the speed-ups are reached."""
    failed = [entrant.path for entrant in entrants if entrant.failure and entrant.path != "compiled"]
    checks = [Check(f"paths that failed in {precision}, compiled not counted", len(failed), 0)]
    if setting.small or setting.device.type != "cuda" or setting.method != "objmae":
        return checks
    for entrant in entrants:
        case = entrant.path, precision
        if entrant.failure:
            continue
        if case == ("plain", "fp32") and entrant.memory is not None:
            gigabytes = entrant.memory / 1e9
            checks.append(Check("peak memory of the plain path in fp32, GB", gigabytes, MEMORY_LIMIT))
        on_target = "H200" in torch.cuda.get_device_name(setting.device) and dataset.name in TARGETS
        if case == ("fast", "bf16") and on_target:
            milliseconds = 1000 * quartiles(entrant.timing.seconds)[1]
            checks.append(Check("ms per iteration and seed, fast bf16", milliseconds, TARGETS[dataset.name]))
    return checks


def _agreement(setting: Setting, work: Work, precision: str, paths: list[str]) -> list[Check]:
    steps = setting.compared_steps
    checks = []
    for path in paths:
        if path in ("captured", "fast"):
            say(f"  losses of {path} beside those of plain, {steps} steps")
            difference = greatest_difference(work, path, steps)
            name = (
                f"greatest relative difference of {path} {precision} from plain in the first {steps} losses"
            )
            checks.append(Check(name, difference, TOLERANCES[precision]))
    return checks


def _note(setting: Setting) -> str:
    points = ", ".join(f"{point:.0%}" for point in setting.points)
    lines = [
        f"Means over the points of the training at {points}; least, most: the fastest and the slowest point.",
        "Start: from making the stepper to the end of its second step at the first point, compiling and capturing included;",
        "what an earlier path of the run compiled or loaded is not done again. Random images; one seed.",
        "products: the matrix products of the plain step alone, attention included, on random matrices;",
        "products %: their share of the time.",
        "Peak: the model and all that its training takes at the last point, but for the training images; on the CPU",
        "the tensors that operations made, of the plain path.",
    ]
    return "\n  ".join(lines)


def _free(device: torch.device) -> None:
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()


def _list(overrides: Mapping[str, Any]) -> str:
    return ", ".join(f"{key.removeprefix('model.')} {value}" for key, value in overrides.items())
