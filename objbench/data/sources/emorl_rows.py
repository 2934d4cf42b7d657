"""Rows of an EfficientMORL file, as the encoding workers read and decode them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import h5py
import numpy as np

from objbench.data.scene import Array, BadScene, SceneBatch
from objbench.data.sources.hdf5 import FAULTS, one_line, opened
from objbench.data.sources.hdf5_storage import read_rows
from objbench.data.sources.planes import SceneError, label_map


@dataclass(frozen=True)
class RowBlock:
    """Some rows of a group of a file.

    Attributes:
        columns: The names of the first columns of its factors.
        start, stop: The first row, and the row after the last.
        damaged: Row -> the fault, for rows that the file's index tells to be damaged; others' rows, too.
    """

    path: Path
    group: str
    columns: tuple[str, ...]
    start: int
    stop: int
    damaged: Mapping[int, str] = field(default_factory=dict)

    def __len__(self) -> int:
        return self.stop - self.start

    def __getitem__(self, part: slice) -> RowBlock:
        start, stop, _ = part.indices(len(self))
        return replace(self, start=self.start + start, stop=self.start + max(start, stop))

    def decode(self) -> SceneBatch:
        """All scenes; BadScene for the first one that is damaged."""
        try:
            if known := [row for row in self.damaged if self.start <= row < self.stop]:
                raise SceneError(min(known) - self.start, self.damaged[min(known)])
            with opened(self.path) as file:
                group = file[self.group]
                images, planes = self._read(group, "imgs"), self._read(group, "masks")
                factors = self._factors(group)
            masks = label_map(_whole_bytes(planes, "masks hold")[..., 0], values=(1, 255))
            images = _whole_bytes(images, "image holds")
        except SceneError as error:
            row = self.start + error.row
            where = f"{self.path}: /{self.group}, row {row}"
            raise BadScene(error.row, row, where, str(error)) from None
        return SceneBatch(np.arange(self.start, self.stop), images, masks, factors)

    def _read(self, group: h5py.Group, name: str) -> Array:
        try:
            return read_rows(group[name], slice(self.start, self.stop))
        except FAULTS:
            return np.concatenate([self._read_row(group, name, row) for row in range(len(self))])

    def _read_row(self, group: h5py.Group, name: str, row: int) -> Array:
        try:
            return read_rows(group[name], slice(self.start + row, self.start + row + 1))
        except FAULTS as error:
            raise SceneError(row, f"{name} cannot be read: {one_line(error)}") from None

    def _factors(self, group: h5py.Group) -> dict[str, Array]:
        if not self.columns or "factors" not in group:
            return {}
        columns, names = self._read(group, "factors"), self.columns
        factors = {name: columns[..., number] for number, name in enumerate(names)}
        factors["visibility"] = columns[..., -1]
        if columns.shape[-1] > len(names) + 1:
            factors["unnamed"] = columns[..., len(names) : -1]
        return factors


def _whole_bytes(values: Array, what: str) -> Array:
    """Numbers of any type as uint8; SceneError, which begins with `what`, unless all are whole and in 0..255."""
    if values.dtype == np.uint8:
        return values
    inside = (values >= 0) & (values <= 255)  # false for NaN
    whole = np.where(inside, values, 0).astype(np.uint8)
    good = inside & (whole == values)
    if not good.all():
        row = int(np.argmin(good.reshape(len(good), -1).all(axis=1)))
        found = values[row][~good[row]][0]
        raise SceneError(row, f"the {what} {found:g}, expected whole numbers 0..255")
    return whole
