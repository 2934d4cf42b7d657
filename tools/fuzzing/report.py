"""The table of trials and failures, for people, for programs and for the documents."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from rich.console import Console
from rich.table import Table

from fuzzing.outcome import FAILURES, Outcome
from fuzzing.runner import Work
from objbench.printable import printable

COLUMNS = tuple(Outcome)
_SHOWN = 3  # failures of a target that are told in full


@dataclass(frozen=True)
class Report:
    """All trials of a command.

    Attributes:
        header: Seed, date, commit and machine.
        works: The targets with their trials.
    """

    header: dict[str, Any]
    works: Sequence[Work]

    @property
    def failed(self) -> bool:
        """Whether any trial failed."""
        return any(trial.result.failed for work in self.works for trial in work.trials)

    def as_json(self) -> str:
        """Counts of each target, and each failure with its message."""
        targets = [
            {"name": work.target.name, "what": work.target.what, "trials": len(work.trials), **_counts(work)}
            | {"failures": _failures(work)}
            for work in self.works
        ]
        return json.dumps({**self.header, "targets": targets}, indent=1) + "\n"


def rows(works: Sequence[Work]) -> list[list[str]]:
    """A row of the table for each target, and the sum."""
    total: Counter[str] = Counter()
    found = []
    for work in works:
        counts = _counts(work)
        total.update(counts)
        found.append([work.target.name, work.target.what, *_cells(counts)])
    return [*found, ["total", "", *_cells(total)]] if len(works) > 1 else found


def print_report(report: Report, console: Console) -> None:
    """The table, never cut, then failures with the command that repeats each."""
    table = Table("target", "trials", *COLUMNS, box=None, pad_edge=False)
    for column in table.columns:
        column.no_wrap, column.justify = True, "right"
    table.columns[0].justify = "left"
    for name, _, *cells in rows(report.works):
        table.add_row(name, *cells)
    console.print(table, width=max(console.width, 110), soft_wrap=True)
    for work in report.works:
        failures = _failures(work)
        for failure in failures[:_SHOWN]:
            console.print(f"\n{work.target.name}: {failure['outcome']}", markup=False, highlight=False)
            console.print(f"  {printable(failure['detail'])}", markup=False, highlight=False, soft_wrap=True)
            console.print(f"  {repeat(report.header['seed'], work, failure['number'])}", soft_wrap=True)
        if len(failures) > _SHOWN:
            console.print(f"  and {len(failures) - _SHOWN:,} more", highlight=False)


def repeat(seed: int, work: Work, number: int) -> str:
    """The command that does exactly this trial."""
    return f"tools/fuzz --seed {seed} --only {work.target.name} --trial {number}"


def markdown(contents: Sequence[dict[str, Any]]) -> str:
    """The commands of reports, given as their JSON, and one table of them all; a later report replaces an earlier."""
    lines = [
        f"- {content['date']}, commit `{content['commit']}`, seed {content['seed']}: `{content['command']}`"
        for content in contents
    ]
    heads = ["target", "what", "trials", *COLUMNS]
    lines += ["", f"| {' | '.join(heads)} |", f"| --- | --- |{' ---: |' * (len(heads) - 2)}"]
    total: Counter[str] = Counter()
    latest = {target["name"]: target for content in contents for target in content["targets"]}
    for target in latest.values():
        counts = {name.value: int(target[name]) for name in COLUMNS}
        total.update(counts)
        lines.append(f"| {' | '.join([target['name'], target['what'], *_cells(counts)])} |")
    lines.append(f"| {' | '.join(['total', '', *_cells(total)])} |")
    return "\n".join(lines) + "\n"


def _counts(work: Work) -> dict[str, int]:
    counts = Counter(trial.result.outcome for trial in work.trials)
    return {outcome.value: counts[outcome] for outcome in Outcome}


def _cells(counts: Counter[str] | dict[str, int]) -> list[str]:
    return [f"{sum(counts.values()):,}", *(f"{counts[outcome.value]:,}" for outcome in COLUMNS)]


def _failures(work: Work) -> list[dict[str, Any]]:
    return [
        {"number": trial.number, "outcome": trial.result.outcome.value, "detail": trial.result.detail}
        for trial in work.trials
        if trial.result.outcome in FAILURES
    ]
