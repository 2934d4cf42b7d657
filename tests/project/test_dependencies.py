"""The ranges of dependencies: no upper cap without a known break."""

from __future__ import annotations

from helpers.paths import ROOT
from helpers.project import requirements

# a package -> what breaks from the capped version on
KNOWN_BREAKS: dict[str, str] = {}


def test_no_version_is_capped_without_a_known_break():
    capped = {
        requirement.name
        for requirement in requirements()
        if any(part.operator in ("<", "<=", "==", "~=", "===", "!=") for part in requirement.specifier)
    }
    assert capped == set(KNOWN_BREAKS)


def test_every_dependency_has_a_floor_that_the_tested_version_meets():
    pins = [line for line in (ROOT / "tools/constraints.txt").read_text().splitlines() if "==" in line]
    tested = {name.lower().replace("_", "-"): version for name, version in (pin.split("==") for pin in pins)}
    for requirement in requirements():
        if requirement.name != "objbench":
            assert requirement.specifier, requirement
            if requirement.name.lower() in tested:
                assert requirement.specifier.contains(tested[requirement.name.lower()]), requirement
