"""The paper-scale runs of objmae on generated data, made in slices of time.

A run with a record under --results is finished. Of each finished seed the record, curves, per-image scores and picture
are copied there, and the weights if they are small. When the time is over, the current run takes a checkpoint and ends; the
same command resumes it, if --runs is the same.
"""

from __future__ import annotations

import subprocess
import sys
import time
from argparse import ArgumentParser
from collections.abc import Iterator
from contextlib import suppress
from fnmatch import fnmatch
from pathlib import Path
from typing import NamedTuple

from arguments import minutes
from kept import keep

from objbench.records import RECORD
from objbench.spec.datasets import GENERATED
from objbench.spec.load import load_spec
from objbench.spec.resolve import parse_assignments, resolve
from objbench.train.checkpoint import WEIGHTS
from objbench.train.run_folder import seed_folder

ROOT = Path(__file__).parents[1]
WEIGHTS_AT_MOST = 16 << 20
GRACE = 60.0  # seconds for the checkpoint of a run whose time is over


class Run(NamedTuple):
    """One seed of a method on a dataset."""

    method: str
    dataset: str
    seed: int
    precision: str = "bf16"

    @property
    def label(self) -> str:
        """The text that --only is matched against."""
        return f"{self.dataset}/{self.method}/{self.precision}/seed-{self.seed}"

    @property
    def assignment(self) -> str:
        """The setting that differs from benchmarks.yaml."""
        return f"recipe.precision={self.precision}"

    @property
    def folder(self) -> Path:
        """The folder under --runs and under --results."""
        spec = load_spec()
        dataset = spec.dataset(self.dataset)
        method = resolve(spec, self.method, dataset, parse_assignments([self.assignment]))
        return seed_folder(Path(), self.dataset, GENERATED, method.label, self.seed)


def planned() -> Iterator[Run]:
    """All runs in the order in which they are needed.

    One seed of Tetrominoes in each precision shows whether bfloat16 is sufficient. Both presets of the entropy weights,
    on the two datasets with cheap seeds, show which preset the paper used. Then come the other datasets and the ablations
    of Tables 4 to 6.
    """
    yield Run("objmae", "tetrominoes", 0, "fp32")
    for dataset in ("tetrominoes", "multi_dsprites"):
        for method in ("objmae", "objmae:code_weights"):
            yield from (Run(method, dataset, seed) for seed in range(5))
    yield from (Run("objmae", "clevr6", seed) for seed in range(5))
    ablations = ("no_object_entropy", "no_pixel_entropy", "no_entropy", "no_masking")
    for dataset in ("tetrominoes", "multi_dsprites", "clevr6"):
        for ablation in ablations:
            yield from (Run(f"objmae:{ablation}", dataset, seed) for seed in range(5))


def main(arguments: list[str]) -> int:
    """Run the command. Returns 0 if no run is left or the time is over, else the exit code of the failed run."""
    options = _parser().parse_args(arguments)
    end = time.monotonic() + 60 * options.minutes if options.minutes else None
    left = [run for run in planned() if fnmatch(run.label, options.only)]
    if not left:
        print(f"tools/paper: --only {options.only}: no such run; --list names all", file=sys.stderr)
        return 2
    left = [run for run in left if not (options.results / run.folder / RECORD).exists()]
    if options.list:
        print("\n".join(run.label for run in left))
        return 0
    while left:
        together = [run for run in left if run._replace(seed=0) == left[0]._replace(seed=0)]
        code = _train(together, options.runs, options.extra, end)
        for run in together:
            _keep(options.runs / run.folder, options.results / run.folder)
        if code is None:
            print("the time is over; the same command goes on", file=sys.stderr)
            return 0
        if code:
            return code
        left = left[len(together) :]
    return 0


def _parser() -> ArgumentParser:
    parser = ArgumentParser(prog="tools/paper", description=__doc__, allow_abbrev=False)
    parser.add_argument("--list", action="store_true", help="print the runs that have no record yet")
    parser.add_argument("--only", default="*", metavar="PATTERN", help="e.g. 'tetrominoes/objmae/*'")
    parser.add_argument(
        "--minutes", type=minutes, metavar="M", help="stop after so long; default: when all is done"
    )
    parser.add_argument("--results", type=Path, default=ROOT / "results" / "paper", metavar="FOLDER")
    parser.add_argument("--runs", type=Path, default=Path("runs"), metavar="FOLDER")
    parser.add_argument("extra", nargs="*", metavar="-- OPTION", help="handed on to objbench run, after --")
    return parser


def _train(runs: list[Run], folder: Path, extra: list[str], end: float | None) -> int | None:
    """Train seeds of one method in one process, which generates their scenes once. Returns None if the time is over."""
    method, dataset, *_ = runs[0]
    seeds = (
        [f"--seeds={','.join(str(run.seed) for run in runs)}"]
        if len(runs) > 1
        else [f"--seed={runs[0].seed}"]
    )
    where = ["--dataset", dataset, "--source", GENERATED, "--in-memory", "--runs", str(folder)]
    where += ["--set", runs[0].assignment]
    command = [sys.executable, "-m", "objbench", "run", method, *where, *seeds, *extra]
    print("objbench", *command[3:], file=sys.stderr)
    process = subprocess.Popen(command)
    try:
        return process.wait(None if end is None else max(end - time.monotonic(), 0))
    except subprocess.TimeoutExpired:
        process.terminate()  # it takes a checkpoint at its next step: the last one may be minutes old
        with suppress(subprocess.TimeoutExpired):
            process.wait(GRACE)
        return None
    finally:
        process.kill()
        process.wait()


def _keep(run: Path, result: Path) -> None:
    weights = run / WEIGHTS
    keep(run, result, weights.exists() and weights.stat().st_size <= WEIGHTS_AT_MOST)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
