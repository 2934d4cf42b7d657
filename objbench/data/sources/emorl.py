"""The EfficientMORL release: a train and a test HDF5 file per dataset.

Emami et al., ICML 2021. Group `train` or `test` with `imgs` (N,H,W,3), 0..255, and `masks` (N,E,H,W,1), 0/255 or
0/1, entity 0 the background; any numeric type. The row in the file is the index.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path

import h5py
import numpy as np

from objbench.data.scene import Array, SceneBatch
from objbench.data.sources import release
from objbench.data.sources.base import Source, SourceRequest, SplitPlan
from objbench.data.sources.release import SceneError
from objbench.errors import ObjbenchError, RequestError

SLAB = 250  # scenes


class EmorlSource(Source):
    """The two files of the release, given as their folder or as one of them; only those asked for are needed."""

    def __init__(self, request: SourceRequest) -> None:
        super().__init__(request)
        if request.dataset.name not in release.NATIVE_SIZE:
            raise RequestError(f"the source 'emorl' cannot read {request.dataset.name}")
        self._spec = release.source_spec(request)
        splits = release.rules(request).items()
        needed = {rule.file for split, rule in splits if release.wanted(request, split)}
        self._files = self._locate([role for role in self._spec.files if role in needed])
        self._rows = {role: self._check(path, role) for role, path in self._files.items()}

    @property
    def files(self) -> list[Path]:
        """The files that the wanted splits are read from."""
        return list(self._files.values())

    def plan(self) -> list[SplitPlan]:
        """The protocol's rows; files of other lengths are cut from their first row on if all sizes are given."""
        plans = release.protocol_plan(self.request)
        odd = [role for role, rows in self._rows.items() if rows != self._spec.records[role]]
        if not odd:
            return plans
        if release.all_sizes_given(self.request):
            return release.consecutive_plan(self.request, self._rows, self._files)
        path, rows = self._files[odd[0]], self._rows[odd[0]]
        expected = f"has {self._spec.records[odd[0]]:,} in this file"
        raise release.incomplete(self.request, path, rows, expected)

    def read(self, plans: list[SplitPlan], done: Mapping[str, int]) -> Iterator[tuple[str, SceneBatch]]:
        """The scenes, a slab of rows at a time."""
        for plan in plans:
            path = self._files[plan.file]
            with _opened(path) as file:
                group = file[plan.file]
                for start in range(plan.start + done.get(plan.split, 0), plan.stop, SLAB):
                    yield plan.split, _scenes(path, group, start, min(start + SLAB, plan.stop))

    @cached_property
    def _shapes(self) -> dict[str, tuple[int, ...]]:
        """The shape of one row of each dataset in the files."""
        height, width = release.NATIVE_SIZE[self.request.dataset.name]
        return {"imgs": (height, width, 3), "masks": (self._spec.entities or 0, height, width, 1)}

    def _locate(self, roles: list[str]) -> dict[str, Path]:
        raw = release.raw_path(self.request)
        folder = raw if raw.is_dir() else raw.parent
        given = None if raw.is_dir() else self._role_of(raw)
        files = {}
        for role in roles:
            path = raw if role == given else release.find_file(self.request, folder, role)
            if path is None:
                raise release.missing_file(self.request, folder, role)
            files[role] = path
        return files

    def _role_of(self, path: Path) -> str:
        """Which of the files the given one is: by its name, else by the group it holds."""
        for role, names in self._spec.files.items():
            if path.name in names:
                return role
        with _opened(path) as file:
            for role in self._spec.files:
                if role in file:
                    return role
            raise _missing(path, file, " or ".join(f"'{role}'" for role in self._spec.files))

    def _check(self, path: Path, role: str) -> int:
        """The number of rows of a file; ObjbenchError if it is not what it should be."""
        with _opened(path) as file:
            if not isinstance(file.get(role), h5py.Group):
                raise _missing(path, file, f"'{role}'")
            rows = set()
            for name, expected in self._shapes.items():
                data = file[role].get(name)
                if not isinstance(data, h5py.Dataset):
                    raise _missing(path, file[role], f"'{name}'")
                self._check_dataset(path, data, expected)
                rows.add(len(data))
            if len(rows) > 1:
                raise ObjbenchError(f"{path}: imgs and masks have different numbers of rows: {sorted(rows)}")
        return rows.pop()

    def _check_dataset(self, path: Path, data: h5py.Dataset, expected: tuple[int, ...]) -> None:
        if data.shape[1:] != expected:
            is_image = data.name.endswith("imgs") and len(data.shape) == 4
            hint = release.looks_like(int(np.prod(data.shape[1:]))) if is_image else ""
            found, wish = ("x".join(map(str, ("N", *shape))) for shape in (data.shape[1:], expected))
            raise ObjbenchError(f"{path}: {data.name} has the shape {found}, expected {wish}{hint}")
        if data.dtype.kind not in "buif":
            raise ObjbenchError(f"{path}: {data.name} holds {data.dtype}, expected numbers")


def _scenes(path: Path, group: h5py.Group, start: int, stop: int) -> SceneBatch:
    """The rows [start, stop) of a group."""
    try:
        images = _whole_bytes(group["imgs"][start:stop], "image holds")
        planes = _whole_bytes(group["masks"][start:stop], "masks hold")[..., 0]
        masks = release.label_map(planes, values=(1, 255))
    except OSError as error:
        raise ObjbenchError(
            f"{path}: {group.name}, rows {start} to {stop - 1} cannot be read: {error}"
        ) from None
    except SceneError as error:
        raise ObjbenchError(f"{path}: {group.name}, row {start + error.row}: {error}") from None
    return SceneBatch(np.arange(start, stop), images, masks, {})


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


def _opened(path: Path) -> h5py.File:
    """The file, for reading; ObjbenchError if it is none of HDF5."""
    try:
        return h5py.File(path, "r")
    except OSError as error:
        if h5py.is_hdf5(path):
            raise ObjbenchError(f"{path}: damaged or truncated: {error}") from None
        raise ObjbenchError(f"{path}: not an HDF5 file") from None


def _missing(path: Path, group: h5py.Group, what: str) -> ObjbenchError:
    there = ", ".join(sorted(group)) or "nothing"
    return ObjbenchError(f"{path}: {group.name} has no {what}; it has: {there}")
