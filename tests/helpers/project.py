"""What pyproject.toml says of the project."""

from __future__ import annotations

import tomllib
from typing import Any

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from helpers.paths import ROOT

PYPROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())
PROJECT = PYPROJECT["project"]
REPOSITORY: str = PROJECT["urls"]["Homepage"]
PYTHONS = [  # in ascending order
    name.rpartition(" ")[2]
    for name in PROJECT["classifiers"]
    if name.startswith("Programming Language :: Python :: 3.")
]
SITE: str = PROJECT["urls"]["Documentation"]


def requirements() -> list[Requirement]:
    """What it needs, with every extra."""
    extras = PROJECT["optional-dependencies"].values()
    return [Requirement(line) for lines in (PROJECT["dependencies"], *extras) for line in lines]


def pins(name: str) -> dict[str, str]:
    """The versions of a file of constraints, by canonical name."""
    lines = [line for line in (ROOT / "tools" / name).read_text().splitlines() if not line.startswith("#")]
    return {canonicalize_name(package): version for package, version in (line.split("==") for line in lines)}
