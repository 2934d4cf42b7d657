"""Requests and plans of small runs on the small prepared data."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from objbench.launch.plan import Plan, make_plan
from objbench.launch.request import RunRequest


def request_of(data: Path, runs: Path, **options: Any) -> RunRequest:
    """Two seeds of toy_geco on tetrominoes, unless other options are given."""
    known = {"methods": ("toy_geco",), "datasets": ("tetrominoes",), "seeds": (0, 1), "device": "cpu"}
    return RunRequest(data=data, runs=runs, **{**known, **options})


def plan_of(data: Path, runs: Path, **options: Any) -> Plan:
    return make_plan(request_of(data, runs, **options))


def die_at_once(*_: object) -> None:
    """In the place of a pool's worker: ends before it has read its first run."""
    os._exit(3)
