"""Open predictions, whatever form they have, and read them batch by batch."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor

from objbench.errors import RequestError
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

    rows            positions of the images in their split
    labels          integer label maps (B,H,W)
    planes          the masks (B,M,H,W) that the labels are the arg-max of, None if label maps were given
    reconstruction  float (B,3,H,W) in image units, or None
    """

    rows: list[int]
    labels: Tensor
    planes: Tensor | None
    reconstruction: Tensor | None


class Source(Protocol):
    """One form of predictions."""

    path: Path
    by_order: bool

    def check(self, target: Target) -> None:
        """ObjbenchError if number, keys, sizes or types are not what `target` needs; reads no values."""

    def saved_batches(self, target: Target) -> Iterator[SavedBatch]:
        """All values as they were saved, in the order that is quick to read."""

    def digest(self) -> str:
        """sha256 of all content."""


class Predictions:
    """Predictions in files of which only a batch at a time is in memory."""

    def __init__(self, source: Source) -> None:
        self._source = source

    def check(self, target: Target) -> None:
        """ObjbenchError if number, keys, sizes or types are not what `target` needs; reads no values."""
        self._source.check(target)

    def identity(self) -> dict[str, Any]:
        """By what the same predictions are known again: `sha256` of the content, and `by_order`; `file` names it."""
        source = self._source
        return {"file": source.path.resolve().name, "sha256": source.digest(), "by_order": source.by_order}

    def batches(self, target: Target, device: torch.device) -> Iterator[Batch]:
        """Every image of `target` once, in the order of the files. Call `check` first.

        Where values are wrong (NaN, labels out of range, a damaged picture) no further batch follows, and an
        ObjbenchError at the end names the first of all images concerned.
        """
        problems = Problems(self._source.path)
        for raw in self._source.saved_batches(target):
            keys = [target.keys[row] for row in raw.rows]
            for key in raw.damaged:
                problems.add("cannot be decoded", key)
            if raw.damaged:
                continue
            masks = as_tensor(raw.masks).to(device)
            labels = to_labels(masks, keys, problems)
            reconstruction = None
            if raw.reconstruction is not None:
                reconstruction = to_unit_range(as_tensor(raw.reconstruction).to(device), keys, problems)
            if not problems:
                yield Batch(raw.rows, labels, masks if masks.ndim == 4 else None, reconstruction)
        problems.refuse()


@contextmanager
def open_predictions(path: Path, by_order: bool = False) -> Iterator[Predictions]:
    """The predictions in `path`: .npz, .npy, or a folder or tar of PNGs, in the `by_order` of whose names they are.

    RequestError for anything else, ObjbenchError if it is damaged, empty or says something that is not understood.
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
        found = "a file of another name" if path.exists() else "nothing"
        raise RequestError(f"{path}: expected the folder of a run, or predictions: {FORMS}; found {found}")
