"""The version is written in objbench/__init__.py; what repeats it agrees."""

from __future__ import annotations

import yaml
from helpers.paths import ROOT

import objbench


def test_the_citation_is_of_this_version():
    assert yaml.safe_load((ROOT / "CITATION.cff").read_text())["version"] == objbench.__version__
