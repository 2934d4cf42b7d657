"""On what a bench ran."""

from __future__ import annotations

import os
import platform
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

from benches.options import cores
from objbench.train.run import code_version

CPU_INFO = Path("/proc/cpuinfo")
THREADING = ("OMP_", "GOMP_", "KMP_", "MKL_", "OPENBLAS_")


def machine() -> dict[str, Any]:
    """The processor, what else it is busy with, the versions, and what the environment says about threads."""
    return {
        "cpu": cpu_model(),
        "cores": cores(),
        "load_average_at_start": load_average(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "system": platform.platform(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "environment": {key: value for key, value in os.environ.items() if key.startswith(THREADING)},
        "commit": code_version(),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def load_average() -> list[float]:
    """Processes that ran or waited to, in the mean of the last 1, 5 and 15 minutes."""
    return [round(load, 2) for load in os.getloadavg()]


def cpu_model() -> str:
    """The processor's name, or its architecture where the system does not tell."""
    lines = CPU_INFO.read_text().splitlines() if CPU_INFO.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()
