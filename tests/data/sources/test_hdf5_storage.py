from __future__ import annotations

import re
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from objbench.data.sources.hdf5 import opened
from objbench.data.sources.hdf5_storage import damaged_rows, read_rows
from objbench.errors import ObjbenchError

ROWS = 5
NUMBERS = np.random.default_rng(0).integers(0, 256, (ROWS, 6, 4)).astype(np.uint8)
BY_ROW = (1, 6, 4)


def store(path: Path, numbers: np.ndarray = NUMBERS, libver: str | None = None, **how: Any) -> Path:
    with h5py.File(path, "w", libver=libver) as file:
        for name in ("imgs", "masks"):
            file.create_dataset(name, data=numbers, **how)
    return path


def faults(path: Path) -> dict[int, str]:
    with opened(path) as file:
        return damaged_rows(path, [file["imgs"], file["masks"]])


def chunk(path: Path, name: str, row: int) -> Any:
    with h5py.File(path) as file:
        return file[name].id.get_chunk_info_by_coord((row, 0, 0))


def replace(path: Path, old: bytes, new: bytes) -> None:
    content = path.read_bytes()
    assert content.count(old) == 1
    path.write_bytes(content.replace(old, new))


def edit(path: Path, of: int, **new: int) -> None:
    """Change an entry of the index of `imgs` (HDF5's version 1 B-tree): size, filter_mask, row, byte_offset."""

    def entry(row: int, size: int, filter_mask: int, byte_offset: int) -> bytes:
        return struct.pack("<II4QQ", size, filter_mask, row, 0, 0, 0, byte_offset)

    found = chunk(path, "imgs", of)
    old = {name: getattr(found, name) for name in ("size", "filter_mask", "byte_offset")} | {"row": of}
    replace(path, entry(**old), entry(**{**old, **new}))


@pytest.mark.parametrize(
    "how",
    [
        {},
        {"chunks": True},
        {"chunks": BY_ROW, "compression": "gzip"},
        {"chunks": (2, 4, 3), "compression": "gzip", "shuffle": True, "fletcher32": True},
        {"chunks": BY_ROW, "compression": "lzf"},  # which gives up on random numbers
        {"chunks": (2, 6, 4), "maxshape": (None, 6, 4), "fletcher32": True},
        {"chunks": (8, 6, 4), "maxshape": (None, 6, 4)},
        {"chunks": BY_ROW, "compression": "gzip", "libver": "latest"},
        {"libver": "latest"},
        {"numbers": NUMBERS[:0]},
        {"numbers": NUMBERS[:0], "chunks": BY_ROW, "maxshape": (None, 6, 4)},
        *({"numbers": (NUMBERS // 128).astype(kind)} for kind in ("?", ">i4", "<f4", ">f8", "<f2", "i8")),
    ],
)
def test_what_hdf5_writes_is_sound(tmp_path: Path, how: dict[str, Any]) -> None:
    path = store(tmp_path / "a.h5", **how)
    assert faults(path) == {}
    with opened(path) as file:
        rows = slice(1, min(4, len(file["imgs"])))
        assert np.array_equal(read_rows(file["imgs"], rows), how.get("numbers", NUMBERS)[rows])


def test_compact_arrays_and_files_with_a_block_before_them_are_sound(tmp_path: Path) -> None:
    path = tmp_path / "a.h5"
    with h5py.File(path, "w", userblock_size=512) as file:
        plist = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        plist.set_layout(h5py.h5d.COMPACT)
        space = h5py.h5s.create_simple(NUMBERS.shape)
        h5py.Dataset(h5py.h5d.create(file.id, b"imgs", h5py.h5t.NATIVE_UINT8, space, plist))[:] = NUMBERS
        file.create_dataset("masks", data=NUMBERS, chunks=BY_ROW)
    assert faults(path) == {}


@pytest.mark.parametrize(
    ("how", "change", "rows", "fault"),
    [
        ({"compression": "gzip"}, {"filter_mask": 1}, {3}, "the header of a chunk is wrong"),
        ({"fletcher32": True}, {"filter_mask": 1}, {3}, "the header of a chunk is wrong"),
        ({"compression": "gzip"}, {"filter_mask": 1 << 9}, {3}, "the header of a chunk is wrong"),
        ({"compression": "lzf"}, {"filter_mask": 0, "size": 0}, {3}, "the header of a chunk is wrong"),
        ({"compression": "gzip", "shuffle": True}, {"filter_mask": 1}, {3}, "the header of a chunk is wrong"),
        ({}, {"size": 23}, {3}, "the header of a chunk is wrong"),
        ({"compression": "gzip"}, {"size": 1 << 30}, {3}, "it reaches beyond the end of the file"),
        ({}, {"byte_offset": (1 << 64) - 1}, {3}, "a chunk is missing"),
        ({}, {"byte_offset": 1 << 20}, {3}, "it reaches beyond the end of the file"),
        ({}, {"byte_offset": (1 << 63) + 8}, {3}, "it reaches beyond the end of the file"),
        ({"compression": "gzip"}, {"row": 2}, {2, 3}, "a chunk is there twice"),
        ({"compression": "gzip"}, {"row": 77}, {3}, "a chunk is missing"),
    ],
)
def test_a_damaged_entry_of_the_index_damages_its_row(
    tmp_path: Path, how: dict[str, Any], change: dict[str, int], rows: set[int], fault: str
) -> None:
    path = store(tmp_path / "a.h5", chunks=BY_ROW, **how)
    edit(path, 3, **change)
    found = faults(path)
    assert set(found) == rows
    assert found[min(rows)].startswith(f"/imgs: {fault}")


def test_two_chunks_of_the_same_bytes_damage_both_rows(tmp_path: Path) -> None:
    path = store(tmp_path / "a.h5", chunks=BY_ROW)
    place = chunk(path, "masks", 1).byte_offset
    edit(path, 3, byte_offset=place)
    assert faults(path) == {
        1: f"/masks: it shares bytes with another part (byte {place:,} of the file)",
        3: f"/imgs: it shares bytes with another part (byte {place:,} of the file)",
    }


def test_a_chunk_of_several_rows_damages_them_all(tmp_path: Path) -> None:
    path = store(tmp_path / "a.h5", chunks=(2, 6, 4), compression="gzip", maxshape=(None, 6, 4))
    edit(path, 4, filter_mask=1)
    assert set(faults(path)) == {4}
    edit(path, 2, filter_mask=1)
    assert set(faults(path)) == {2, 3, 4}


def test_an_index_that_lost_a_chunk_damages_its_row(tmp_path: Path) -> None:
    path = store(tmp_path / "a.h5", chunks=BY_ROW, compression="gzip")
    content = path.read_bytes()
    head = struct.pack("<4sBBH", b"TREE", 1, 0, ROWS)  # the first is that of imgs
    path.write_bytes(content.replace(head, struct.pack("<4sBBH", b"TREE", 1, 0, ROWS - 1), 1))
    assert faults(path) == {4: "/imgs: a chunk is missing"}


def test_a_chunk_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "a.h5"
    hardly_written(path)
    with pytest.raises(ObjbenchError, match=r"a.h5: damaged: HDF5 says: .*chunk"), opened(path) as file:
        read_rows(file["imgs"], slice(0, 3))


def test_a_chunk_that_hdf5_lists_but_does_not_find_is_an_error(tmp_path: Path) -> None:
    path = store(tmp_path / "a.h5", chunks=BY_ROW, compression="gzip")
    last = chunk(path, "imgs", ROWS - 1)
    key = struct.pack("<Q", last.byte_offset) + struct.pack("<II4Q", 0, 0, ROWS, 0, 0, 0)[:16]
    content = path.read_bytes()
    place = content.index(struct.pack("<Q", last.byte_offset), content.index(b"TREE\1")) + 8 + 8
    assert key[8:] in content[place - 8 : place + 24]
    path.write_bytes(
        content[:place] + struct.pack("<Q", 1) + content[place + 8 :]
    )  # the bound above the last row
    with h5py.File(path) as file:
        assert not file["imgs"][ROWS - 1].any()  # fill values, without an error
    assert faults(path) == {}
    with opened(path) as file:
        assert np.array_equal(read_rows(file["imgs"], slice(0, 1)), NUMBERS[:1])
    with pytest.raises(ObjbenchError, match=r"a.h5: damaged: HDF5 says: .*chunk"), opened(path) as file:
        read_rows(file["imgs"], slice(0, ROWS))


def never_written(path: Path) -> None:
    with h5py.File(path, "w") as file:
        file.create_dataset("imgs", NUMBERS.shape, np.uint8)
        file.create_dataset("masks", data=NUMBERS)


def hardly_written(path: Path) -> None:
    with h5py.File(path, "w") as file:
        file.create_dataset("imgs", NUMBERS.shape, np.uint8, chunks=BY_ROW)[:2] = NUMBERS[:2]
        file["masks"] = NUMBERS


def beyond(path: Path) -> None:
    store(path)
    with h5py.File(path) as file:
        place = file["imgs"].id.get_offset()
    replace(path, struct.pack("<QQ", place, NUMBERS.size), struct.pack("<QQ", place + 4096, NUMBERS.size))


def other_bias(path: Path) -> None:
    """Floats whose exponent counts from another number: all would be twice as large."""
    store(path, NUMBERS.astype(np.float32))
    content = path.read_bytes()
    form = struct.pack("<HHBBBBI", 0, 32, 23, 8, 0, 23, 127)
    assert content.count(form) == 2
    path.write_bytes(content.replace(form, struct.pack("<HHBBBBI", 0, 32, 23, 8, 0, 23, 126), 1))


def other_shuffle(path: Path) -> None:
    store(path, NUMBERS.astype(np.int32), chunks=BY_ROW, shuffle=True)
    content = path.read_bytes()
    form = b"shuffle\0" + struct.pack("<I", 4)
    assert content.count(form) == 2
    path.write_bytes(content.replace(form, b"shuffle\0" + struct.pack("<I", 8), 1))


def larger_chunks(path: Path) -> None:
    store(path, chunks=BY_ROW, compression="gzip")
    content = path.read_bytes()
    form = struct.pack("<4I", *BY_ROW, 1)
    assert content.count(form) == 2
    path.write_bytes(content.replace(form, struct.pack("<4I", 1, 6, 5, 1), 1))


def other_filter(path: Path, code: int = 32001) -> None:
    store(path, chunks=BY_ROW, compression="lzf")
    content = path.read_bytes()
    assert content.count(struct.pack("<HHH", 32000, 8, 1)) == 2
    path.write_bytes(content.replace(struct.pack("<HHH", 32000, 8, 1), struct.pack("<HHH", code, 8, 1), 1))


def elsewhere(path: Path) -> None:
    store(path.with_name("b.h5"))
    with h5py.File(path, "w") as file:
        layout = h5py.VirtualLayout(NUMBERS.shape, np.uint8)
        layout[:] = h5py.VirtualSource(path.with_name("b.h5"), "imgs", NUMBERS.shape)
        file.create_virtual_dataset("imgs", layout)
        file["masks"] = NUMBERS


def outside(path: Path) -> None:
    with h5py.File(path, "w") as file:
        size = NUMBERS.size
        file.create_dataset("imgs", data=NUMBERS, external=[(path.with_name("b.bin"), 0, size)])
        file["masks"] = NUMBERS


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (never_written, "damaged: /imgs: 0 bytes of it are stored, 120 are expected; get another copy of it"),
        (hardly_written, "damaged: /imgs: it has 2 chunks, 5 are expected; get another copy of it"),
        (beyond, "damaged: HDF5 says: Unable to synchronously open object"),
        (other_bias, "damaged: /imgs: its numbers are stored as no float64 is; get another copy of it"),
        (other_shuffle, "damaged: /imgs: its filter 'shuffle' is not that of int32; get another copy of it"),
        (larger_chunks, "damaged: /imgs: its chunks (1, 6, 5) are larger than itself, (5, 6, 4); get another"),
        (other_filter, "/imgs is stored with the filter 'lzf' (32001), which this HDF5 does not have. Install hdf5plugin"),
        (lambda path: other_filter(path, 99), "damaged: /imgs: its filter 99 does not exist; get another copy"),
        (elsewhere, "/imgs is kept in other files, which cannot be checked; copy it into one file with h5repack"),
        (outside, "/imgs is kept in other files, which cannot be checked; copy it into one file with h5repack"),
    ],
)  # fmt: skip
def test_arrays_that_cannot_be_read_rightly_are_refused(
    tmp_path: Path, make: Callable[[Path], None], message: str
) -> None:
    path = tmp_path / "a.h5"
    make(path)
    with pytest.raises(ObjbenchError, match=f"^{re.escape(f'{path}: {message}')}"):
        faults(path)
