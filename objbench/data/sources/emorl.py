"""The EfficientMORL release: a train and a test HDF5 file per dataset.

Emami et al., ICML 2021. Group `train` or `test` with `imgs` (N,H,W,3), 0..255, `masks` (N,E,H,W,1), 0/255 or 0/1,
entity 0 the background, and in some files `factors` (N,E,F); any numeric type. The row in the file is the index.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from math import prod
from pathlib import Path

import h5py

from objbench.data.scene import BYTES_PER_JOB, SCENES_PER_JOB, Block
from objbench.data.sources import release
from objbench.data.sources.base import Source, SourceRequest, SplitPlan
from objbench.data.sources.emorl_rows import RowBlock
from objbench.data.sources.hdf5 import member, missing, opened
from objbench.data.sources.hdf5_storage import damaged_rows
from objbench.data.sources.layouts import LAYOUTS
from objbench.errors import ObjbenchError


class EmorlSource(Source):
    """The two files of the release, given as their folder or as one of them; only those asked for are needed."""

    def __init__(self, request: SourceRequest) -> None:
        super().__init__(request)
        self._layout = LAYOUTS[release.option(request, "layout", LAYOUTS)]
        self._spec = release.source_spec(request)
        splits = release.rules(request).items()
        needed = {rule.file for split, rule in splits if release.wanted(request, split)}
        self._files = self._locate([role for role in self._spec.files if role in needed])
        self._damaged: dict[str, dict[int, str]] = {}
        self._rows = {role: self._check(path, role) for role, path in self._files.items()}

    @property
    def files(self) -> list[Path]:
        """The files that the wanted splits are read from."""
        return list(self._files.values())

    def plan(self) -> list[SplitPlan]:
        """The protocol's rows; if all sizes are given, files of other lengths are cut from their first row on."""
        odd = next((role for role in self._files if not self._is_complete(role)), None)
        if odd is None:
            return release.protocol_plan(self.request, self._rows)
        if release.all_sizes_given(self.request):
            return release.consecutive_plan(self.request, self._rows, self._files)
        known = self._spec.records[odd]
        expected = (
            f"needs at least {self._least(odd):,} in it" if known is None else f"has {known:,} in this file"
        )
        raise release.incomplete(self.request, self._files[odd], self._rows[odd], expected)

    def _is_complete(self, role: str) -> bool:
        """Whether a file has the known number of rows or, if none is known, enough for its splits."""
        known, rows = self._spec.records[role], self._rows[role]
        return rows >= self._least(role) if known is None else rows == known

    def _least(self, role: str) -> int:
        """The least number of rows with which no split of a file is empty or too short."""
        rules = release.rules(self.request).items()
        mine = [rule for split, rule in rules if rule.file == role and release.wanted(self.request, split)]
        return max(max(-rule.start, rule.start + 1, rule.stop or 0, 1 - (rule.stop or 0)) for rule in mine)

    def read(self, plans: list[SplitPlan], done: Mapping[str, int]) -> Iterator[tuple[str, Block]]:
        """The rows, which the workers read themselves."""
        for plan in plans:
            path = self._files[plan.file]
            step = self._rows_per_job(path, plan.file)
            for start in range(max(plan.start, done.get(plan.split, 0)), plan.stop, step):
                stop = min(start + step, plan.stop)
                damaged = {row: what for row, what in self._damaged[plan.file].items() if start <= row < stop}
                yield plan.split, RowBlock(path, plan.file, self._layout.columns, start, stop, damaged)

    @staticmethod
    def _rows_per_job(path: Path, role: str) -> int:
        with opened(path) as file:
            rows = [file[role][name] for name in ("imgs", "masks")]
            size: int = sum(data.dtype.itemsize * prod(data.shape[1:]) for data in rows)
        return max(1, min(SCENES_PER_JOB, BYTES_PER_JOB // size))

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
        with opened(path) as file:
            for role in self._spec.files:
                if role in file:
                    return role
            raise missing(path, file, " or ".join(f"'{role}'" for role in self._spec.files))

    def _check(self, path: Path, role: str) -> int:
        """The number of rows of a file; ObjbenchError if it is not what it should be."""
        with opened(path) as file:
            group = member(path, file, role, h5py.Group)
            arrays = {name: member(path, group, name, h5py.Dataset) for name in ("imgs", "masks")}
            self._check_images(path, arrays["imgs"])
            self._check_masks(path, arrays["masks"])
            if self._layout.columns and "factors" in group:
                arrays["factors"] = member(path, group, "factors", h5py.Dataset)
                self._check_factors(path, arrays["factors"])
            rows = {len(data) for data in arrays.values()}
            if len(rows) > 1:
                raise ObjbenchError(
                    f"{path}: {' and '.join(arrays)} have different numbers of rows: {sorted(rows)}"
                )
            self._damaged[role] = damaged_rows(path, list(arrays.values()))
        return rows.pop()

    def _check_images(self, path: Path, data: h5py.Dataset) -> None:
        expected = (self._layout.height, self._layout.width, 3)
        if data.shape[1:] != expected:
            sizes = {name: (layout.height, layout.width, layout.channels) for name, layout in LAYOUTS.items()}
            others = [name for name, size in sizes.items() if size == data.shape[1:]]
            hint = f": is its layout {' or '.join(others)}?" if others else ""
            raise _odd_shape(path, data, _shape(expected) + hint)
        _check_numbers(path, data)

    def _check_masks(self, path: Path, data: h5py.Dataset) -> None:
        height, width = self._layout.height, self._layout.width
        expected = [(entities, height, width, 1) for entities in self._spec.entities]
        if data.shape[1:] not in expected:
            raise _odd_shape(path, data, " or ".join(map(_shape, expected)))
        _check_numbers(path, data)

    def _check_factors(self, path: Path, data: h5py.Dataset) -> None:
        least = len(self._layout.columns) + 1
        if len(data.shape) != 3 or data.shape[2] < least:
            raise _odd_shape(path, data, f"NxExF, F at least {least}")
        _check_numbers(path, data)


def _check_numbers(path: Path, data: h5py.Dataset) -> None:
    if data.dtype.kind not in "buif":
        raise ObjbenchError(f"{path}: {data.name} holds {data.dtype}, expected numbers")


def _odd_shape(path: Path, data: h5py.Dataset, expected: str) -> ObjbenchError:
    return ObjbenchError(f"{path}: {data.name} has the shape {_shape(data.shape[1:])}, expected {expected}")


def _shape(row: tuple[int, ...]) -> str:
    return "x".join(map(str, ("N", *row)))
