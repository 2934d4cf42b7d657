"""The command line: one file per verb, imported only when the verb is used."""

from __future__ import annotations

import sys


def main() -> None:
    """Entry point of the console script `objbench`."""
    try:
        from objbench.cli.main import app
    except KeyboardInterrupt:
        print("objbench: interrupted", file=sys.stderr)
        sys.exit(130)
    app()
