"""The container: what its file names exists and reaches the build; where docker runs, it is built and tried."""

from __future__ import annotations

import re
import shutil
import subprocess

import pytest
from helpers.paths import ROOT

DOCKERFILE = (ROOT / "Dockerfile").read_text()


def docker_runs() -> bool:
    docker = shutil.which("docker")
    return docker is not None and subprocess.run([docker, "info"], capture_output=True).returncode == 0


def test_what_is_copied_exists_and_is_not_ignored() -> None:
    copied = [name for line in re.findall(r"^COPY (.+) \S+$", DOCKERFILE, re.M) for name in line.split()]
    assert {"pyproject.toml", "objbench", "objmae"} <= set(copied)
    assert [name for name in copied if not (ROOT / name).exists()] == []
    kept = [line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")]
    assert sorted(kept) == sorted(copied)


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.skipif(not docker_runs(), reason="docker does not run here")
def test_the_container_is_built_and_lists_the_methods() -> None:
    subprocess.run(["docker", "build", "-t", "objbench-test", str(ROOT)], check=True)
    command = ["docker", "run", "--rm", "objbench-test", "list", "methods"]
    assert "objmae" in subprocess.run(command, check=True, capture_output=True, text=True).stdout
