"""The command tools/fuzz: trials of all targets, their table, and the command that repeats a failure."""

from __future__ import annotations

import json
import secrets
import shlex
import sys
import tempfile
from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib import import_module
from math import inf
from pathlib import Path
from typing import Any

from arguments import count, minutes, positive
from rich.console import Console

from fuzzing.report import Report, markdown, print_report
from fuzzing.runner import Work, run
from fuzzing.target import Target
from objbench.data.workers import available
from objbench.errors import ObjbenchError, RequestError, unknown_name
from objbench.files import write_atomically
from objbench.os_errors import explain_os_errors

MODULES = ("raw", "own", "prepared", "predicted", "settings", "runs", "used", "downloads", "killed")
INTERRUPTED = 130
_ENDLESS = 10_000_000  # trials
_MEMORY = "/dev/shm" if Path("/dev/shm").is_dir() else None  # where syncing to the disk costs nothing


def main(arguments: Sequence[str]) -> int:
    """Run a command line. Exit codes: 0 no failure, 1 a failure, 2 the request was wrong, 130 Ctrl-C."""
    options = _options().parse_args(arguments)
    try:
        return _run(options, arguments)
    except ObjbenchError as error:
        print(f"tools/fuzz: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("tools/fuzz: interrupted", file=sys.stderr)
        return INTERRUPTED


def all_targets() -> dict[str, Target]:
    """All targets by name."""
    modules = [import_module(f"fuzzing.{name}") for name in MODULES]
    return {target.name: target for module in modules for target in module.targets()}


def _run(options: Namespace, arguments: Sequence[str]) -> int:
    if options.markdown:
        contents = [_report_in(path) for path in options.markdown]
        try:
            print(markdown(contents), end="")
        except (KeyError, TypeError) as error:
            raise RequestError(f"--markdown: not what --json writes ({error!r})") from None
        return 0
    chosen = _chosen(options.only)
    if options.list:
        for target in chosen:
            print(f"{target.name:20} {target.what}")
        return 0
    seed = secrets.randbelow(2**32) if options.seed is None else options.seed
    print(f"seed {seed}", file=sys.stderr)
    with tempfile.TemporaryDirectory(prefix="objbench-fuzz-", dir=_MEMORY) as temporary:
        works = _works(options, chosen, Path(temporary))
        for done, work in enumerate(run(works, seed, options.jobs), 1):
            failed = sum(trial.result.failed for trial in work.trials)
            said = f"{len(work.trials):,} trials, {failed:,} failures"
            print(f"[{done}/{len(works)}] {work.target.name}: {said}", file=sys.stderr, flush=True)
    report = Report(_header(seed, arguments), works)
    if options.json:
        with explain_os_errors(options.json.parent, "--json"):
            write_atomically(options.json, report.as_json())
    if options.trial is not None:
        for work in works:
            for trial in work.trials:
                print(f"{work.target.name} {trial.number}: {trial.result.outcome}\n{trial.result.detail}")
    else:
        print_report(report, Console())
    return 1 if report.failed else 0


def _report_in(path: Path) -> Any:
    """What an earlier --json FILE holds; RequestError or ObjbenchError if it cannot be read."""
    try:
        return json.loads(path.read_bytes())
    except OSError as error:
        raise RequestError(f"--markdown {path}: {error.strerror}") from None
    except ValueError as error:
        raise ObjbenchError(f"--markdown {path}: not what --json writes ({error})") from None


def _chosen(only: str | None) -> list[Target]:
    known = all_targets()
    if only is None:
        return list(known.values())
    found: list[Target] = []
    for name in only.split(","):
        matching = (
            [known[name]] if name in known else [known[key] for key in known if key.startswith(f"{name}-")]
        )
        if not matching:
            raise unknown_name("target", name, known)
        found += [target for target in matching if target not in found]
    return found


def _works(options: Namespace, chosen: Sequence[Target], temporary: Path) -> list[Work]:
    costs = sum(target.cost for target in chosen)
    unlimited = options.trials is None and options.trial is None
    limit = options.minutes or (5.0 if unlimited else inf)
    trials = options.trials or _ENDLESS
    works = []
    for target in chosen:
        numbers = range(max(1, trials // target.cost))
        if options.trial is not None:
            numbers = range(options.trial, options.trial + 1)
        seconds = 60 * limit * options.jobs * target.cost / costs
        works.append(Work(target, temporary / target.name, numbers, seconds))
    return works


def _header(seed: int, arguments: Sequence[str]) -> dict[str, object]:
    from objbench.train.environment import code_version

    return {
        "seed": seed,
        "command": shlex.join(["tools/fuzz", *arguments]),
        "commit": code_version(),
        "date": f"{datetime.now(UTC):%Y-%m-%d}",
    }


def _options() -> ArgumentParser:
    parser = ArgumentParser(
        prog="tools/fuzz", allow_abbrev=False,
        description="Damage every input of objbench, kill its commands, lie to its downloads; count what goes unnoticed.",
    )  # fmt: skip
    parser.add_argument(
        "--minutes", type=minutes, metavar="M", help="time for all targets (default 5, without --trials)"
    )
    parser.add_argument(
        "--trials", type=positive, metavar="N",
        help="the most trials of each target; of kills and of the server, a tenth of them",
    )  # fmt: skip
    parser.add_argument(
        "--trial", type=count, metavar="N", help="only this trial, in full (with --seed and --only)"
    )
    parser.add_argument(
        "--seed", type=count, metavar="S", help="random seed (default: a new one, which is printed)"
    )
    parser.add_argument(
        "--only", metavar="TARGET,...", help="only these targets; a prefix takes all of its kind"
    )
    parser.add_argument(
        "--jobs",
        type=positive,
        default=available(),
        metavar="N",
        help="targets at a time (default: one per core)",
    )
    parser.add_argument(
        "--json", type=Path, metavar="FILE", help="also write counts and failures to this file"
    )
    parser.add_argument("--list", action="store_true", help="list the targets")
    parser.add_argument(
        "--markdown",
        type=Path,
        nargs="+",
        metavar="FILE",
        help="print the tables of earlier --json FILEs as one, in markdown; later ones replace earlier ones",
    )
    return parser
