"""per_image.npz: the values behind the scores of a record, image by image."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path

import numpy as np

from objbench.data.scene import Array
from objbench.files import replacing

PER_IMAGE = "per_image.npz"


def write_per_image(folder: Path, found: Mapping[str, Mapping[str, Array]]) -> None:
    """`<evaluation>/<metric>` and `<evaluation>/keys`, written whole or not at all."""
    arrays = {f"{key}/{name}": values for key, columns in found.items() for name, values in columns.items()}
    with replacing(folder / PER_IMAGE) as partial, partial.open("wb") as file:
        np.savez_compressed(file, **arrays)  # type: ignore[arg-type]


def read_per_image(folder: Path, evaluations: Collection[str]) -> dict[str, dict[str, Array]]:
    """What is kept of these evaluations; nothing where the file is not there."""
    found: dict[str, dict[str, Array]] = {}
    if (folder / PER_IMAGE).exists():
        with np.load(folder / PER_IMAGE) as kept:
            for entry in kept.files:
                key, _, name = entry.rpartition("/")
                if key in evaluations:
                    found.setdefault(key, {})[name] = kept[entry]
    return found
