"""The command line: one file per verb, imported only when the verb is used."""

from __future__ import annotations


def main() -> None:
    """Entry point of the console script `objbench`."""
    from objbench.cli.main import app

    app()
