"""tools/demo, test, bench, fuzz, paper, miniature and tables say what is missing on a machine that cannot run them."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from helpers.paths import TOOLS
from helpers.project import pins
from packaging.utils import canonicalize_name


@pytest.mark.parametrize("tool", ["demo", "test", "bench", "fuzz", "paper", "miniature", "tables"])
def test_an_old_python_is_refused_with_a_remedy(tmp_path, tool):
    old = tmp_path / "python"
    old.write_text('#!/bin/sh\n[ "$1" = --version ] && echo "Python 3.8.10"\nexit 1\n')
    old.chmod(0o755)
    places = {"OBJBENCH_PYTHON": str(old), "OBJBENCH_VENV": str(tmp_path / "venv")}
    done = subprocess.run([TOOLS / tool], env=os.environ | places, capture_output=True, text=True)
    assert done.returncode == 1
    assert "objbench needs Python 3.11 or newer; found: Python 3.8.10" in done.stderr
    assert "OBJBENCH_PYTHON=" in done.stderr
    assert not (tmp_path / "venv").exists()


@pytest.mark.parametrize(("installed", "kept"), [("", set()), ("torch", set()), ("torch triton", {"triton"})])
def test_torch_stays_and_so_does_the_triton_that_came_with_it(tmp_path, installed, kept):
    """torch's builds for CUDA need one version of Triton; the tested one may be another."""
    (tmp_path / "venv/bin").mkdir(parents=True)
    for name, answer in [
        ("python", '[ "$1" != -c ] || [[ " $INSTALLED " = *" ${2#import } "* ]]'),
        ("pip", ":"),
    ]:
        (tmp_path / "venv/bin" / name).write_text(f"#!/usr/bin/env bash\n{answer}\n")
        (tmp_path / "venv/bin" / name).chmod(0o755)
    places = {
        "OBJBENCH_PYTHON": sys.executable,
        "OBJBENCH_VENV": str(tmp_path / "venv"),
        "INSTALLED": installed,
    }
    command = ["bash", "-euo", "pipefail", "-c", f"source {TOOLS}/env.sh; setup_venv dev"]
    done = subprocess.run(command, env=os.environ | places, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    constraints = (tmp_path / "venv/constraints.txt").read_text().splitlines()
    found = {line.partition("==")[0] for line in constraints if not line.startswith("#")}
    assert set(pins("constraints.txt")) - {canonicalize_name(name) for name in found} == {"torch"} | kept
