"""What can be asked for together."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from objbench.errors import RequestError
from objbench.report.request import ReportRequest, format_of
from objbench.report.rows.measured import Selection
from objbench.report.rows.success import Success
from objbench.spec.load import load_spec

FIGURE = {"figure": "3", "output": Path("a.png")}
FAILURES = {"figure": "12", "output": Path("a.png")}
COMPARE = {"compare": ["objmae", "monet"]}


def request(**options):
    return ReportRequest(spec=load_spec(), runs=Path("runs"), **options)


def test_options_are_read():
    read = request(select="top:2:mse", success=None, metrics="mbo,ari,mbo", dataset=["clevr6"], method=None)
    assert read.select == Selection(2, "mse", sign=-1)
    assert read.metrics == ("mbo", "ari")
    assert (read.dataset, read.method, read.success) == (("clevr6",), (), None)
    assert request(success="ari_fg:0.9").success == Success("ari_fg", 0.9)


@pytest.mark.parametrize(
    ("options", "kind"),
    [
        ({}, "datasets"),
        ({"table": "6"}, "table"),
        ({"table": "7"}, "hyper-parameters"),
        (FIGURE, "figure"),
        (FAILURES, "failures"),
        (COMPARE, "compare"),
    ],
)
def test_there_are_six_kinds_of_reports(options, kind):
    assert request(**options).kind == kind


OPTIONS = {
    "method": ["objmae"],
    "seed": 0,
    "metrics": "ari",
    "success": "ari_fg:0.9",
    "definition": "clevrtex",
    "format": "csv",
    "strict": True,
    "all_seeds": True,
    "intervals": True,
}


@pytest.mark.parametrize(
    ("kind", "fitting"),
    [
        ({}, {"metrics", "success", "definition", "format", "strict", "all_seeds", "intervals"}),
        ({"table": "1"}, {"success", "definition", "format", "strict", "all_seeds", "intervals"}),
        ({"table": "7"}, {"format", "strict"}),
        (FIGURE, {"method", "seed"}),
        (FAILURES, {"method", "seed", "success"}),
        (COMPARE, {"metrics", "definition", "format", "strict"}),
    ],
    ids=["datasets", "table", "hyper-parameters", "figure", "failures", "compare"],
)
def test_each_kind_takes_the_options_that_have_a_meaning_for_it(kind, fitting):
    taken = {name for name, value in OPTIONS.items() if is_taken(**kind, **{name: value})}
    assert taken == fitting


def is_taken(**options):
    try:
        request(**options)
    except RequestError:
        return False
    return True


def test_an_option_that_there_is_not_is_a_mistake_of_the_program():
    with pytest.raises(ValidationError):
        request(tabel="1")


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ((None, False, None, False), "terminal"),
        ((None, True, None, False), "json"),
        (("json", True, None, False), "json"),
        (("csv", False, None, False), "csv"),
        ((None, False, Path("x.html"), False), "html"),
        ((None, False, Path("x.MD"), False), "markdown"),
        ((None, False, Path("x.tex"), False), "latex"),
        ((None, False, Path("x.txt"), False), "terminal"),
        (("terminal", False, Path("x.html"), False), "terminal"),
        ((None, True, Path("x.html"), False), "json"),
        ((None, False, Path("x.html"), True), "terminal"),  # a picture has its own kinds of files
    ],
)
def test_the_format_is_what_is_asked_for_or_what_the_file_is_called(given, expected):
    assert format_of(*given) == expected


def test_json_and_another_format_exclude_each_other():
    with pytest.raises(RequestError, match="--json and --format csv exclude each other"):
        format_of("csv", True, None, False)
