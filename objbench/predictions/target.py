"""What predictions must fit: the images of a split, by their number, keys and size."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from objbench.errors import ObjbenchError, first_few


@dataclass(frozen=True)
class Target:
    """The images that are to be predicted: the `name` of their split for messages, their keys, their (H,W)."""

    name: str
    keys: Sequence[str]
    size: tuple[int, int]

    def check_count(self, path: Path, found: int) -> None:
        """ObjbenchError unless there is one prediction per image."""
        if found != len(self.keys):
            raise ObjbenchError(
                f"{path}: predictions of {found:,} images, expected {len(self.keys):,}: all of {self.name}"
            )

    def rows(self, path: Path, keys: Sequence[str], hint: str = "") -> list[int]:
        """The position in the split of every key, leading zeros aside. ObjbenchError unless each image has one key.

        `hint` is what to say where keys are not known.
        """
        rows = {_unpadded(key): row for row, key in enumerate(self.keys)}
        found = [rows.get(_unpadded(key), -1) for key in keys]
        times = Counter(found)
        unknown = [key for key, row in zip(keys, found, strict=True) if row < 0]
        missing = [key for row, key in enumerate(self.keys) if row not in times]
        repeated = [key for row, key in enumerate(self.keys) if times[row] > 1]
        problems = [
            f"{what} {first_few(offenders)}"
            for what, offenders in (
                ("no image of it has the key", unknown),
                ("more than one prediction for", repeated),
                ("no prediction for", missing),
            )
            if offenders
        ]
        if problems:
            span = f"{len(self.keys):,} images, keys {self.keys[0]} to {self.keys[-1]}"
            remedy = f"; {hint}" if unknown and hint else ""
            raise ObjbenchError(f"{path} does not fit {self.name} ({span}): {'; '.join(problems)}{remedy}")
        return found


class Problems:
    """What is wrong with the predictions of single images, gathered so that one message can name them."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._found: dict[str, list[str]] = {}

    def __bool__(self) -> bool:
        return bool(self._found)

    def add(self, kind: str, image: str) -> None:
        """Note a fault: what kind, and at which image."""
        self._found.setdefault(kind, []).append(image)

    def refuse(self) -> None:
        """ObjbenchError if there is any fault."""
        if self._found:
            raise ObjbenchError(
                f"{self._path}: "
                + "; ".join(f"{kind}: {first_few(images)}" for kind, images in self._found.items())
            )


def _unpadded(key: str) -> str:
    return key.lstrip("0") or key[-1:]
