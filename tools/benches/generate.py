"""The bench `generate`: scenes per second of the generators, without encoding, and checks that scenes are the same."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cache, partial
from multiprocessing import get_context
from typing import NamedTuple

import numpy as np
import torch
from arguments import positive

from benches.options import add_device
from benches.report import Check, Report, Row, Section
from benches.timing import Candidate, interleave, say
from objbench.data.generate.generator import Generator, generator_of
from objbench.data.generate.tensors import SceneTensors
from objbench.data.scene import Array, SceneBatch
from objbench.data.workers import available
from objbench.device import choose_device
from objbench.spec.load import load_spec

DATASETS = (
    "tetrominoes",
    "tetrominoes@aligned",
    "tetrominoes@striped",
    "multi_dsprites",
    "multi_dsprites_binarized",
    "multi_dsprites_colored",
    "clevr6",
    "clevr10",
    "clevrtex",
    "clevrtex_ood",
    "clevrtex_camo",
)
SEED = 0
AIMED_CORES = 2


class Amount(NamedTuple):
    """The number of scenes per call of a process and of CUDA, and the aim in scenes per second."""

    cpu: int
    cuda: int
    cpu_aim: float  # on two cores
    cuda_aim: float | None = None


TETROMINOES, SPRITES = Amount(20_000, 100_000, 20_000), Amount(10_000, 100_000, 5_000)
CLEVR = Amount(32, 4_096, 5, cuda_aim=1_000)
CLEVRTEX = Amount(16, 2_048, 2, cuda_aim=500)
QUICK = 16  # times less
COMPARED_ON_CUDA = 320  # scenes of each dataset
# Textures have edges everywhere, and a pixel may see the other side of one for the last bit of a place.
MOST_OFF = 1e-3


class Differences(NamedTuple):
    """The number of different factors and mask pixels, and the largest difference of a pixel."""

    factors: int
    masks: int
    image: int  # grey levels
    off: float  # share of the values of pixels that differ by more than one grey level


@dataclass(frozen=True)
class Setting:
    """What is measured, and on which device."""

    datasets: list[str]
    device: torch.device
    processes: list[int]
    repeats: int
    quick: bool

    def amount(self, dataset: str) -> Amount:
        """The numbers of scenes and the aim for `dataset`."""
        name = load_spec().dataset(dataset).name
        if name.startswith("clevr"):
            return CLEVRTEX if name.startswith("clevrtex") else CLEVR
        return TETROMINOES if name == "tetrominoes" else SPRITES

    def scenes(self, dataset: str) -> int:
        """The number of scenes that one process makes per call."""
        amount = self.amount(dataset)
        scenes = amount.cuda if self.device.type == "cuda" else amount.cpu
        return scenes // QUICK if self.quick else scenes

    def compared(self, dataset: str) -> int:
        """The number of scenes that are made again for comparison."""
        if self.device.type == "cpu":
            return self.scenes(dataset)
        return COMPARED_ON_CUDA // QUICK if self.quick else COMPARED_ON_CUDA


def add_options(parser: ArgumentParser) -> None:
    """Add the options of this bench."""
    parser.add_argument(
        "--datasets", nargs="+", default=list(DATASETS), metavar="D", help="default: all with a generator"
    )
    add_device(parser)
    parser.add_argument(
        "--processes", type=positive, nargs="+", metavar="N",
        default=sorted({1, min(AIMED_CORES, available()), available()}),
        help="processes that generate at once, each on one thread; on the CPU only (default 1, 2 and all cores)",
    )  # fmt: skip


def measure(options: Namespace) -> Report:
    """The rates of all datasets, measured in turns, and the checks of their scenes."""
    device = choose_device(options.device)
    setting = Setting(
        datasets=list(dict.fromkeys(options.datasets)),
        device=device,
        processes=sorted(set(options.processes)) if device.type == "cpu" else [1],
        repeats=options.repeats or (2 if options.quick else 5),
        quick=options.quick,
    )
    versions = {dataset: _generator(dataset).version for dataset in setting.datasets}
    return Report(
        {
            "device": str(device),
            "seed": SEED,
            "generator_versions": versions,
            "scenes_in_a_call": {name: setting.scenes(name) for name in setting.datasets},
            "processes": setting.processes,
            "repeats": setting.repeats,
        },
        [rates(setting), sameness(setting)],
    )


def rates(setting: Setting) -> Section:
    """Scenes per second of one process and of several independent processes."""
    with ExitStack() as opened:
        context = get_context("spawn")
        pools = {
            n: opened.enter_context(ProcessPoolExecutor(n, mp_context=context))
            for n in setting.processes
            if n > 1
        }
        candidates = {
            _candidate(setting, dataset, n, pools.get(n)): (dataset, n)
            for dataset in setting.datasets
            for n in setting.processes
        }
        say(f"generating: {len(candidates)} candidates, {setting.repeats} repeats each")
        timings = interleave(list(candidates), setting.repeats, 0.0, setting.device)
    rows = []
    for candidate, (dataset, n) in candidates.items():
        scenes = n * setting.scenes(dataset)
        samples = [scenes / seconds for seconds in timings[candidate].seconds]
        rows.append(Row(candidate.name, samples, 1, timings[candidate], aim=_aim(setting, dataset, n)))
    return Section(
        f"Scenes generated before encoding, on {setting.device.type}",
        "scenes/s",
        rows,
        note="Aims on the CPU are for two cores. `objbench prepare` makes CLEVR and ClevrTex in all its worker processes, which "
        "encode too, and the other sets in one process beside them.",
    )


def sameness(setting: Setting) -> Section:
    """The differences of the same scenes made in batches of another size, and on CUDA."""
    say("comparing scenes")
    rows, checks = [], []
    for dataset in setting.datasets:
        count = setting.compared(dataset)
        rows.append(Row(dataset, [float(count)]))
        if setting.device.type == "cuda":
            again, how, most = made(dataset, 0, count, setting.device), "CUDA beside CPU", 1
        else:
            parts = [made(dataset, 0, 1), made(dataset, 1, count)]
            again, how, most = SceneBatch.concatenate(parts), "other batches", 0
        found = differences(again, made(dataset, 0, count))
        checks += [
            Check(f"{dataset}, {how}: factors and mask pixels that differ", found.factors + found.masks, 0),
            Check(f"{dataset}, {how}: share of pixels more than one grey level off", found.off, MOST_OFF)
            if most and setting.amount(dataset) is CLEVRTEX
            else Check(
                f"{dataset}, {how}: greatest difference of a pixel, in grey levels", found.image, most
            ),
        ]
    return Section("Scenes made a second time and compared", "scenes", rows, checks)


def made(dataset: str, start: int, stop: int, device: torch.device | str = "cpu") -> SceneBatch:
    """Generated scenes of the train split."""
    parts = list(_generator(dataset).scenes("train", start, stop, SEED, device))
    return SceneTensors.concatenate(parts).arrays()


def differences(scenes: SceneBatch, others: SceneBatch) -> Differences:
    """The differences between scenes that should be equal."""
    pixels = scenes.images.astype(np.int16) - others.images
    return Differences(
        sum(_unequal(values, others.factors[name]) for name, values in scenes.factors.items()),
        _unequal(scenes.masks, others.masks),
        int(abs(pixels).max()),
        float((abs(pixels) > 1).mean()),
    )


def generate_scenes(dataset: str, start: int, stop: int, device: str) -> None:
    """Generate scenes of the train split batch by batch, and drop them."""
    for _ in _generator(dataset).scenes("train", start, stop, SEED, device):
        pass


@cache
def _generator(dataset: str) -> Generator:
    return generator_of(load_spec().dataset(dataset))


def _candidate(setting: Setting, dataset: str, processes: int, pool: ProcessPoolExecutor | None) -> Candidate:
    scenes, device = setting.scenes(dataset), str(setting.device)
    run: Callable[[], object]
    if pool is None:
        run = partial(generate_scenes, dataset, 0, scenes, device)
    else:
        run = partial(_at_once, pool, processes, dataset, scenes, device)
    return Candidate(f"{dataset}, {processes} {'process' if processes == 1 else 'processes'}", run)


def _at_once(pool: ProcessPoolExecutor, processes: int, dataset: str, scenes: int, device: str) -> None:
    jobs = [
        pool.submit(generate_scenes, dataset, i * scenes, (i + 1) * scenes, device) for i in range(processes)
    ]
    for job in jobs:
        job.result()


def _aim(setting: Setting, dataset: str, processes: int) -> float | None:
    amount = setting.amount(dataset)
    if setting.device.type == "cuda":
        return amount.cuda_aim
    return amount.cpu_aim if processes == AIMED_CORES else None


def _unequal(values: Array, others: Array) -> int:
    return int(np.count_nonzero(values != others))
