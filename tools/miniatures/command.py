"""The command line of tools/miniature: the plan with its hours, then data, runs, and what is kept of them."""

from __future__ import annotations

import signal
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from pathlib import Path
from subprocess import Popen

from arguments import positive

from miniatures import plan
from miniatures.cost import OTHER_PREPARING, PREPARING, measured_steps, minutes_left
from miniatures.plan import Command, chosen
from miniatures.results import keep_and_report
from objbench.data.format.manifest import prepared
from objbench.errors import ObjbenchError, RequestError
from objbench.folders import DATA_VARIABLE, RUNS_VARIABLE, data_folder, runs_folder
from objbench.spec.datasets import GENERATED
from objbench.spec.load import load_spec
from objbench.spec.schema import Spec
from objbench.train.interrupt import EXIT_CODES, Interrupted, Interrupts
from objbench.train.run_state import run_state

ROOT = Path(__file__).parents[2]


def main(arguments: Sequence[str]) -> int:
    """Run the command.

    Returns:
        0 if all runs are finished; else the exit code of the first command that failed, or of the signal that stopped it.
    """
    options = _parser().parse_args(arguments)
    interrupts = Interrupts()
    interrupts.advice = "the same command goes on"
    try:
        with interrupts.catch():
            spec = load_spec()
            commands = chosen(plan.PARTS[options.part](spec), options.only)
            _print_plan(commands, spec, options)
            return 0 if options.dry_run else _carry_out(commands, spec, options)
    except ObjbenchError as error:
        print(f"tools/miniature: {error}", file=sys.stderr)
        return error.exit_code
    except Interrupted as stop:
        print(f"tools/miniature: {stop}", file=sys.stderr)
        return stop.exit_code


def _parser() -> ArgumentParser:
    parser = ArgumentParser(prog="tools/miniature", description=__doc__, allow_abbrev=False)
    parser.add_argument("part", nargs="?", default="demos", choices=plan.PARTS, help="default: demos")
    parser.add_argument("--dry-run", action="store_true", help="print the plan alone")
    parser.add_argument("--only", action="append", default=[], metavar="METHOD[:VARIANT]", help="repeatable")
    parser.add_argument(
        "--workers", type=positive, metavar="N", help="runs at once; default: one for two processors"
    )
    parser.add_argument(
        "--data", metavar="FOLDER", help=f"prepared datasets; default: ${DATA_VARIABLE}, ./data"
    )
    parser.add_argument("--runs", metavar="FOLDER", help=f"default: ${RUNS_VARIABLE}, ./runs")
    parser.add_argument("--results", type=Path, default=ROOT / "results" / "miniature", metavar="FOLDER")
    return parser


def _print_plan(commands: list[Command], spec: Spec, options: Namespace) -> None:
    """A line for each method on each dataset: seeds, how many are finished, and the hours that the others may take."""
    steps = measured_steps(spec, ROOT / "results", options.results)
    runs = _runs(options)
    print(f"{'dataset':31} {'method':26} {'seeds':>5} {'done':>5} {'hours':>6}")
    total, unknown = 0.0, 0
    for command in commands:
        for method in command.methods:
            each = [run for run in command.runs if run.method == method]
            states = [run_state(runs / run.folder(spec)) for run in each]
            minutes = [minutes_left(run, state, spec, steps) for run, state in zip(each, states, strict=True)]
            known = sum(filter(None, minutes)) / 60
            total, unknown = total + known, unknown + minutes.count(None)
            hours = "?" if None in minutes else f"{known:.1f}"
            done = sum(state.state == "finished" for state in states)
            print(f"{command.dataset:31} {method:26} {len(each):5} {done:5} {hours:>6}")
    missing = _unprepared(commands, spec, options)
    for dataset in missing:
        print(
            f"{dataset:31} {'(to be prepared)':26} {'':11} {PREPARING.get(dataset, OTHER_PREPARING) / 60:6.1f}"
        )
    total += sum(PREPARING.get(dataset, OTHER_PREPARING) for dataset in missing) / 60
    more = f", and {unknown} runs of unknown length" if unknown else ""
    print(
        f"about {total:.1f} hours, one run at a time on one thread{more}; by records and tools/miniatures/cost.py"
    )


def _runs(options: Namespace) -> Path:
    runs = runs_folder(options.runs)
    if not isinstance(runs, Path):
        raise RequestError(f"{runs}: runs are made in a folder of this machine; name one with --runs")
    return runs


def _unprepared(commands: list[Command], spec: Spec, options: Namespace) -> list[str]:
    data = data_folder(options.data)
    names = dict.fromkeys(command.dataset for command in commands)
    return [name for name in names if GENERATED not in prepared(data, spec.dataset(name))]


def _carry_out(commands: list[Command], spec: Spec, options: Namespace) -> int:
    """Carry out one command after another, also after failures, and keep what is finished after each."""
    runs, first = _runs(options), 0
    for command in commands:
        code = _prepare_and_run(command, runs, spec, options)
        keep_and_report(command.runs, runs, options.results / options.part, spec)
        if code in EXIT_CODES.values():  # a signal stopped it
            return code
        first = first or code
    return first


def _prepare_and_run(command: Command, runs: Path, spec: Spec, options: Namespace) -> int:
    for name in _unprepared([command], spec, options):
        if code := _objbench("prepare", [name, "--source", GENERATED], options):
            return code
    if all(run_state(runs / run.folder(spec)).state == "finished" for run in command.runs):
        return 0
    workers = [] if options.workers is None else ["--workers", str(options.workers)]
    where = ["--runs", str(runs), "--launcher", "local", *workers]
    return _objbench("run", [*command.options, *where], options)


def _objbench(verb: str, words: list[str], options: Namespace) -> int:
    """Carry out a command of objbench; where a signal asks to stop, wait until it has stopped."""
    line = [verb, *words, *(["--data", options.data] if options.data else [])]
    print("objbench", *line, file=sys.stderr)
    process = Popen([sys.executable, "-m", "objbench", *line])
    try:
        return process.wait()
    except Interrupted as stop:
        if stop.exit_code != EXIT_CODES[signal.SIGINT]:  # Ctrl-C has reached it too
            process.terminate()
        process.wait()
        raise
