"""Rows of an EfficientMORL file, as the encoding workers read and decode them."""

from __future__ import annotations

import zipfile
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np

from objbench.data.scene import Array, BadScene, SceneBatch
from objbench.data.sources.planes import SceneError, label_map
from objbench.errors import ObjbenchError


@dataclass(frozen=True)
class RowBlock:
    """The rows [start, stop) of a group of a file; `columns` are the names of the first columns of its factors."""

    path: Path
    group: str
    columns: tuple[str, ...]
    start: int
    stop: int

    def __len__(self) -> int:
        return self.stop - self.start

    def __getitem__(self, part: slice) -> RowBlock:
        start, stop, _ = part.indices(len(self))
        return RowBlock(
            self.path, self.group, self.columns, self.start + start, self.start + max(start, stop)
        )

    def decode(self) -> SceneBatch:
        """All scenes; BadScene for the first one that is damaged."""
        with opened(self.path) as file:
            group = file[self.group]
            try:
                images = _whole_bytes(self._read(group, "imgs"), "image holds")
                planes = _whole_bytes(self._read(group, "masks"), "masks hold")[..., 0]
                masks = label_map(planes, values=(1, 255))
                factors = self._factors(group)
            except SceneError as error:
                row = self.start + error.row
                where = f"{self.path}: /{self.group}, row {row}"
                raise BadScene(error.row, row, where, str(error)) from None
        return SceneBatch(np.arange(self.start, self.stop), images, masks, factors)

    def _read(self, group: h5py.Group, name: str) -> Array:
        try:
            values: Array = group[name][self.start : self.stop]
        except OSError:
            return np.stack([self._read_row(group, name, row) for row in range(len(self))])
        return values

    def _read_row(self, group: h5py.Group, name: str, row: int) -> Array:
        try:
            values: Array = group[name][self.start + row]
        except OSError as error:
            raise SceneError(row, f"{name} cannot be read: {error}") from None
        return values

    def _factors(self, group: h5py.Group) -> dict[str, Array]:
        if not self.columns or "factors" not in group:
            return {}
        columns, names = self._read(group, "factors"), self.columns
        factors = {name: columns[..., number] for number, name in enumerate(names)}
        factors["visibility"] = columns[..., -1]
        if columns.shape[-1] > len(names) + 1:
            factors["unnamed"] = columns[..., len(names) : -1]
        return factors


def opened(path: Path) -> h5py.File:
    """The file, for reading; ObjbenchError if it is none of HDF5."""
    try:
        return h5py.File(path, "r")
    except OSError as error:
        if h5py.is_hdf5(path):
            raise ObjbenchError(f"{path}: damaged or truncated: {error}") from None
        if zipfile.is_zipfile(path):
            raise ObjbenchError(
                f"{path}: a zip archive, and HDF5 cannot be read inside one: unpack it, and give the folder with --raw"
            ) from None
        raise ObjbenchError(f"{path}: not an HDF5 file") from None


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
