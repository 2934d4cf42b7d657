"""The folders of datasets and runs: where nothing else is asked for, ./data and ./runs."""

from __future__ import annotations

import os
from pathlib import Path

DATA, DATA_VARIABLE = Path("data"), "OBJBENCH_DATA"
RUNS, RUNS_VARIABLE = Path("runs"), "OBJBENCH_RUNS"


def data_folder(data: str | Path | None = None) -> Path:
    """The folder of the prepared datasets: `data`, else $OBJBENCH_DATA, else ./data."""
    return Path(data or os.environ.get(DATA_VARIABLE) or DATA)


def runs_folder(runs: str | os.PathLike[str] | None = None) -> Path:
    """The folder of the runs: `runs`, else $OBJBENCH_RUNS, else ./runs."""
    return Path(runs or os.environ.get(RUNS_VARIABLE) or RUNS)
