"""The folders and files of tests are those of the packages."""

from __future__ import annotations

from pathlib import Path

import pytest
from helpers.paths import ROOT, TESTS

PROJECT = "project"  # tests of README, documents and the whole journey, which belong to no module
PACKAGES = {"objmae": ROOT / "objmae", "tools": ROOT / "tools"}  # all other folders mirror objbench


def module_of(path: Path) -> str | None:
    """The module or package that tests/FOLDER/test_NAME.py tests, None if there is none.

    NAME is its name, possibly followed by an aspect: test_build_best.py tests build.py. The folder's own
    package may be named too.
    """
    first, *rest = path.relative_to(TESTS).parent.parts or ("",)
    package = (
        PACKAGES[first].joinpath(*rest) if first in PACKAGES else (ROOT / "objbench").joinpath(first, *rest)
    )
    words = path.stem.removeprefix("test_").split("_")
    for end in range(len(words), 0, -1):
        name = "_".join(words[:end])
        if (package / f"{name}.py").is_file() or (package / name / "__init__.py").is_file():
            return name
        if package.is_dir() and name == package.name:
            return name
    return None


FILES = [path for path in sorted(TESTS.rglob("test_*.py")) if path.relative_to(TESTS).parts[0] != PROJECT]


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(TESTS)))
def test_every_file_of_tests_names_what_it_tests(path: Path) -> None:
    assert module_of(path)


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("test_random.py", "random"),
        ("train/test_run_folder.py", "run_folder"),
        ("train/test_run_killed.py", "run"),
        ("metrics/test_metrics_golden.py", "metrics"),
        ("data/generate/test_clevr.py", "clevr"),
        ("objmae/test_model.py", "model"),
        ("tools/benches/test_timing.py", "timing"),
        ("test_model.py", None),
        ("cli/test_data_verbs.py", None),
        ("nowhere/test_nowhere.py", None),
    ],
)
def test_a_name_is_a_module_or_a_package(path: str, name: str | None) -> None:
    assert module_of(TESTS / path) == name
