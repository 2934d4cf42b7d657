"""Choose and describe the device to compute on."""

from __future__ import annotations

import gc
import os
import platform
import resource
import sys
from pathlib import Path, PurePosixPath

import torch

from objbench.errors import RequestError, lines_of

_TF32_VARIABLES = ("NVIDIA_TF32_OVERRIDE", "TORCH_ALLOW_TF32_CUBLAS_OVERRIDE")


def choose_device(name: str | int | torch.device | None) -> torch.device:
    """The device of this name: "auto" is CUDA if available, else the CPU; None is the CPU; a number is that of a GPU.

    Raises:
        RequestError: The device is unknown or not available.
    """
    if name is None:
        name = "cpu"
    elif isinstance(name, int) and not isinstance(name, bool):
        name = f"cuda:{name}"
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if str(name).partition(":")[0] not in ("cpu", "cuda"):
        raise RequestError(f"unknown device '{name}' (known: auto, cpu, cuda, cuda:N)")
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise _not_available(name, lines_of(error)[0]) from None
    return device


def check_device(name: str) -> None:
    """Refuse what `choose_device` refuses, and leave the GPU to another process.

    A process that has used a GPU keeps some of its memory, and all of it where the GPU is for one process at a time.

    Raises:
        RequestError: The device is unknown or not available.
    """
    kind, _, number = name.partition(":")
    if kind != "cuda" or not (number or "0").isdecimal() or not torch.cuda.is_available():
        choose_device(name)
    elif int(number or "0") >= (count := torch.cuda.device_count()):
        raise _not_available(name, f"there are {count} GPUs, counted from 0")


def _not_available(name: object, reason: str) -> RequestError:
    return RequestError(
        f"device {name} is not available: {reason}; auto takes CUDA if there is one, else the CPU"
    )


def describe(device: torch.device) -> str:
    """The name of the GPU, or the architecture of the CPU with the number of threads in use.

    Variables and settings that give the matrix products of a GPU another precision are named with it.
    """
    if device.type == "cuda":
        named = [f", {name}={os.environ[name]}" for name in _TF32_VARIABLES if name in os.environ]
        set_here = torch.backends.cuda.matmul.fp32_precision
        if not named and set_here == "tf32":
            named = [", matmul.fp32_precision=tf32"]
        return torch.cuda.get_device_name(device) + "".join(named)
    return f"cpu ({platform.machine()}, {torch.get_num_threads()} threads)"


def peak_memory(device: torch.device) -> int:
    """Peak memory in bytes: on CUDA of all tensors since the last reset of the statistics, on the CPU of the process."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def reset_peak_memory(device: torch.device) -> None:
    """Begin to count the peak memory of a GPU anew, without what nobody uses any more.

    An earlier run of the process may be held in circles, which Python frees some time later: the memory of its graph, too.
    """
    if device.type == "cuda":
        gc.collect()
        torch.cuda.reset_peak_memory_stats(device)


def free_memory(device: torch.device) -> int:
    """Bytes that a process can still get: of a GPU, or of this machine within the limits of its container or job (control
    groups) and of the process (ulimit -v)."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    page = resource.getpagesize()
    free = min([_available() or os.sysconf("SC_PHYS_PAGES") * page, *_left_in_groups()])
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


def _left_in_groups(
    membership: Path = Path("/proc/self/cgroup"), root: Path = Path("/sys/fs/cgroup")
) -> list[int]:
    """Bytes that each memory limit of the control groups of this process leaves, version 1 or 2; none without Linux.

    Containers and jobs of a cluster have such limits. What the group has in the cache of files counts as free.
    """
    left = []
    for line in membership.read_text().splitlines() if membership.exists() else ():
        _, controllers, path = line.split(":", 2)
        if not controllers:  # version 2
            mount, names = root, ("memory.max", "memory.current", "inactive_file")
        elif "memory" in controllers.split(","):
            mount, names = (
                root / "memory",
                ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
            )
        else:
            continue
        group = PurePosixPath(path.lstrip("/"))
        for folder in (
            mount / group,
            *(mount / above for above in group.parents),
        ):  # a container may see its own alone
            try:
                limit = (folder / names[0]).read_text().strip()
                if limit != "max":
                    left.append(max(0, int(limit) - _used(folder, *names[1:])))
            except (OSError, ValueError):
                continue
    return left


def _used(folder: Path, usage: str, cached: str) -> int:
    """What a control group uses, in bytes, without the cache of files that it would give back first."""
    lines = map(str.split, (folder / "memory.stat").read_text().splitlines())
    cache = next((int(value) for name, value in lines if name == cached), 0)
    return int((folder / usage).read_text()) - cache
