"""YAML that PyYAML takes without a word, or ends on in ways that are no YAMLError."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
import yaml
from helpers.paths import ROOT

from objbench.errors import RequestError
from objbench.spec.yaml_text import parse_yaml

BOMB = "a0: &a0 [x, x]\n" + "".join(f"a{i}: &a{i} [*a{i - 1}, *a{i - 1}]\n" for i in range(1, 60))
MERGED = "a0: &a0 {x: 1}\n" + "".join(f"a{i}: &a{i} {{<<: [*a{i - 1}, *a{i - 1}]}}\n" for i in range(1, 60))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a:\n b: 1\n c: 2\n b: 3", "line 4, column 2: the key 'b' stands in line 2 already"),
        ("a: {b: 1, b: 1}", "line 1, column 11: the key 'b' stands in line 1 already"),
        ("yes: 1\n'a': 1\ntrue: 2", "line 3, column 1: the key 'true' stands in line 1 already"),
        ("a: 1\n'a': 2", "line 2, column 1: the key 'a' stands in line 1 already"),
        ("a: &a {b: *a}", "line 1, column 11: the alias '*a' stands inside of what it refers to"),
        ("a: &a [b, {c: *a}]", "line 1, column 15: the alias '*a' stands inside of what it refers to"),
        (BOMB, "line 19, column 6: its aliases make up more than 1,000,000 values"),
        (MERGED, "its aliases make up more than 1,000,000 values"),
        ("{a: " * 5000, "it is nested too deeply"),
        ("- " * 5000, "it is nested too deeply"),
        ("n: " + "9" * 5000, "line 1, column 4: a value of the type int cannot be read"),
        ("n: 0x" + "9" * 5000, "line 1, column 4: a value of the type int cannot be read"),
        ("n: !!int ''", "line 1, column 4: a value of the type int cannot be read"),
        ("n: !!bool maybe", "line 1, column 4: a value of the type bool cannot be read"),
        ("n: 2020-13-45", "line 1, column 4: a timestamp is neither text nor number; in quotes it is text"),
        ("n: !!set {a}", "line 1, column 4: a set is neither text nor number"),
        ("n: !!python/object/apply:os.getcwd []", "could not determine a constructor for the tag"),
        ("? [a, b]\n: 1", "line 1, column 3: a key must be a word or a number"),
        ("a:\n\tb: 2", "line 2, column 1: while scanning for the next token, found character '\\t'"),
        ("a: 1\n---\nb: 2", "line 2, column 1: expected a single document in the stream"),
        ("a: \x00", "unacceptable character #x0000"),
        ('a: "\\ud800"', "line 1, column 4: a value of the type str cannot be read"),
        ('{b: [{"x\\udfff": 1}]}', "line 1, column 7: a value of the type str cannot be read"),
    ],
)
def test_what_is_wrong_is_told_in_one_line_with_its_place(text: str, message: str) -> None:
    start = time.perf_counter()
    with pytest.raises(RequestError) as error:
        parse_yaml(text)
    assert str(error.value).startswith("not valid YAML: ")
    assert message in str(error.value)
    assert "\n" not in str(error.value)
    assert time.perf_counter() - start < 10


@pytest.mark.parametrize(
    ("text", "content"),
    [
        ("\ufeffa: 1", {"a": 1}),
        ("base: &b {x: 1, y: 2}\ntop: {<<: *b, y: 3}", {"base": {"x": 1, "y": 2}, "top": {"x": 1, "y": 3}}),
        ("{<<: {x: 1}, x: 2}", {"x": 2}),
        ("{<<: [{x: 3}, {x: 5, y: 4}]}", {"x": 3, "y": 4}),
        ("at: 1:30:00\nfor: 1:30.5\nratio: '4:3'", {"at": "1:30:00", "for": "1:30.5", "ratio": "4:3"}),
        (
            "account: 0123\nsteps: -012\nn: [0, 0x1f, 0b11, 0.5]",
            {"account": "0123", "steps": "-012", "n": [0, 31, 3, 0.5]},
        ),
        ("n: 1e3\nm: .inf", {"n": "1e3", "m": float("inf")}),
        ("", None),
    ],
)
def test_what_is_right_is_as_it_was(text: str, content: object) -> None:
    assert parse_yaml(text) == content


@pytest.mark.parametrize("name", ["objbench/benchmarks.yaml", "objmae/benchmarks.yaml"])
def test_the_benchmarks_are_read_as_pyyaml_reads_them(name: str) -> None:
    text = Path(ROOT / name).read_text(encoding="utf-8")
    assert parse_yaml(text) == yaml.safe_load(text)
