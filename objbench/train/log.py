"""metrics.jsonl: losses and scores during a training, without times or paths, so that equal runs give equal files."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from objbench.errors import ObjbenchError
from objbench.files import sync_open
from objbench.stored import Strict, first_fault
from objbench.train.loggers import Loggers

LOG = "metrics.jsonl"


class Line(Strict):
    """A line of the log, as `Log.write` makes it."""

    step: int
    stage: str = ""
    epoch: int = 0
    losses: dict[str, float] = {}
    val: dict[str, float] = {}


class Log:
    """Appends lines `{"step", "stage", "epoch", "losses" | "val"}`, and gives them to the loggers."""

    def __init__(self, folder: Path, loggers: Loggers | None = None) -> None:
        self.path = folder / LOG
        self.path.touch()
        self._loggers = loggers

    @property
    def size(self) -> int:
        """Bytes written so far."""
        return self.path.stat().st_size

    def cut(self, size: int) -> None:
        """Remove what was written after the checkpoint, when the log had this size in bytes. The loggers begin."""
        if self.size < size:
            raise ObjbenchError(
                f"{self.path}: shorter than at the last checkpoint ({self.size} < {size} bytes); "
                "--fresh starts this seed again"
            )
        with self.path.open("r+b") as file:
            file.truncate(size)
        if self._loggers is not None and self._loggers.names:
            self._loggers.begin(read_log(self.path))

    def sync(self) -> None:
        """Make sure that everything written so far survives a power cut."""
        with self.path.open("rb") as file:
            sync_open(file.fileno())

    def write(self, step: int, stage: str, epoch: int, kind: str, values: Mapping[str, float]) -> None:
        """Append one line; `kind` is "losses" or "val"."""
        line: dict[str, Any] = {"step": step, "stage": stage, "epoch": epoch, kind: dict(values)}
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
        if self._loggers is not None:
            self._loggers.write(step, kind, values)


class NoLog:
    """The log of a process that writes none: all but the first of a run."""

    size = 0

    def cut(self, size: int) -> None:
        """Do nothing."""

    def sync(self) -> None:
        """Do nothing."""

    def write(self, step: int, stage: str, epoch: int, kind: str, values: Mapping[str, float]) -> None:
        """Do nothing."""


def read_log(path: Path) -> list[dict[str, Any]]:
    """The lines of a metrics.jsonl, given by its path or by the folder of its run.

    Raises:
        ObjbenchError: A line is damaged.
    """
    path = path / LOG if path.is_dir() else path
    lines = []
    for number, text in enumerate(path.read_bytes().splitlines(), 1):
        try:
            lines.append(Line.model_validate_json(text).model_dump(exclude_unset=True))
        except ValidationError as error:
            raise ObjbenchError(f"{path}: line {number} is {first_fault(error, 'a line of a log')}") from None
    return lines
