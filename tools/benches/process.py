"""The costs of a call besides time: memory, measured in a new process, and waiting for the GPU."""

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
    """Call `function`, defined in a module, in a new process and return its result."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(function, *arguments).result()


def memory_is_measurable() -> bool:
    """Whether the system reports the peak memory of a process since a given time (Linux does)."""
    return STATUS.exists() and CLEAR.exists()


def peak_growth(call: Callable[[], object]) -> int:
    """How many bytes the peak resident memory of this process during `call` exceeds that before."""
    CLEAR.write_text(RESET_PEAK)
    before = _status("VmRSS")
    result = call()  # kept until the peak is read
    growth = _status("VmHWM") - before
    del result
    return growth


def host_synchronisations(call: Callable[[], object]) -> int:
    """How often the host waits for CUDA during `call`."""
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
