"""Targets: the commands that are killed, and what each of them needs."""

from __future__ import annotations

import gzip
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from random import Random

import numpy as np

from fuzzing.kills import KillTarget
from fuzzing.liar import Answer, Plan, lying
from fuzzing.raw import RAW, RECORDS, scenes
from fuzzing.runs import DATASET, RUN, SIZES, build_run, seed_of
from objbench.data.prepare.prepare import prepare
from objbench.spec.load import load_spec

_DATA, _RUNS = ("--data", "{}/data"), ("--runs", "{}/runs")
_MANY = {"train": 120, "val": 20, "test": 40}
_SHARDS = "datasets: {tetrominoes: {scenes_per_shard: 30}}\n"
_COPIES = 12  # of the ten records in the fixture


def targets() -> Iterator[KillTarget]:
    """The targets of this module."""
    split = tuple(word for name, size in _MANY.items() for word in (f"--{name}", str(size)))
    common = ("prepare", "tetrominoes", *_DATA, "--config", "{}/mine.yaml")
    few = ("--train", "60", "--val", "20", "--test", "40")
    generated = (*common, "--source", "generated", *split, "--workers")
    released = (*common, "--source", "deepmind", *few, "--workers")
    raw = ("--raw", f"{{}}/raw/{RAW}")
    yield KillTarget(
        "kill-prepare",
        "prepare, generated, 1 and 2 workers, killed",
        _build_yaml,
        tuple((*generated, workers) for workers in "12"),
    )
    yield KillTarget(
        "kill-prepare-raw",
        "prepare, TFRecord, 1 and 2 workers, killed",
        _build_raw,
        tuple((*released, workers, *raw) for workers in "12"),
    )
    yield KillTarget("kill-run", "run, killed", _build_data, ((*map(str, RUN), *_DATA, *_RUNS),))
    yield KillTarget(
        "kill-evaluate-run",
        "evaluate RUN, killed",
        _build_finished,
        (("evaluate", "{}/run/seed-0", "--dataset", "tetrominoes", *_DATA, *_RUNS),),
    )
    yield KillTarget(
        "kill-evaluate",
        "evaluate PREDICTIONS, killed",
        _build_predictions,
        (("evaluate", "{}/masks.npz", "--dataset", DATASET, *_DATA, *_RUNS),),
    )
    port = _free_port()
    yield KillTarget(
        "kill-download",
        "download from a slow server, killed",
        partial(_build_download, port=port),
        ((*released, "1"),),
        partial(_slow_server, port=port),
    )


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _build_yaml(folder: Path) -> None:
    (folder / "mine.yaml").write_text(_SHARDS)


def _build_raw(folder: Path) -> None:
    _build_yaml(folder)
    (folder / "raw").mkdir()
    (folder / "raw" / RAW).write_bytes(_records())


def _records() -> bytes:
    return gzip.compress(gzip.decompress(RECORDS.read_bytes()) * _COPIES, 1, mtime=0)


def _build_data(folder: Path) -> None:
    prepare(load_spec().dataset(DATASET), "generated", folder / "data", sizes=SIZES, workers=1)
    scenes(DATASET, tuple(SIZES), folder / "data")


def _build_finished(folder: Path) -> None:
    """A finished run and a second dataset."""
    build_run(folder)
    (folder / "run").mkdir()
    seed_of(folder).rename(folder / "run" / "seed-0")
    prepare(load_spec().dataset("tetrominoes"), "generated", folder / "data", sizes=SIZES, workers=1)
    scenes("tetrominoes", ("test",), folder / "data")


def _build_predictions(folder: Path) -> None:
    _build_data(folder)
    random = np.random.default_rng(1)
    np.savez(folder / "masks.npz", masks=random.integers(0, 4, (SIZES["test"], 35, 35)).astype(np.uint8))


def _build_download(folder: Path, port: int) -> None:
    block = f"{{download: {{folder: deepmind, urls: ['http://127.0.0.1:{port}/'], files: [{RAW}]}}}}"
    (folder / "mine.yaml").write_text(
        f"datasets: {{tetrominoes: {{scenes_per_shard: 30, sources: {{deepmind: {block}}}}}}}\n"
    )


@contextmanager
def _slow_server(folder: Path, port: int) -> Iterator[None]:
    """A server of the records that takes about a second for them, in a process of its own."""
    content = _records()

    def slowly(answer: Answer, random: Random) -> Answer:
        time.sleep(len(answer.body) / len(content))
        return answer

    with lying(port) as liar:
        liar.plan = Plan(content, slowly, Random(), 0, float("inf"))
        yield
