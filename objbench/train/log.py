"""metrics.jsonl: the course of a training, without times or paths, so that equal runs give equal files."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from objbench.errors import RequestError

LOG = "metrics.jsonl"


class Log:
    """Appends lines `{"step", "stage", "epoch", "losses" | "val"}`; mirrored to TensorBoard if asked for."""

    def __init__(self, folder: Path, tensorboard: bool = False) -> None:
        self.path = folder / LOG
        self.path.touch()
        self._writer = _summary_writer(folder / "tensorboard") if tensorboard else None

    @property
    def size(self) -> int:
        """Bytes written so far."""
        return self.path.stat().st_size

    def cut(self, size: int) -> None:
        """Drop what was written after a checkpoint."""
        with self.path.open("r+b") as file:
            file.truncate(size)

    def write(self, step: int, stage: str, epoch: int, kind: str, values: Mapping[str, float]) -> None:
        """One line: `kind` is "losses" or "val"."""
        line: dict[str, Any] = {"step": step, "stage": stage, "epoch": epoch, kind: dict(values)}
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
        if self._writer is not None:
            for name, value in values.items():
                self._writer.add_scalar(f"{kind}/{name}", value, step)
            self._writer.flush()


def read_log(folder: Path) -> list[dict[str, Any]]:
    """The lines of a run's metrics.jsonl."""
    return [json.loads(line) for line in (folder / LOG).read_text(encoding="utf-8").splitlines()]


def _summary_writer(folder: Path) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        raise RequestError("--tensorboard needs the package: pip install 'objbench[tensorboard]'") from None
    return SummaryWriter(str(folder))
