"""Requests, plans and results of small runs on the small prepared data."""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path
from typing import Any

from objbench.launch.plan import Plan, make_plan
from objbench.launch.request import RunRequest

LONG = ("--set", "recipe.steps=1000", "--set", "recipe.log_steps=5", "--set", "recipe.evaluations=0")


def request_of(data: Path, runs: Path, **options: Any) -> RunRequest:
    """Two seeds of toy_geco on tetrominoes, unless other options are given."""
    known = {"methods": ("toy_geco",), "datasets": ("tetrominoes",), "seeds": (0, 1), "device": "cpu"}
    return RunRequest(data=data, runs=runs, **{**known, **options})


def plan_of(data: Path, runs: Path, **options: Any) -> Plan:
    return make_plan(request_of(data, runs, **options))


def results(folder: Path) -> dict[str, bytes]:
    """What must not differ between two ways to the same runs."""
    paths = sorted(folder.rglob("model.safetensors")) + sorted(folder.rglob("metrics.jsonl"))
    return {str(path.relative_to(folder)): path.read_bytes() for path in paths}


def working(process: subprocess.Popen[str], runs: Path, count: int = 2) -> list[Path]:
    """The folders of the runs of a process, as soon as `count` have a log."""
    while process.poll() is None:
        logs = [path for path in runs.rglob("metrics.jsonl") if path.stat().st_size]
        if len(logs) == count:
            return sorted(path.parent for path in logs)
        time.sleep(0.02)
    raise AssertionError(process.communicate())


def die_at_once(*_: object) -> None:
    """In the place of a pool's worker: ends before it has read its first run."""
    os._exit(3)
