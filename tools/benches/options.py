"""Options that several benches share."""

from __future__ import annotations

from argparse import ArgumentParser

from arguments import positive

from objbench.data.workers import available


def add_device(parser: ArgumentParser) -> None:
    """Add --device, as the verbs of objbench have it."""
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N (default auto)")


def add_threads(parser: ArgumentParser) -> None:
    """Add --threads: the thread counts to measure, one after another."""
    parser.add_argument(
        "--threads",
        type=positive,
        nargs="+",
        default=sorted({1, available()}),
        metavar="N",
        help="threads of torch, several to compare them (default 1 and all cores)",
    )
