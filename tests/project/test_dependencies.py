"""The ranges of dependencies: no upper cap without a known break."""

from __future__ import annotations

from helpers.project import pins, requirements
from packaging.utils import canonicalize_name
from packaging.version import Version

# a package -> what breaks from the capped version on
KNOWN_BREAKS: dict[str, str] = {}
NOT_IN_DEV = {"ray", "trackio"}  # extras that need too much for every test run, or other versions


def test_no_version_is_capped_without_a_known_break():
    capped = {
        requirement.name
        for requirement in requirements()
        if any(part.operator in ("<", "<=", "==", "~=", "===", "!=") for part in requirement.specifier)
    }
    assert capped == set(KNOWN_BREAKS)


def test_every_dependency_has_a_floor_that_the_tested_version_meets():
    tested = pins("constraints.txt")
    for requirement in requirements():
        if requirement.name != "objbench":
            assert requirement.specifier, requirement
            if (name := canonicalize_name(requirement.name)) in tested:
                assert requirement.specifier.contains(tested[name]), requirement


def test_every_floor_is_the_version_that_the_oldest_set_has():
    """A floor that nobody tries is not true for long. What no test needs is not in the set."""
    oldest, floors = pins("constraints-oldest.txt"), {}
    for requirement in requirements():
        (floor,) = [Version(part.version) for part in requirement.specifier] or [None]
        floors[canonicalize_name(requirement.name)] = floor
    del floors["objbench"]
    assert {name for name in floors if name not in oldest} == NOT_IN_DEV
    assert {name: Version(oldest[name]) for name in floors if name in oldest} == {
        name: floor for name, floor in floors.items() if name in oldest
    }
