"""What is kept of a finished run among the results of the project: all that is small."""

from __future__ import annotations

import shutil
from pathlib import Path

from objbench.records import RECORD
from objbench.train.artifacts import PER_IMAGE, SAMPLE_SHEET
from objbench.train.checkpoint import WEIGHTS
from objbench.train.log import LOG
from objbench.train.run_folder import CONFIG

KEPT = (RECORD, CONFIG, LOG, PER_IMAGE, SAMPLE_SHEET)


def keep(run: Path, result: Path, weights: bool) -> bool:
    """Copy what is kept of the run in folder `run` to `result`. Returns whether it is finished; else nothing is done.

    Args:
        weights: Whether the weights are kept too.
    """
    if not (run / RECORD).exists():
        return False
    result.mkdir(parents=True, exist_ok=True)
    for name in (*KEPT, WEIGHTS) if weights else KEPT:
        shutil.copy2(run / name, result / name)
    return True
