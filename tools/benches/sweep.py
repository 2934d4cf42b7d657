"""The bench `sweep`: runs per hour of the pool beside one after another, and what each launcher adds to a run."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from arguments import positive

from benches.report import Report, Row, Section, Speedup
from benches.timing import Clock, Timing, Turn, quartiles, say, timed, timing_of
from objbench.data.prepare.prepare import prepare
from objbench.data.workers import available
from objbench.errors import ObjbenchError
from objbench.launch.jobs import Job
from objbench.launch.plan import make_plan
from objbench.launch.request import RunRequest
from objbench.records import record_files
from objbench.spec.load import load_spec

METHOD, DATASET, TRIVIAL = "slot_attention:demo", "tetrominoes", "grid"
POOL_AIM = 1.8  # times the runs per hour of one after another, on two cores
SIZES = {"train": 64, "val": 8, "test": 8}
CLOCK = Clock(cpu=lambda: sum(os.times()[:4]))  # with the processes that have ended


@dataclass(frozen=True)
class Way:
    """A way to carry out a sweep.

    Attributes:
        name: For the table.
        sweep: Called with the number of runs and the folder for them.
        threads: Of each run.
    """

    name: str
    sweep: Callable[[int, Path], object]
    threads: int = 1


def add_options(parser: ArgumentParser) -> None:
    """Add the options of this bench."""
    parser.add_argument("--runs", type=positive, metavar="N", help="runs of a sweep (default 4)")
    parser.add_argument("--steps", type=positive, metavar="N", help="training steps of each (default 400)")


def measure(options: Namespace) -> Report:
    """Both sections."""
    runs = max(options.runs or (2 if options.quick else 4), 2)  # a further run needs a first one
    steps = options.steps or (2 if options.quick else 400)
    repeats = options.repeats or (1 if options.quick else 3)
    with tempfile.TemporaryDirectory(prefix="objbench-bench-") as temporary:
        folder = Path(temporary)
        prepare(load_spec().dataset(DATASET), "generated", folder / "data", sizes=SIZES, workers=1)
        sections = [
            throughput(folder, runs, steps, repeats),
            overheads(folder, runs, repeats),
        ]
    return Report(
        {
            "runs": runs,
            "steps": steps,
            "repeats": repeats,
            **{package: version(package) for package in ("submitit", "ray") if _installed(package)},
        },
        sections,
    )


def throughput(folder: Path, runs: int, steps: int, repeats: int) -> Section:
    """The same short trainings by the pool and one after another."""
    workers = available()
    line = (METHOD, "--set", f"recipe.steps={steps}", "--set", "recipe.evaluations=0", "--device", "cpu")
    pool = ("--launcher", "local", "--workers", str(workers))
    plain = _one_after_another(workers)
    ways = [
        Way(plain, partial(_command, folder, line, threads=workers), workers),
        Way(_one_after_another(1), partial(_command, folder, line)),
        Way(f"--launcher local, {workers} workers", partial(_command, folder, (*line, *pool))),
    ]
    say(f"{runs} runs of {METHOD}: {len(ways)} ways, {repeats} repeats each")
    times = _rounds([(way, runs) for way in ways], folder, repeats)
    rows = []
    for way in ways:
        timing = times[way, runs]
        speedup = None
        if way is not ways[0]:
            both = zip(times[ways[0], runs].seconds, timing.seconds, strict=True)
            speedup = Speedup(plain, [a / b for a, b in both], POOL_AIM if way is ways[-1] else None)
        rates = [3600 * runs / seconds for seconds in timing.seconds]
        rows.append(Row(way.name, rates, way.threads, timing, speedup))
    return Section(f"{runs} runs of {METHOD} on {DATASET}, {steps} steps each", "runs/h", rows)


def overheads(folder: Path, runs: int, repeats: int) -> Section:
    """Seconds that each further run takes if its work is next to nothing, one at a time."""
    line = (TRIVIAL, "--device", "cpu")
    local = (*line, "--launcher", "local", "--workers", "1")
    ray = (*line, "--launcher", "ray", "--resources", f"num_cpus={available()}")  # all: one at a time
    ways = [
        Way("plain", partial(_command, folder, line)),
        Way("--launcher local, 1 worker", partial(_command, folder, local)),
    ]
    if _installed("submitit"):
        ways.append(
            Way("--launcher slurm, in submitit's local executor", partial(_submitted, folder / "data"))
        )
    if _installed("ray"):
        ways.append(Way("--launcher ray, a local cluster", partial(_command, folder, ray)))
    say(f"1 and {runs} runs of {TRIVIAL}: {len(ways)} ways, {repeats} repeats each")
    times = _rounds([(way, count) for way in ways for count in (1, runs)], folder, repeats)
    rows = []
    for way in ways:
        one, many = times[way, 1], times[way, runs]
        each = [(b - a) / (runs - 1) for a, b in zip(one.seconds, many.seconds, strict=True)]
        _, alone, _ = quartiles(one.seconds)
        rows.append(Row(way.name, each, 1, many, figures={"s for one run alone": alone}))
    return Section(
        f"A run of {TRIVIAL} on {SIZES['test']} images, one at a time",
        "s for each further run",
        rows,
        note="The run itself is what it takes with plain; one run alone has the start of the command in it.",
    )


def _one_after_another(threads: int) -> str:
    return f"one after another, {threads} thread{'s' * (threads > 1)}"


def _rounds(sweeps: Sequence[tuple[Way, int]], folder: Path, repeats: int) -> dict[tuple[Way, int], Timing]:
    """Time every sweep once per round, in an order that turns, each in a fresh folder."""
    turns: dict[tuple[Way, int], list[Turn]] = {sweep: [] for sweep in sweeps}
    for number in range(repeats):
        for way, runs in [*sweeps[number % len(sweeps) :], *sweeps[: number % len(sweeps)]]:
            results = folder / "runs"
            turn = timed(partial(way.sweep, runs, results), CLOCK)
            made = len([*record_files(results)])
            if made != runs:
                raise ObjbenchError(f"{way.name}: {made} of {runs} runs were finished")
            shutil.rmtree(results)
            turns[way, runs].append(turn)
            say(f"  {way.name}, {runs} runs: {turn.seconds:.1f} s")
    return {sweep: timing_of(taken) for sweep, taken in turns.items()}


def _command(folder: Path, line: Sequence[str], runs: int, results: Path, threads: int = 1) -> None:
    """The command line, as a person types it."""
    command = [sys.executable, "-m", "objbench", "run", *line, "--dataset", DATASET, "--seeds", str(runs)]
    where = ["--data", str(folder / "data"), "--runs", str(results)]
    environment = os.environ | {"OMP_NUM_THREADS": str(threads)}
    environment.pop("RAY_ADDRESS", None)
    done = subprocess.run([*command, *where], env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise ObjbenchError(f"{' '.join(command)}: exit code {done.returncode}: {done.stderr.strip()}")


def _submitted(data: Path, runs: int, results: Path) -> None:
    """Jobs of submitit, a process each, one after another."""
    import submitit

    request = RunRequest(
        data=data,
        runs=results,
        methods=(TRIVIAL,),
        datasets=(DATASET,),
        seeds=tuple(range(runs)),
        device="cpu",
    )
    executor = submitit.LocalExecutor(results / ".jobs")
    for planned in make_plan(request).runs:
        job = executor.submit(Job(request.elsewhere(), planned.task))
        while not job.done() or job.state == "RUNNING":  # its process, too, has ended
            time.sleep(0.02)
        if (error := job.exception()) is not None:
            raise ObjbenchError(f"{planned.task}: {error}")


def _installed(package: str) -> bool:
    try:
        version(package)
    except PackageNotFoundError:
        return False
    return True
