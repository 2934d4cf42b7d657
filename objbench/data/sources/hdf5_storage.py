"""Whether the storage of an HDF5 array can be what it claims, before a number of it is believed.

HDF5 gives fill values for chunks that its index does not have, packed bytes for chunks whose header says that they were
stored without their filters, and the bytes at any address for an array that is one piece: a damaged index gives black
or scrambled images without an error. The index, 2 microseconds a chunk, is compared with the array's shape and with
the file; the numbers themselves are read by others.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from math import prod
from pathlib import Path

import h5py
import numpy as np

from objbench.data.scene import Array
from objbench.data.sources.hdf5 import ANOTHER_COPY
from objbench.errors import ObjbenchError

_FAR = np.uint64(1 << 62)  # what is larger in a damaged index would not fit into an int64
_CHECKSUM_BYTES = 4  # that Fletcher-32 appends to a chunk
_UNKNOWN = range(7, 256)  # numbers of filters that HDF5 keeps for itself and has not given to any
_NEVER_LEFT_OUT = (h5py.h5z.FILTER_SHUFFLE, h5py.h5z.FILTER_FLETCHER32)  # a compressor may give up on a chunk


@dataclass(frozen=True)
class Pieces:
    """Where the pieces of an array lie in its file: chunks, or the whole.

    Attributes:
        array: Its name.
        starts: int64 (P,), first bytes.
        sizes: int64 (P,), bytes.
        rows: int64 (P,2), first row, and the row after the last.
        faults: Row -> what is wrong with a piece of it.
    """

    array: str
    starts: Array
    sizes: Array
    rows: Array
    faults: dict[int, str]

    def blame(self, bad: Array, what: str) -> None:
        """Note a fault of the rows of some pieces, given as flags."""
        for piece in np.flatnonzero(bad):
            start, stop = self.rows[piece].tolist()
            self.blame_rows(start, stop, f"{what} (byte {self.starts[piece]:,} of the file)")

    def blame_rows(self, start: int, stop: int, what: str) -> None:
        """Note a fault of the rows [start, stop)."""
        for row in range(start, stop):
            self.faults.setdefault(row, f"{self.array}: {what}")


def damaged_rows(path: Path, arrays: list[h5py.Dataset]) -> dict[int, str]:
    """The rows of arrays of one file that cannot be read rightly, as far as the file's index tells: row -> the fault.

    Raises:
        ObjbenchError: An array cannot be read rightly at all.
    """
    pieces = [_pieces(path, data) for data in arrays]
    end = path.stat().st_size
    for array in pieces:
        array.blame(array.starts + array.sizes > end, "it reaches beyond the end of the file")
    if pieces:
        _blame_shared(pieces, end)
    return {row: fault for array in pieces for row, fault in array.faults.items()}


def read_rows(data: h5py.Dataset, rows: slice) -> Array:
    """The rows of an array; an error of h5py, also for a chunk that the index has but HDF5 does not find there.

    A search in a damaged index may miss a chunk that its listing shows, and HDF5 then gives fill values. So each chunk
    is asked for as it is stored, which HDF5 refuses for one that it does not find; its bytes then are in memory.
    """
    if data.chunks is not None:
        starts = [range(rows.start // data.chunks[0] * data.chunks[0], rows.stop, data.chunks[0])]
        starts += [range(0, *size) for size in zip(data.shape[1:], data.chunks[1:], strict=True)]
        for start in product(*starts):
            try:
                data.id.read_direct_chunk(start)
            except MemoryError:  # what h5py makes of a chunk without a size
                raise OSError(f"no chunk is found at {start}") from None
    values: Array = data[rows]
    return values


def _pieces(path: Path, data: h5py.Dataset) -> Pieces:
    _check_form(path, data)
    if data.chunks is not None:
        return _chunks(path, data)
    place, size = data.id.get_offset(), data.id.get_storage_size()
    if size != data.nbytes:
        raise _unsound(path, data, f"{size:,} bytes of it are stored, {data.nbytes:,} are expected")
    if place is None:  # compact: in the header itself
        return Pieces(data.name, _none(0), _none(0), _none(0, 2), {})
    return Pieces(data.name, np.array([place]), np.array([size]), np.array([[0, len(data)]]), {})


def _none(*shape: int) -> Array:
    return np.zeros(shape, np.int64)


def _check_form(path: Path, data: h5py.Dataset) -> None:
    """Raise ObjbenchError if numbers, filters or place of an array are none that can be read rightly."""
    if data.is_virtual or data.external:
        others = "; copy it into one file with h5repack"
        raise ObjbenchError(f"{path}: {data.name} is kept in other files, which cannot be checked{others}")
    if not data.id.get_type().equal(h5py.h5t.py_create(data.dtype, logical=True)):
        raise _unsound(path, data, f"its numbers are stored as no {data.dtype} is")
    if data.chunks is None:
        return
    fixed = [size for size, most in zip(data.shape, data.maxshape, strict=True) if size == most]
    chunk = [
        size for size, here, most in zip(data.chunks, data.shape, data.maxshape, strict=True) if here == most
    ]
    if any(part > whole for part, whole in zip(chunk, fixed, strict=True)):
        raise _unsound(path, data, f"its chunks {data.chunks} are larger than itself, {data.shape}")
    for code, _, values, name in _filters(data):
        if code in _UNKNOWN:
            raise _unsound(path, data, f"its filter {code} does not exist")
        if not h5py.h5z.filter_avail(code):
            called = f"'{name.decode(errors='replace')}' ({code})" if name else str(code)
            raise ObjbenchError(
                f"{path}: {data.name} is stored with the filter {called}, which this HDF5 does not have. Install "
                'hdf5plugin and set HDF5_PLUGIN_PATH=$(python -c "import hdf5plugin; print(hdf5plugin.PLUGIN_PATH)"), or '
                "store it anew where the filter is: h5repack -f GZIP=1 FILE NEW"
            )
        if code == h5py.h5z.FILTER_SHUFFLE and tuple(values[:1]) != (data.dtype.itemsize,):
            raise _unsound(path, data, f"its filter 'shuffle' is not that of {data.dtype}")


def _filters(data: h5py.Dataset) -> list[tuple[int, int, tuple[int, ...], bytes]]:
    """Code, flags, parameters and name of each filter, in the order of writing."""
    plist = data.id.get_create_plist()
    return [plist.get_filter(number) for number in range(plist.get_nfilters())]


def _chunks(path: Path, data: h5py.Dataset) -> Pieces:
    """The chunks of an array; faults are chunks that are missing, there twice, or of a wrong size."""
    grid = tuple(-(-whole // part) for whole, part in zip(data.shape, data.chunks, strict=True))
    expected, stored = prod(grid), _index(data)
    if len(stored) * 2 < expected:
        raise _unsound(path, data, f"it has {len(stored):,} chunks, {expected:,} are expected")
    far = np.array([(*c.chunk_offset, c.filter_mask, c.byte_offset, c.size) for c in stored], np.uint64)
    table = np.minimum(far, _FAR).astype(np.int64).reshape(-1, len(grid) + 3)
    places, masks, starts, sizes = table[:, :-3], table[:, -3], table[:, -2], table[:, -1]
    firsts = places[:, :1].clip(0, len(data))
    rows = np.concatenate([firsts, (firsts + data.chunks[0]).clip(0, len(data))], axis=1)
    pieces = Pieces(data.name, starts, sizes, rows, {})
    positions = places // data.chunks
    inside = ((places % data.chunks == 0) & (positions < grid)).all(axis=1)
    numbers = np.ravel_multi_index(tuple(positions[inside].T), grid)
    counts = np.bincount(numbers, minlength=expected)
    twice = np.zeros(len(stored), bool)
    twice[inside] = counts[numbers] > 1
    pieces.blame(twice, "a chunk is there twice")
    for number in np.flatnonzero(counts == 0):
        first = int(np.unravel_index(number, grid)[0]) * data.chunks[0]
        pieces.blame_rows(first, min(first + data.chunks[0], len(data)), "a chunk is missing")
    for mask in np.unique(masks):
        sound = _sound_sizes(data, int(mask), sizes)
        pieces.blame((masks == mask) & ~sound, "the header of a chunk is wrong")
    return pieces


def _index(data: h5py.Dataset) -> list[h5py.h5d.StoreInfo]:
    """The chunks in the index that have a place in the file."""
    stored: list[h5py.h5d.StoreInfo] = []
    data.id.chunk_iter(stored.append)
    return [chunk for chunk in stored if chunk.byte_offset is not None]


def _sound_sizes(data: h5py.Dataset, mask: int, sizes: Array) -> Array:
    """Whether a chunk may have each of `sizes` in bytes, if the filters of `mask` were left out for it."""
    filters = _filters(data)
    left_out = [one for number, one in enumerate(filters) if mask >> number & 1]
    used = [one for number, one in enumerate(filters) if not mask >> number & 1]
    if mask >> len(filters) or any(code in _NEVER_LEFT_OUT for code, *_ in left_out):
        return np.zeros(len(sizes), bool)
    codes = [code for code, *_ in used]
    if set(codes) - set(_NEVER_LEFT_OUT):  # compressed: any size, and what unpacks it sees what is wrong
        return sizes > 0
    whole = prod(data.chunks) * data.dtype.itemsize
    sound: Array = sizes == whole + _CHECKSUM_BYTES * codes.count(h5py.h5z.FILTER_FLETCHER32)
    return sound


def _blame_shared(arrays: list[Pieces], end: int) -> None:
    """Note a fault of all pieces that share bytes with another; those that do not fit into the file are left out."""
    starts = np.concatenate([array.starts for array in arrays])
    ends = starts + np.concatenate([array.sizes for array in arrays])
    ends = np.where(ends > end, starts, ends)
    order = np.argsort(starts, kind="stable")
    reach = np.maximum.accumulate(ends[order])
    shared = np.zeros(len(starts), bool)
    clash = starts[order][1:] < reach[:-1]
    shared[order[1:][clash]] = True
    shared[order[:-1][clash]] = True
    for array, part in zip(
        arrays, np.split(shared, np.cumsum([len(a.starts) for a in arrays])[:-1]), strict=True
    ):
        array.blame(part, "it shares bytes with another part")


def _unsound(path: Path, data: h5py.Dataset, what: str) -> ObjbenchError:
    return ObjbenchError(f"{path}: damaged: {data.name}: {what}; {ANOTHER_COPY}")
