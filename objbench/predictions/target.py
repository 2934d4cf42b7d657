"""The images of a split that predictions must match: their number, keys and size."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from objbench.errors import ObjbenchError, first_few


@dataclass(frozen=True)
class Target:
    """The images of a split.

    Attributes:
        name: Name of the split for messages.
        keys: Keys of the images.
        size: (H,W) of the images.
    """

    name: str
    keys: Sequence[str]
    size: tuple[int, int]

    def check_count(self, path: Path, found: int) -> None:
        """Raise ObjbenchError unless there is one prediction per image."""
        if found != len(self.keys):
            raise ObjbenchError(
                f"{path}: predictions of {found:,} images, expected {len(self.keys):,}: all of {self.name}"
            )

    def rows(self, path: Path, keys: Sequence[str], hint: str = "") -> list[int]:
        """The position of each key in the split. Leading zeros are ignored.

        Args:
            path: The file or folder of the predictions, for messages.
            keys: The keys of the predictions.
            hint: What the user can do if keys are unknown.

        Raises:
            ObjbenchError: A key is unknown, missing or repeated.
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
    """Collects what is wrong with the predictions of single images, for one message."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._found: dict[str, list[str]] = {}

    def __bool__(self) -> bool:
        return bool(self._found)

    def add(self, kind: str, image: str) -> None:
        """Add a problem of this kind with this image."""
        self._found.setdefault(kind, []).append(image)

    def refuse(self) -> None:
        """Raise ObjbenchError if there is any problem."""
        if self._found:
            raise ObjbenchError(
                f"{self._path}: "
                + "; ".join(f"{kind}: {first_few(images)}" for kind, images in self._found.items())
            )


def _unpadded(key: str) -> str:
    return key.lstrip("0") or key[-1:]
