"""README is short, and its table of what the project holds is true."""

from __future__ import annotations

import re

import yaml
from helpers.paths import ROOT

from objbench.registry import BUILT_IN

README = (ROOT / "README.md").read_text()
BLOCKS = yaml.safe_load((ROOT / "benchmarks.yaml").read_text())
METHODS = BLOCKS["methods"] | yaml.safe_load((ROOT / "objmae/benchmarks.yaml").read_text())["methods"]


def names(title: str) -> list[str]:
    """What the row of the table names, in alphabetical order."""
    (cell,) = re.findall(rf"^\| {title} \| ([^;\n]*)[^\n]* \|$", README, re.MULTILINE)
    return sorted(re.findall(r"`(\w+)`", cell))


def methods(trivial: bool) -> list[str]:
    return sorted(name for name, block in METHODS.items() if (block["group"] == "trivial") == trivial)


def test_a_reader_gets_through_it() -> None:
    assert len(README.splitlines()) <= 120


def test_it_names_every_dataset() -> None:
    assert names("datasets") == sorted(BLOCKS["datasets"])


def test_it_names_every_method_as_one_that_learns_or_not() -> None:
    assert names("methods that learn") == methods(trivial=False)
    assert names("methods that do not") == methods(trivial=True)


def test_it_names_every_metric() -> None:
    assert names("metrics") == sorted(BUILT_IN["metrics"])
