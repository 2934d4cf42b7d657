"""Which device to work on."""

from __future__ import annotations

import platform
import resource
import sys

import torch

from objbench.errors import RequestError


def choose_device(name: str | torch.device | None) -> torch.device:
    """`auto` is CUDA where there is one, None the CPU; RequestError for a device that is not there."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if str(name or "cpu").partition(":")[0] not in ("cpu", "cuda"):
        raise RequestError(f"unknown device '{name}' (known: auto, cpu, cuda, cuda:N)")
    try:
        device = torch.device(name or "cpu")
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise RequestError(
            f"device {name} is not to be had here: {reason}; auto takes what there is"
        ) from None
    return device


def describe(device: torch.device) -> str:
    """The card's name, or the processor architecture with the threads in use."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"cpu ({platform.machine()}, {torch.get_num_threads()} threads)"


def peak_memory(device: torch.device) -> int:
    """Bytes: on CUDA of all tensors since the statistics were last reset, on the CPU of the process so far."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
