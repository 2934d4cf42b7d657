"""tools/demo, test, bench, fuzz, paper, miniature and tables say what is missing on a machine that cannot run them."""

from __future__ import annotations

import os
import subprocess

import pytest
from helpers.paths import TOOLS


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
