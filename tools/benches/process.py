"""What a call takes besides time: memory, measured in a process of its own, and waits for the GPU."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import torch

STATUS = Path("/proc/self/status")
CLEAR = Path("/proc/self/clear_refs")
RESET_PEAK = "5"


def in_fresh_process(function: Callable[..., Any], *arguments: Any) -> Any:
    """What `function`, one of a module's, returns in a new process that holds nothing else."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(function, *arguments).result()


def memory_is_measurable() -> bool:
    """Whether the system tells the peak of a process's memory since a given moment (Linux does)."""
    return STATUS.exists() and CLEAR.exists()


def peak_growth(call: Callable[[], object]) -> int:
    """Bytes by which the resident memory of this process at its peak during `call` exceeded that before."""
    CLEAR.write_text(RESET_PEAK)
    before = _status("VmRSS")
    result = call()  # kept until the peak is read
    growth = _status("VmHWM") - before
    del result
    return growth


def host_synchronisations(call: Callable[[], object]) -> int:
    """How often `call` makes the host wait for CUDA."""
    call()
    mode = torch.cuda.get_sync_debug_mode()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        torch.cuda.set_sync_debug_mode("warn")
        try:
            call()
        finally:
            torch.cuda.set_sync_debug_mode(mode)
    return sum("synchronizing CUDA operation" in str(warning.message) for warning in caught)


def _status(field: str) -> int:
    found = re.search(rf"^{field}:\s+(\d+) kB$", STATUS.read_text(), re.MULTILINE)
    if found is None:
        raise OSError(f"{STATUS} has no {field}")
    return int(found[1]) * 1024
