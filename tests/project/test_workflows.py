"""The workflow files are valid, and the commands and files that they name exist."""

from __future__ import annotations

import re
import subprocess
import sys
from typing import Any

import pytest
import yaml
from helpers.paths import ROOT
from helpers.project import PROJECT, PYTHONS

WORKFLOWS = sorted((ROOT / ".github/workflows").glob("*.yml"))


def test_there_are_workflows_for_tests_docs_and_releases() -> None:
    assert [path.name for path in WORKFLOWS] == ["docs.yml", "publish.yml", "tests.yml"]


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_it_fits_the_schema_of_workflows(path) -> None:
    command = [
        sys.executable,
        "-m",
        "check_jsonschema",
        "--builtin-schema",
        "vendor.github-workflows",
        str(path),
    ]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    "path", [path for path in WORKFLOWS if path.stem != "publish"], ids=lambda path: path.name
)
def test_the_tools_that_it_runs_exist(path) -> None:
    lines = [line for job in jobs(path.stem).values() for line in runs(job)]
    named = [name for line in lines for name in re.findall(r"tools/[\w.-]+", line)]
    assert named
    assert [name for name in named if not (ROOT / name).is_file()] == []


def jobs(name: str) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((ROOT / f".github/workflows/{name}.yml").read_text())["jobs"]
    return found


def runs(job: dict[str, Any]) -> list[str]:
    return [step["run"] for step in job["steps"] if "run" in step]


def python_of(job: dict[str, Any]) -> str:
    (version,) = [
        step["with"]["python-version"] for step in job["steps"] if "setup-python" in step.get("uses", "")
    ]
    return str(version)


def test_the_tested_versions_are_tried_with_every_python_on_linux_and_macos() -> None:
    job = jobs("tests")["tested"]
    assert job["strategy"]["matrix"] == {"os": ["ubuntu-latest", "macos-latest"], "python": PYTHONS}
    assert python_of(job) == "${{ matrix.python }}"
    assert runs(job)[0] == "tools/test"


@pytest.mark.parametrize(
    ("name", "python", "constraint"),
    [("oldest", PYTHONS[0], ["tools/constraints-oldest.txt"]), ("newest", PYTHONS[-1], [])],
)
def test_the_oldest_and_the_newest_versions_are_tried(name: str, python: str, constraint: list[str]) -> None:
    job = jobs("tests")[name]
    assert python_of(job) == python
    install, test = runs(job)
    assert re.findall(r"--constraint (\S+)", install) == constraint
    assert install.endswith('--editable ".[dev]"')
    assert test.startswith("python -m pytest")


def test_the_oldest_python_is_the_one_that_is_required() -> None:
    assert PROJECT["requires-python"] == f">={PYTHONS[0]}"


@pytest.mark.parametrize(("name", "job"), [("docs", "deploy"), ("publish", "build")])
def test_the_site_and_releases_are_made_with_the_newest_python(name: str, job: str) -> None:
    assert python_of(jobs(name)[job]) == PYTHONS[-1]
