"""Choose and describe the device to compute on."""

from __future__ import annotations

import os
import platform
import resource
import sys
from pathlib import Path

import torch

from objbench.errors import RequestError, lines_of

_TF32_VARIABLES = ("NVIDIA_TF32_OVERRIDE", "TORCH_ALLOW_TF32_CUBLAS_OVERRIDE")


def choose_device(name: str | torch.device | None) -> torch.device:
    """The device of this name: "auto" is CUDA if available, else the CPU; None is the CPU.

    Raises:
        RequestError: The device is unknown or not available.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if str(name or "cpu").partition(":")[0] not in ("cpu", "cuda"):
        raise RequestError(f"unknown device '{name}' (known: auto, cpu, cuda, cuda:N)")
    try:
        device = torch.device(name or "cpu")
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = lines_of(error)[0]
        raise RequestError(
            f"device {name} is not available: {reason}; auto takes CUDA if there is one, else the CPU"
        ) from None
    return device


def describe(device: torch.device) -> str:
    """The name of the GPU, or the architecture of the CPU with the number of threads in use.

    Variables that give the matrix products of a GPU another precision are named with it.
    """
    if device.type == "cuda":
        named = [f", {name}={os.environ[name]}" for name in _TF32_VARIABLES if name in os.environ]
        return torch.cuda.get_device_name(device) + "".join(named)
    return f"cpu ({platform.machine()}, {torch.get_num_threads()} threads)"


def peak_memory(device: torch.device) -> int:
    """Peak memory in bytes: on CUDA of all tensors since the last reset of the statistics, on the CPU of the process."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def free_memory(device: torch.device) -> int:
    """Bytes that a process can still get: of a GPU, or of this machine within the limit of the process (ulimit -v)."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    page = resource.getpagesize()
    free = _available() or os.sysconf("SC_PHYS_PAGES") * page
    limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    if limit == resource.RLIM_INFINITY:
        return free
    statm = Path("/proc/self/statm")
    used = int(statm.read_text().split()[0]) * page if statm.exists() else 0
    return max(0, min(free, limit - used))


def _available() -> int | None:
    """What Linux can give without swapping, in bytes; None on other systems."""
    meminfo = Path("/proc/meminfo")
    lines = meminfo.read_text().splitlines() if meminfo.exists() else []
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:")), None)
