"""What a result depends on besides its configuration: the device, and the versions of objbench and torch."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import NamedTuple, Self

import torch

import objbench
from objbench.device import describe
from objbench.records import in_turn

_OTHER_REPOSITORY = ("GIT_DIR", "GIT_WORK_TREE", "GIT_COMMON_DIR", "GIT_INDEX_FILE", "GIT_OBJECT_DIRECTORY")


class Environment(NamedTuple):
    """What one process computes on and with, as a record has it. It changes the last bits of sums, so it is recorded."""

    device: str
    code_version: str
    torch_version: str

    @classmethod
    def now(cls, device: torch.device, processes: int = 1) -> Self:
        """The environment of this process, or of several that share a run on devices of the same kind."""
        name = describe(device) if processes == 1 else f"{processes} x {describe(device)}"
        return cls(name, code_version(), str(torch.__version__))


def joined(environments: Iterable[Environment]) -> Environment:
    """All environments in one: the different values of each field, in order.

    >>> joined([Environment("cpu", "0.1", "2.4"), Environment("H100", "0.1", "2.4")])
    Environment(device='cpu, then H100', code_version='0.1', torch_version='2.4')
    """
    return Environment(*map(in_turn, zip(*environments, strict=True)))


def _of_this_repository() -> dict[str, str]:
    """The environment without what names another repository, as git sets it in hooks."""
    return {name: value for name, value in os.environ.items() if name not in _OTHER_REPOSITORY}


@cache
def code_version() -> str:
    """The version of objbench, followed by the commit if it runs from a checkout."""
    root = Path(__file__).parents[2]
    if not (root / ".git").exists():
        return objbench.__version__
    command = ["git", "-C", str(root), "describe", "--always", "--dirty", "--abbrev=12"]
    try:
        commit = subprocess.run(
            command, capture_output=True, text=True, check=True, timeout=10, env=_of_this_repository()
        ).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return objbench.__version__
    return f"{objbench.__version__}+{commit}"
