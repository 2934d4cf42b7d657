"""Open predictions in any format and read them batch by batch."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor

from objbench.errors import RequestError
from objbench.paths import resolved
from objbench.predictions.arrays import ArrayFile
from objbench.predictions.batch import SavedBatch
from objbench.predictions.files import ARCHIVES, open_files
from objbench.predictions.interpret import as_tensor, to_labels, to_unit_range
from objbench.predictions.png_files import PngFiles
from objbench.predictions.target import Problems, Target

FORMS = "an .npz or .npy of masks, or a folder, .tar, .tar.gz or .tgz of PNGs"


@dataclass(frozen=True)
class Batch:
    """Predictions of B images.

    Attributes:
        rows: Positions of the images in the split.
        labels: Integer label maps (B,H,W).
        planes: Masks (B,M,H,W), of which `labels` are the arg-max; None if label maps were given.
        reconstruction: Float (B,3,H,W) with intensities in [0,1], not clamped; or None.
    """

    rows: list[int]
    labels: Tensor
    planes: Tensor | None
    reconstruction: Tensor | None


class PredictionFiles(Protocol):
    """Predictions in files of one format."""

    path: Path
    by_order: bool

    def check(self, target: Target) -> None:
        """Raise ObjbenchError if number, keys, sizes or dtypes do not match `target`. Reads no values."""

    def saved_batches(self, target: Target) -> Iterator[SavedBatch]:
        """All values as saved, in the order that is fastest to read."""

    def digest(self) -> str:
        """The sha256 of the whole content."""


class Predictions:
    """Predictions in files, of which one batch at a time is in memory."""

    def __init__(self, files: PredictionFiles) -> None:
        self._files = files

    def check(self, target: Target) -> None:
        """Raise ObjbenchError if number, keys, sizes or dtypes do not match `target`. Reads no values."""
        self._files.check(target)

    def identity(self) -> dict[str, Any]:
        """What identifies the predictions: the `sha256` of the content, `by_order`, and the name of the `file`."""
        files = self._files
        return {"file": resolved(files.path).name, "sha256": files.digest(), "by_order": files.by_order}

    def batches(self, target: Target, device: torch.device) -> Iterator[Batch]:
        """Every image of `target` once, in the order of the files. Call `check` first.

        If values are wrong (NaN, labels out of range, a damaged PNG), no further batch is returned.

        Raises:
            ObjbenchError: At the end, with the images whose values are wrong.
        """
        problems = Problems(self._files.path)
        for raw in self._files.saved_batches(target):
            keys = [target.keys[row] for row in raw.rows]
            for key in raw.damaged:
                problems.add("cannot be decoded", key)
            if raw.damaged:
                continue
            masks = as_tensor(raw.masks).to(device)
            labels = to_labels(masks, keys, problems)
            reconstruction = None
            if raw.reconstruction is not None:
                values = as_tensor(raw.reconstruction).to(device)
                reconstruction = to_unit_range(values, keys, problems, raw.unclamped)
            if not problems:
                yield Batch(raw.rows, labels, masks if masks.ndim == 4 else None, reconstruction)
        problems.refuse()


def neither(path: Path) -> str:
    """What is said of a path that is no run and holds no predictions."""
    found = "a file of another name" if path.exists() else "nothing"
    return f"{path}: expected the folder of a run, or predictions: {FORMS}; found {found}"


@contextmanager
def open_predictions(path: Path, by_order: bool = False) -> Iterator[Predictions]:
    """Open the predictions in `path`: an .npz or .npy, or a folder or tar of PNGs.

    With `by_order`, PNGs are matched to images by the order of their names instead of by keys.

    Raises:
        RequestError: `path` is something else.
        ObjbenchError: It is damaged, empty or holds something unknown.
    """
    if path.suffix.lower() in (".npz", ".npy") and path.is_file():
        if by_order:
            raise RequestError(
                f"--by-order is for PNGs; {path} without an array `keys` is taken in order anyway"
            )
        yield Predictions(ArrayFile(path))
    elif path.is_dir() or (path.name.lower().endswith(ARCHIVES) and path.is_file()):
        with open_files(path) as files:
            yield Predictions(PngFiles(path, files, by_order))
    else:
        raise RequestError(neither(path))
