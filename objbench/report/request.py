"""What a report may be asked for: options that fit together, read and checked before any record is."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from objbench.errors import RequestError, unknown_name
from objbench.registry import names
from objbench.report.rows.measured import Selection
from objbench.report.rows.row import Row
from objbench.report.rows.success import Success
from objbench.report.tables.hyperparameters import SETTINGS_TABLES
from objbench.report.tables.paper import PAPER_TABLES
from objbench.spec.schema import Spec

FORMATS = ("terminal", "markdown", "latex", "csv", "json", "html")


@dataclass(frozen=True)
class Ask:
    """The options of `objbench report`: a table of the paper, a figure of it, a comparison, or a table per dataset."""

    datasets: list[str]
    table: str | None
    figure: str | None
    methods: list[str]
    seed: int | None
    compare: list[str]
    metrics: list[str]
    selection: Selection
    success: Success | None
    definition: str | None
    format: str
    output: Path | None
    strict: bool
    all_seeds: bool
    intervals: bool

    @classmethod
    def read(
        cls,
        datasets: Sequence[str] | None,
        table: str | None,
        figure: str | None,
        methods: Sequence[str] | None,
        seed: int | None,
        compare: Sequence[str] | None,
        metrics: str | None,
        select: str,
        success: str | None,
        definition: str | None,
        format: str | None,
        as_json: bool,
        output: Path | None,
        strict: bool,
        all_seeds: bool,
        intervals: bool,
        spec: Spec,
    ) -> Ask:
        """The options as they were given; RequestError for an unknown name and for what does not go together."""
        ask = cls(
            datasets=list(datasets or []),
            table=table,
            figure=figure,
            methods=list(methods or []),
            seed=seed,
            compare=list(compare or []),
            metrics=list(dict.fromkeys(metrics.split(","))) if metrics is not None else [],
            selection=Selection.parse(select, spec),
            success=Success.parse(success, spec) if success else None,
            definition=definition,
            format=_format(format, as_json),
            output=output,
            strict=strict,
            all_seeds=all_seeds,
            intervals=intervals,
        )
        ask._check_names()
        ask._check_together(format if format or not as_json else "json")
        return ask

    @property
    def settings(self) -> bool:
        """Whether the table asked for is one of hyper-parameters, for which no record is needed."""
        return self.table in SETTINGS_TABLES

    def _check_names(self) -> None:
        tables = (*PAPER_TABLES, *SETTINGS_TABLES)
        if self.table is not None and self.table not in tables:
            raise RequestError(f"--table {self.table}: there are tables {', '.join(tables)}")
        if self.definition is not None and self.definition not in names("definitions"):
            raise unknown_name("definition", self.definition, names("definitions"))
        if self.compare and len(self.compare) != 2:
            raise RequestError(
                f"--compare is given twice, once for each method, not {len(self.compare)} times"
            )

    def _check_together(self, format: str | None) -> None:
        given = {"--table": self.table, "--figure": self.figure, "--compare": self.compare}
        several = [option for option, value in given.items() if value]
        if len(several) > 1:
            raise RequestError(f"{' and '.join(several)} exclude each other")
        if self.success is not None and self.selection.top is not None:
            raise RequestError("--success counts all seeds, --select leaves some out: give one of them")
        if not self.figure and (self.methods or self.seed is not None):
            raise RequestError(f"{'--method' if self.methods else '--seed'} is for --figure")
        if self.metrics and (self.figure or self.table):
            raise RequestError(f"--metrics is not for {several[0]} {self.table or self.figure}")
        what = several[0] if self.figure or self.compare else f"--table {self.table}" if self.settings else ""
        unused = {
            "--success": self.success and not self._draws_failures() and what,
            "--strict": self.strict and self.figure,
            "--all-seeds": self.all_seeds and what,
            "--intervals": self.intervals and what,
            "--definition": self.definition and (self.figure or self.settings),
            f"--format {format}": format and self.figure,
        }
        for option, refused in unused.items():
            if refused:
                raise RequestError(f"{option} is not for {what}")
        self._check_output()

    def _draws_failures(self) -> bool:
        from objbench.report.figures import FAILURES

        return self.figure == FAILURES

    def _check_output(self) -> None:
        if self.output is None and self.figure:
            raise RequestError(
                f"--figure {self.figure}: name the picture with --output, such as --output fig.png"
            )
        if self.output is None and self.format == "html" and sys.stdout.isatty():
            raise RequestError("--format html: name the page with --output, such as --output report.html")


def check_datasets(datasets: Sequence[str], rows: Sequence[Row], spec: Spec) -> None:
    """A dataset may be known to benchmarks.yaml, to a paper, or to a record; RequestError for any other."""
    known = {*spec.datasets, *(row.dataset for row in rows)}
    for reference in datasets:
        name, at, protocol = reference.partition("@")
        if name not in known:
            raise unknown_name("dataset", name, known)
        protocols = {row.protocol for row in rows if row.dataset == name and not row.published}
        protocols |= set(spec.datasets[name].protocols) if name in spec.datasets else set()
        if at and protocol not in protocols:
            raise unknown_name(f"protocol of {name}", protocol, protocols)


def check_metrics(metrics: Sequence[str], rows: Sequence[Row], spec: Spec) -> None:
    """A metric may have a block, be registered, or stand in a record; RequestError for any other."""
    known = [*spec.all_metrics(), *(name for row in rows for name in row.values)]
    for name in metrics:
        if name not in known:
            raise unknown_name("metric", name, dict.fromkeys(known))


def _format(name: str | None, as_json: bool) -> str:
    if name is not None and name not in FORMATS:
        raise unknown_name("format", name, FORMATS)
    if as_json and name not in (None, "json"):
        raise RequestError(f"--json and --format {name} exclude each other")
    return "json" if as_json else name or "terminal"
