"""What a report can be asked for: options that fit together, checked before any record is read."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, ValidationInfo, field_validator, model_validator

from objbench.errors import RequestError, unknown_name
from objbench.paths import check_output
from objbench.registry import names
from objbench.report.rows.measured import Selection
from objbench.report.rows.row import Row
from objbench.report.rows.success import Success
from objbench.report.tables.hyperparameters import HYPERPARAMETER_TABLES
from objbench.report.tables.paper import PAPER_TABLES
from objbench.scores import MATCHINGS, PROBES, probe_name
from objbench.spec.schema import Spec
from objbench.stored import Strict

_BY_NAME = {
    ".md": "markdown", ".tex": "latex", ".csv": "csv", ".json": "json", ".html": "html", ".htm": "html",
}  # fmt: skip
FORMATS = ("terminal", "markdown", "latex", "csv", "json", "html")
Kind = Literal["datasets", "table", "hyper-parameters", "figure", "failures", "compare", "probes"]
ALL_PROBES = "all"
Names = Annotated[tuple[str, ...], BeforeValidator(lambda given: given or ())]


class OnlyFor:
    """Marks an option that has a meaning only for these kinds of reports."""

    def __init__(self, *kinds: Kind) -> None:
        self.kinds = kinds


class ReportRequest(Strict):
    """The options of `objbench report`: each field after `runs` is the option of that name, as a user gives it.

    Raises:
        RequestError: A name is unknown, or options do not go together.
    """

    spec: Spec
    runs: Path
    dataset: Names = ()
    table: str | None = None
    figure: str | None = None
    method: Annotated[Names, OnlyFor("figure", "failures")] = ()
    seed: Annotated[int | None, OnlyFor("figure", "failures")] = None
    compare: Names = ()
    probes: str | None = None
    metrics: Annotated[Names, OnlyFor("datasets", "compare")] = ()
    select: Selection = Selection()
    success: Annotated[Success | None, OnlyFor("datasets", "table", "failures")] = None
    definition: Annotated[str | None, OnlyFor("datasets", "table", "compare")] = None
    format: Annotated[
        str,
        OnlyFor("datasets", "table", "hyper-parameters", "compare", "probes"),
        Field(validate_default=True),
    ] = "terminal"
    bibtex: Annotated[bool, OnlyFor("datasets", "table")] = False
    output: Path | None = None
    no_published: Annotated[bool, OnlyFor("datasets", "table")] = False
    strict: Annotated[bool, OnlyFor("datasets", "table", "hyper-parameters", "compare")] = False
    all_seeds: Annotated[bool, OnlyFor("datasets", "table")] = False
    intervals: Annotated[bool, OnlyFor("datasets", "table")] = False
    no_titles: Annotated[bool, OnlyFor("figure", "failures")] = False

    @property
    def kind(self) -> Kind:
        """Which kind of report is asked for."""
        if self.compare:
            return "compare"
        if self.probes is not None:
            return "probes"
        if self.figure is not None:
            from objbench.report.figures import FAILURES

            return "failures" if self.figure == FAILURES else "figure"
        if self.table is not None:
            return "hyper-parameters" if self.table in HYPERPARAMETER_TABLES else "table"
        return "datasets"

    def check_names(self, rows: Sequence[Row]) -> None:
        """Refuse datasets and metrics that neither benchmarks.yaml nor any of `rows` knows.

        Raises:
            RequestError: With the closest known name.
        """
        _check_datasets(self.dataset, rows, self.spec)
        known = {*self.spec.all_metrics(), *(name for row in rows for name in row.values)}
        for name in self.metrics:
            if name not in known:
                raise unknown_name("metric", name, known)

    @field_validator("table")
    @classmethod
    def _known_table(cls, number: str | None) -> str | None:
        tables = (*PAPER_TABLES, *HYPERPARAMETER_TABLES)
        if number is not None and number not in tables:
            raise RequestError(f"--table {number}: there are tables {', '.join(tables)}")
        return number

    @field_validator("compare")
    @classmethod
    def _two_methods(cls, methods: tuple[str, ...]) -> tuple[str, ...]:
        if len(methods) not in (0, 2):
            raise RequestError(f"--compare is given twice, once for each method; found {len(methods)}")
        return methods

    @field_validator("metrics", mode="before")
    @classmethod
    def _listed(cls, text: str | None) -> tuple[str, ...]:
        return () if text is None else tuple(dict.fromkeys(text.split(",")))

    @field_validator("probes")
    @classmethod
    def _known_probe(cls, name: str | None) -> str | None:
        known = [ALL_PROBES, *(probe_name(probe, pairs) for probe in PROBES for pairs in MATCHINGS)]
        if name is not None and name not in known:
            raise unknown_name("probe", name, known)
        return name

    @field_validator("select", mode="before")
    @classmethod
    def _selection(cls, text: str, info: ValidationInfo) -> Selection:
        return Selection.parse(text, info.data["spec"])

    @field_validator("success", mode="before")
    @classmethod
    def _threshold(cls, text: str | None, info: ValidationInfo) -> Success | None:
        return Success.parse(text, info.data["spec"]) if text else None

    @field_validator("definition")
    @classmethod
    def _known_definition(cls, name: str | None) -> str | None:
        if name is not None and name not in names("definitions"):
            raise unknown_name("definition", name, names("definitions"))
        return name

    @field_validator("format")
    @classmethod
    def _known_format(cls, name: str) -> str:
        if name not in FORMATS:
            raise unknown_name("format", name, FORMATS)
        return name

    @model_validator(mode="after")
    def _options_go_together(self) -> ReportRequest:
        arranged = [name for name in ("table", "figure", "compare", "probes") if getattr(self, name)]
        if len(arranged) > 1:
            raise RequestError(f"{' and '.join(f'--{name}' for name in arranged)} exclude each other")
        for option, kinds in self._given():
            if self.kind not in kinds:
                if not arranged:
                    raise RequestError(f"{option} is only for --{kinds[0]}")
                number = self.table or self.figure or self.probes or ""
                raise RequestError(f"{option} is not for --{arranged[0]} {number}".rstrip())
        if self.success is not None and self.select.top is not None:
            raise RequestError("--success counts all seeds, --select leaves some out: give one of them")
        if self.bibtex and self.format != "terminal":
            raise RequestError(f"--bibtex and --format {self.format} exclude each other")
        if self.output is None and self.figure is not None:
            raise RequestError(
                f"--figure {self.figure}: name the picture with --output, such as --output fig.png"
            )
        if self.output is None and self.format == "html" and sys.stdout.isatty():
            raise RequestError("--format html: name the page with --output, such as --output report.html")
        if self.output is not None:
            both = self.figure is not None and not self.output.suffix  # a PNG and a PDF
            check_output(self.output.with_suffix(".png") if both else self.output)
        return self

    def _given(self) -> Iterator[tuple[str, tuple[Kind, ...]]]:
        """Each option that was given and is not for every kind of report, with the kinds that it is for."""
        for name, field in type(self).model_fields.items():
            value: Any = getattr(self, name)
            for mark in field.metadata:
                if isinstance(mark, OnlyFor) and value != field.default:
                    told = f" {value}" if name == "format" else ""
                    yield f"--{name.replace('_', '-')}{told}", mark.kinds


def format_of(format: str | None, as_json: bool, output: Path | None, picture: bool) -> str:
    """The format that --format, --json and the name of the file --output together ask for."""
    if as_json and format not in (None, "json"):
        raise RequestError(f"--json and --format {format} exclude each other")
    if as_json or format is not None:
        return format or "json"
    if output is None or picture:
        return "terminal"
    from objbench.report.figures.canvas import FORMATS as PICTURES

    if output.suffix.lower() in PICTURES:
        raise RequestError(
            f"--output {output}: a table is no picture; give it a name that ends in one of {', '.join(_BY_NAME)}, or ask "
            "for a --figure"
        )
    return _BY_NAME.get(output.suffix.lower(), "terminal")


def _check_datasets(datasets: Sequence[str], rows: Sequence[Row], spec: Spec) -> None:
    """A dataset may be known to benchmarks.yaml, to a paper, or to a record."""
    known = {*spec.datasets, *(row.dataset for row in rows)}
    for reference in datasets:
        name, at, protocol = reference.partition("@")
        if name not in known:
            raise unknown_name("dataset", name, known)
        protocols = {row.protocol for row in rows if row.dataset == name and not row.published}
        protocols |= set(spec.datasets[name].protocols) if name in spec.datasets else set()
        if at and protocol not in protocols:
            raise unknown_name(f"protocol of {name}", protocol, protocols)
