"""The report on stdout: styled on a terminal, aligned text in a pipe."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from objbench.report.rows.measured import Selection, measured_rows
from objbench.report.rows.published import published_rows
from objbench.report.rows.records import FoundRecord, find_records
from objbench.report.rows.row import Row
from objbench.report.tables.build import build
from objbench.report.tables.plan import dataset_plans
from objbench.report.tables.table import Table
from objbench.report.write import text
from objbench.spec.schema import Spec


@dataclass(frozen=True)
class Collected:
    """All rows there are, and one line per file that could not be used."""

    found: list[FoundRecord]
    measured: list[Row]
    published: list[Row]
    skipped: list[str]

    @property
    def rows(self) -> list[Row]:
        """Measured rows, then published ones."""
        return [*self.measured, *self.published]


def collect(spec: Spec, runs: Path, selection: Selection) -> Collected:
    """The rows of the records under `runs` with `selection` applied, and of the published numbers."""
    found = find_records(runs)
    measured = measured_rows(found.records, spec, selection)
    skipped = [*found.skipped, *measured.skipped]
    return Collected(found.records, measured.rows, published_rows(spec), skipped)


def print_report(spec: Spec, runs: Path, datasets: Sequence[str]) -> None:
    """A table on stdout for each of `datasets`, from the records under `runs`, published numbers beside them."""
    collected = collect(spec, runs, Selection())
    for line in collected.skipped:
        print(f"objbench: skipped {line}", file=sys.stderr)
    print_tables([build(plan, spec) for plan in dataset_plans(collected.rows, list(datasets), spec)])


def print_tables(tables: Sequence[Table]) -> None:
    """Tables on stdout, whole whatever its width."""
    if not sys.stdout.isatty():
        sys.stdout.write("\n".join(text.text(table) for table in tables))
        return
    from rich.console import Console

    console = Console()
    for table in tables:
        console.print(*text.rich(table), "", sep="\n")
