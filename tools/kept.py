"""What is kept of a finished run among the results of the project: all that is small."""

from __future__ import annotations

import shutil
from pathlib import Path

KEPT = ("result.json", "config.json", "metrics.jsonl", "per_image.npz", "samples.png")
WEIGHTS = "model.safetensors"


def keep(run: Path, result: Path, weights: bool) -> bool:
    """Copy what is kept of the run in folder `run` to `result`. Returns whether it is finished; else nothing is done.

    Args:
        weights: Whether the weights are kept too.
    """
    if not (run / "result.json").exists():
        return False
    result.mkdir(parents=True, exist_ok=True)
    for name in (*KEPT, WEIGHTS) if weights else KEPT:
        shutil.copy2(run / name, result / name)
    return True
