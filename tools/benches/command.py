"""The command tools/bench: run a bench, print its table and write its JSON."""

from __future__ import annotations

import sys
from argparse import ArgumentParser
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib import import_module
from pathlib import Path
from typing import Any

from objbench.errors import ObjbenchError, unknown_name

# name -> (module, one line of help). A module has `add_options(parser)` and `measure(options) -> Report`, and is
# imported only when its bench is asked for. The options that every bench has are in `_options`.
BENCHES = {
    "metrics": (
        "benches.metrics",
        "Scoring label maps and arg-max of masks, beside scikit-learn's and others.",
    ),
    "prepare": (
        "benches.prepare",
        "Making shards of TFRecords, beside the PNG encoding alone, and parsing them, beside protobuf.",
    ),
    "generate": (
        "benches.generate",
        "Generating scenes of every dataset before encoding, and that they are the same in any batch or on CUDA.",
    ),
    "likeness": (
        "benches.likeness",
        "Generated CLEVR scenes beside rendered ones: colours, edges, sizes of objects.",
    ),
    "textures": (
        "benches.textures",
        "Generated ClevrTex scenes beside rendered ones: colours, edges, sizes, and how trivial methods score.",
    ),
    "train": (
        "benches.train",
        "The training step of a method: plain, compiled, captured, and the method's own.",
    ),
    "sweep": (
        "benches.sweep",
        "Runs per hour of the pool beside one after another, and what each launcher adds to a run.",
    ),
    "cost": (
        "benches.cost",
        "Operations and memory of a training step of every method and dataset, counted without a device.",
    ),
}
RESULTS = Path(__file__).parents[2] / "build" / "bench"
INTERRUPTED = 130


def main(arguments: Sequence[str]) -> int:
    """Run a command line. Exit codes: 0 success, 1 a check failed, 2 the request was wrong, 130 Ctrl-C."""
    name, *rest = arguments or ["--help"]
    if name in ("-h", "--help"):
        print(_help())
        return 0
    try:
        if name not in BENCHES:
            raise unknown_name("bench", name, BENCHES)
        return _run(name, rest)
    except ObjbenchError as error:
        print(f"tools/bench: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("tools/bench: interrupted", file=sys.stderr)
        return INTERRUPTED


def _run(name: str, arguments: Sequence[str]) -> int:
    module, line = BENCHES[name]
    bench: Any = import_module(module)
    options = _options(name, line, bench).parse_args(arguments)
    from benches.machine import load_average, machine
    from benches.report import Report, Section, as_json, print_report
    from objbench.files import write_atomically
    from objbench.os_errors import explain_os_errors

    path: Path = options.json or RESULTS / f"{name}-{datetime.now(UTC):%Y%m%d-%H%M%S}.json"
    here = machine()
    found: Report = bench.measure(options)
    sections: list[Section] = []
    report = Report(found.parameters, sections)

    def write(finished: bool) -> None:
        here["load_average_at_end"] = load_average()
        with explain_os_errors(path.parent, "--json"):
            path.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(path, as_json(name, here, report, finished))

    for section in found.sections:
        sections.append(section)
        write(finished=False)
    write(finished=True)
    print_report(report, here)
    print(f"every repeat: {path}", file=sys.stderr)
    return 0 if report.passed else 1


def _options(name: str, line: str, bench: Any) -> ArgumentParser:
    from arguments import positive

    parser = ArgumentParser(prog=f"tools/bench {name}", description=line, allow_abbrev=False)
    parser.add_argument("--quick", action="store_true", help="little work and few repeats: a smoke test")
    parser.add_argument(
        "--repeats",
        type=positive,
        metavar="N",
        help="turns of each measurement, in place of the number that the bench chooses",
    )
    parser.add_argument(
        "--json",
        type=Path,
        metavar="PATH",
        help=f"file to write (default {_shown(RESULTS)}/{name}-DATE.json)",
    )
    bench.add_options(parser)
    return parser


def _shown(path: Path) -> Path:
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path


def _help() -> str:
    width = max(map(len, BENCHES))
    return "\n".join(
        [
            "usage: tools/bench NAME [options]",
            "",
            *(f"  {name.ljust(width)}  {line}" for name, (_, line) in BENCHES.items()),
            "",
            "tools/bench NAME --help lists the options of a bench.",
        ]
    )
