"""Choose and describe the device to compute on."""

from __future__ import annotations

import os
import platform
import resource
import sys

import torch

from objbench.errors import RequestError

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
        reason = str(error).splitlines()[0]
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
