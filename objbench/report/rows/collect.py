"""All rows that a report can show: measured ones from the records under a folder, and published ones."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from objbench.records import find_records
from objbench.report.rows.measured import Selection, measured_rows
from objbench.report.rows.published import published_rows
from objbench.report.rows.row import Measured, Published, Row
from objbench.spec.schema import Spec


@dataclass(frozen=True)
class Collected:
    """All rows, and one line per file that could not be used."""

    measured: list[Measured]
    published: list[Published]
    skipped: list[str]

    @property
    def rows(self) -> list[Row]:
        """Measured rows, then published ones."""
        return [*self.measured, *self.published]


def collect(spec: Spec, runs: Path, selection: Selection) -> Collected:
    """Collect the rows of the records under `runs`, with `selection` applied, and of the published numbers."""
    found = find_records(runs)
    measured = measured_rows(found.records, spec, selection)
    return Collected(measured.rows, published_rows(spec), [*found.skipped, *measured.skipped])
