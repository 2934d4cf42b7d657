"""The machine on which a bench runs."""

from __future__ import annotations

import os
import platform
from pathlib import Path
from typing import Any

import torch

from objbench.data.workers import available
from objbench.stored import utc_now
from objbench.train.environment import code_version

CPU_INFO = Path("/proc/cpuinfo")
THREADING = ("OMP_", "GOMP_", "KMP_", "MKL_", "OPENBLAS_")


def machine() -> dict[str, Any]:
    """The processor, its load, the versions, and the environment variables for threads."""
    return {
        "cpu": cpu_model(),
        "cores": available(),
        "load_average_at_start": load_average(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "system": platform.platform(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "environment": {key: value for key, value in os.environ.items() if key.startswith(THREADING)},
        "commit": code_version(),
        "date": utc_now(),
    }


def load_average() -> list[float]:
    """The mean number of running and waiting processes in the last 1, 5 and 15 minutes."""
    return [round(load, 2) for load in os.getloadavg()]


def cpu_model() -> str:
    """The name of the processor, or its architecture if the system does not report the name."""
    lines = CPU_INFO.read_text().splitlines() if CPU_INFO.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()
