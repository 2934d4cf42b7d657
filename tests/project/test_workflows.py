"""The workflow files are valid, and the commands and files that they name exist."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest
import yaml
from helpers.paths import ROOT

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
    jobs = yaml.safe_load(path.read_text())["jobs"]
    lines = [step["run"] for job in jobs.values() for step in job["steps"] if "run" in step]
    named = [name for line in lines for name in re.findall(r"tools/[\w.]+", line)]
    assert named
    assert [name for name in named if not (ROOT / name).is_file()] == []
