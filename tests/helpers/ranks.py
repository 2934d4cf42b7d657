"""Several real processes as the ranks of one run, each of which does the same work."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from helpers.paths import PLUGINS
from helpers.ports import free_port

ROOT = Path(__file__).parents[2]


def variables(rank: int, size: int, port: int) -> dict[str, str]:
    """The environment of one of `size` processes, as torchrun sets it."""
    path = [str(ROOT), str(ROOT / "tests"), str(PLUGINS)]
    mine = {
        "RANK": rank,
        "LOCAL_RANK": rank,
        "WORLD_SIZE": size,
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": port,
        "PYTHONPATH": os.pathsep.join(path),
        "OMP_NUM_THREADS": 1,
        "PYTHONFAULTHANDLER": 1,
    }
    return os.environ | {name: str(value) for name, value in mine.items()}


def start(size: int, command: list[str], different: dict[int, list[str]] | None = None) -> list[Any]:
    """`size` processes of one command; `different` has other commands for some ranks."""
    port = free_port()
    return [
        subprocess.Popen(
            (different or {}).get(rank, command),
            env=variables(rank, size, port),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(size)
    ]


def finish(processes: list[Any], timeout: float = 240) -> list[tuple[int, str, str]]:
    """Exit code, stdout and stderr of each."""
    try:
        return [
            (process.returncode, *texts)
            for process in processes
            for texts in [process.communicate(timeout=timeout)]
        ]
    finally:
        for process in processes:
            process.kill()
            process.wait()


def work(size: int, name: str, **arguments: Any) -> list[Any]:
    """What the function `name` of helpers.rank_work returns in each of `size` processes."""
    command = [sys.executable, "-m", "helpers.rank_work", name, json.dumps(arguments)]
    found = finish(start(size, command))
    for rank, (code, _, errors) in enumerate(found):
        assert code == 0, f"rank {rank}: {errors}"
    return [json.loads(out.splitlines()[-1]) for _, out, _ in found]
