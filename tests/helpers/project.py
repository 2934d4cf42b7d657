"""What pyproject.toml says of the project."""

from __future__ import annotations

import tomllib
from typing import Any

from packaging.requirements import Requirement

from helpers.paths import ROOT

PYPROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())
PROJECT = PYPROJECT["project"]
REPOSITORY: str = PROJECT["urls"]["Homepage"]
SITE: str = PROJECT["urls"]["Documentation"]


def requirements() -> list[Requirement]:
    """What it needs, with every extra."""
    extras = PROJECT["optional-dependencies"].values()
    return [Requirement(line) for lines in (PROJECT["dependencies"], *extras) for line in lines]
