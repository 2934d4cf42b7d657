"""Damaged HDF5 files through `prepare`: which row it is, and what --skip-bad makes of it."""

from __future__ import annotations

import re
import struct
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from helpers.tfrecords import MINI_ARRAYS

from objbench.data.prepare.prepare import prepare
from objbench.errors import ObjbenchError
from objbench.spec.load import load_spec

SIZES = {"train": 10, "val": 0, "test": 0}


def stored(folder: Path, name: str, row: int, **how: Any) -> tuple[Path, Any]:
    """A file of ten rows, each a chunk, and where the one of `row` of the array `name` is."""
    path = folder / "tetrominoes.h5"
    with np.load(MINI_ARRAYS) as file:
        arrays = {"imgs": file["image"], "masks": file["mask"][..., None]}
    with h5py.File(path, "w") as file:
        for array, values in arrays.items():
            file.create_dataset(f"train/{array}", data=values, chunks=(1, *values.shape[1:]), **how)
        return path, file[f"train/{name}"].id.get_chunk_info_by_coord((row, *[0] * (arrays[name].ndim - 1)))


@pytest.mark.parametrize("name", ["imgs", "masks"])
def test_a_row_with_a_damaged_chunk_is_told_and_can_be_left_out(tmp_path: Path, name: str) -> None:
    path, found = stored(tmp_path, name, row=6, compression="gzip")
    content, entry = path.read_bytes(), struct.pack("<IIQ", found.size, 0, 6)
    assert content.count(entry) == 1
    path.write_bytes(content.replace(entry, struct.pack("<IIQ", found.size, 1, 6)))  # "stored unpacked"
    prepared = load_spec().dataset("tetrominoes"), "emorl", tmp_path, path, SIZES
    fault = f"/train/{name}: the header of a chunk is wrong (byte {found.byte_offset:,} of the file)"
    with pytest.raises(ObjbenchError, match=re.escape(f"{path}: /train, row 6: {fault}; --skip-bad leaves")):
        prepare(*prepared, workers=1)
    train = prepare(*prepared, workers=1, skip_bad=True).splits["train"]
    assert (train.count, [(scene.index, scene.reason) for scene in train.skipped]) == (9, [(6, fault)])


@pytest.mark.parametrize("name", ["imgs", "masks"])
def test_a_row_whose_bytes_are_damaged_is_told_and_can_be_left_out(tmp_path: Path, name: str) -> None:
    path, found = stored(tmp_path, name, row=3, fletcher32=True)
    with path.open("r+b") as raw:
        raw.seek(found.byte_offset + 100)
        raw.write(b"\x55")
    prepared = load_spec().dataset("tetrominoes"), "emorl", tmp_path, path, SIZES
    with pytest.raises(ObjbenchError, match=re.escape(f"{path}: /train, row 3: {name} cannot be read: ")):
        prepare(*prepared, workers=1)
    train = prepare(*prepared, workers=1, skip_bad=True).splits["train"]
    assert [scene.index for scene in train.skipped] == [3]
    with path.open("r+b") as raw:
        raw.seek(found.byte_offset - found.size + 100)  # of the row before: now two of ten rows
        raw.write(b"\x55")
    with pytest.raises(ObjbenchError, match=rf"2 of 10 scenes are damaged.*scene 2: {name} cannot be read"):
        prepare(*prepared, workers=1, skip_bad=True, force=True)
