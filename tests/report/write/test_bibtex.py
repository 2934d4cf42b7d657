"""BibTeX: every entry can be parsed, has what author-year styles need, and the keys that LaTeX cites."""

from __future__ import annotations

import re

import pytest
from helpers.synthetic import record, save

from objbench.report.report import write_report
from objbench.report.request import ReportRequest
from objbench.report.write.bibtex import bibtex
from objbench.spec.load import load_spec
from objbench.spec.published import Reference


def parsed(text):
    """Key -> (type, fields), by a strict reader: braces balance, each field stands once."""
    entries = {}
    for kind, key, body in re.findall(r"@(\w+)\{([^,{}]+),\n((?:  .*\n)*)\}\n", text):
        fields = {}
        for line in body.splitlines():
            name, value = re.fullmatch(r"  (\w+) = \{(.*)\},", line).groups()
            depth = 0
            for sign in re.sub(r"\\[{}]", "", value):
                depth += (sign == "{") - (sign == "}")
                assert depth >= 0
            assert depth == 0
            assert name not in fields
            fields[name] = value
        assert key not in entries
        entries[key] = (kind, fields)
    assert text.count("\n@") + text.startswith("@") == len(entries)
    return entries


def test_every_reference_of_the_benchmark_is_an_entry_with_author_title_and_year():
    references = load_spec().references
    entries = parsed(bibtex(references))
    assert list(entries) == list(references)
    for _, fields in entries.values():
        assert {"author", "title", "year", "url"} <= set(fields)
    kind, fields = entries["vikstrom2022"]
    assert kind == "inproceedings"
    assert fields["author"] == r"Vikstr{\"o}m, Oskar and Ilin, Alexander"
    assert fields["title"] == ("{Learning Explicit Object-Centric Representations with Vision Transformers}")
    assert entries["burgess2019"][0] == "misc"


def test_signs_are_ascii_and_escaped():
    odd = Reference(text="100 % of a_b & {c} \\ 模 é ł", url="https://x.org/a_b%20{c}")
    ((kind, fields),) = parsed(bibtex({"odd": odd})).values()
    assert kind == "misc"
    assert fields["title"] == r"{100 \% of a\_b \& \{c\} \textbackslash{} [U+6A21] {\'e} {\l}}"
    assert fields["url"] == "https://x.org/a_b%20%7Bc%7D"
    assert fields["key"] == "odd"


def test_the_report_writes_all_that_its_latex_cites_and_what_was_measured(tmp_path, capsys):
    save(tmp_path, record(method="genesis_v2"))
    write_report(ReportRequest(spec=load_spec(), runs=tmp_path, format="latex"), print)
    cited = set(re.findall(r"\\cite\{(\w+)\}", capsys.readouterr().out))
    write_report(ReportRequest(spec=load_spec(), runs=tmp_path, bibtex=True), print)
    entries = parsed(capsys.readouterr().out)
    assert cited
    assert set(entries) == cited | {"engelcke2021", "kabra2019"}


def test_a_reference_has_a_text_or_what_makes_one():
    made = Reference(author="A, B and C, D", title="T", year=2020)
    assert made.text == "A and C, T, 2020"
    with pytest.raises(ValueError, match="either a text, or an author and a title"):
        Reference.model_validate({"title": "T"})
