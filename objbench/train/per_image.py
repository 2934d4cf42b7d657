"""per_image.npz: the values behind the scores of a record, image by image."""

from __future__ import annotations

import zlib
from collections.abc import Collection, Mapping
from pathlib import Path
from zipfile import BadZipFile

import numpy as np

from objbench.data.scene import Array
from objbench.errors import ObjbenchError
from objbench.files import replacing

PER_IMAGE = "per_image.npz"


def write_per_image(folder: Path, found: Mapping[str, Mapping[str, Array]]) -> None:
    """`<evaluation>/<metric>` and `<evaluation>/keys`, written whole or not at all."""
    arrays = {f"{key}/{name}": values for key, columns in found.items() for name, values in columns.items()}
    with replacing(folder / PER_IMAGE) as partial, partial.open("wb") as file:
        np.savez_compressed(file, **arrays)  # type: ignore[arg-type]


def read_per_image(folder: Path, evaluations: Collection[str]) -> dict[str, dict[str, Array]]:
    """What is kept of these evaluations; nothing where the file is not there, ObjbenchError where it is damaged."""
    path = folder / PER_IMAGE
    found: dict[str, dict[str, Array]] = {}
    if not path.exists():
        return found
    try:
        with path.open("rb") as file, np.load(file) as kept:
            for entry in kept.files:
                key, _, name = entry.rpartition("/")
                if key in evaluations:
                    found.setdefault(key, {})[name] = kept[entry]
    except (ValueError, EOFError, KeyError, BadZipFile, zlib.error) as error:
        raise ObjbenchError(
            f"{path}: damaged ({error}); run that seed, or evaluate those predictions, again with --fresh"
        ) from None
    return found
