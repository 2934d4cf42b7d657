"""TFRecord files of tf.train.Example without TensorFlow: frames with both checksums, features in bulk.

A file, GZIP-compressed as a whole or not, is a row of frames: length (u64 little-endian), masked CRC-32C of the
length, payload, masked CRC-32C of the payload. The released datasets store an array of bytes as a list with ONE
STRING PER ELEMENT, 0A 01 xx on the wire: taken here as every third byte, once the pattern is checked.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np

from objbench.data.scene import Array
from objbench.data.sources import gzipped
from objbench.data.sources.gzipped import StreamError
from objbench.errors import ObjbenchError
from objbench.os_errors import naming

_POLYNOMIAL = 0x82F63B78  # Castagnoli, reflected
_MASK_DELTA = 0xA282EAD8
_TABLE_BYTES = 4096
MOST_BYTES = 1 << 28  # of a record; the largest of the released ones has 3.3 MB
_MOST_SHIFT = 63  # in a length: it has 64 bits

# Wire format of protocol buffers: an Example holds length-delimited fields down to the lists of values.
_WIRE_TYPE, _LENGTH_DELIMITED = 7, 2
_KINDS = {1: "bytes", 2: "float", 3: "int64"}  # field number in a Feature
_STRING = np.dtype([("head", "<u2"), ("value", "u1")])
_STRING_HEAD = 0x010A  # field 1, one byte long
_PACKED = np.dtype("<f4")
_FLOAT = np.dtype([("tag", "u1"), ("value", "<f4")])
_FLOAT_TAG = 0x0D  # field 1, a single float: a list that is not packed


@dataclass(frozen=True)
class Feature:
    """A feature as a dataset declares it: uint8 from a bytes_list or float32 from a float_list, in this shape."""

    kind: Literal["bytes", "float"]
    shape: tuple[int, ...]

    @cached_property
    def size(self) -> int:
        """The number of values."""
        return math.prod(self.shape)


class Frame(NamedTuple):
    """A record of the file: its number (0-based), the offset of its frame in the unpacked bytes, its payload.

    intact: whether the payload has the checksum that the file says.
    """

    number: int
    offset: int
    payload: bytes
    intact: bool


class Reader:
    """Reads or skips the records of a file in order. A context manager, which closes the file.

    Raises:
        ObjbenchError: The file is truncated, of another kind, or so damaged that the next record cannot be found. The
            message names the record and the byte.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.position = 0  # the number of the next record
        self._offset = 0
        self._crc32c = crc32c_function()
        self._file = path.open("rb")
        with naming(path):
            self._unpacked = gzipped.reader(self._file)

    def __enter__(self) -> Reader:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def __iter__(self) -> Iterator[Frame]:
        while (payload := self._payload()) is not None:
            intact = _intact(self._crc32c, payload, self._checksum())
            frame = Frame(self.position, self._offset, payload, intact)
            self._advance(payload)
            yield frame

    def skip(self, count: int) -> int:
        """Skip `count` records without checking them, fewer at the end of the file; the number skipped."""
        for done in range(count):
            payload = self._payload()
            if payload is None:
                return done
            self._checksum()
            self._advance(payload)
        return count

    def _payload(self) -> bytes | None:
        """The payload of the next record, None at the end of the file."""
        header = self._read(12)
        if not header:
            if self.position == 0:
                raise ObjbenchError(f"{self.path}: holds no records")
            return None
        whole = len(header) == 12
        if self.position == 0 and not (whole and _intact(self._crc32c, header[:8], header[8:])):
            raise ObjbenchError(f"{self.path}: not a TFRecord file (the first 12 bytes are no frame header)")
        if not whole:
            raise self._fail("the file ends inside a frame header: it is truncated")
        if not _intact(self._crc32c, header[:8], header[8:]):
            raise self._fail("the checksum of the record's length is wrong: the file is damaged")
        (length,) = struct.unpack("<Q", header[:8])
        if length > MOST_BYTES:
            raise self._fail(f"it has {length:,} bytes, expected at most {MOST_BYTES:,}")
        payload = self._read(length)
        if len(payload) < length:
            raise self._fail("the file ends inside the record: it is truncated")
        return payload

    def _checksum(self) -> bytes:
        checksum = self._read(4)
        if len(checksum) < 4:
            raise self._fail("the file ends inside the record: it is truncated")
        return checksum

    def _advance(self, payload: bytes) -> None:
        self.position += 1
        self._offset += len(payload) + 16

    def _read(self, size: int) -> bytes:
        try:
            return self._unpacked(size)
        except StreamError as error:
            raise self._fail(str(error)) from None
        except OSError as error:  # of a failing disk: it names no file
            raise self._fail(f"cannot be read: {error.strerror or error}; see to its disk") from error

    def _fail(self, what: str) -> ObjbenchError:
        return ObjbenchError(f"{place(self.path, self.position, self._offset)}: {what}")


def place(path: Path, number: int, offset: int) -> str:
    """A record as messages call it."""
    return f"{path}: record {number} (byte {offset} of the unpacked file)"


class SizeError(ValueError):
    """A feature with another number of values than declared."""

    def __init__(self, name: str, count: int, declared: Feature) -> None:
        shape = "x".join(map(str, declared.shape))
        super().__init__(f"{name} has {count} values, expected {declared.size} = {shape}")
        self.name, self.count = name, count


def parse_example(payload: bytes, features: Mapping[str, Feature]) -> dict[str, Array]:
    """The declared `features` of a tf.train.Example, in any order; other features are ignored.

    Returns:
        Read-only views of the payload.

    Raises:
        ValueError: The payload is not an Example, or a feature is missing or of the other kind.
        SizeError: A feature has another size.
    """
    found: dict[str, Array] = {}
    try:
        _, at, stop = _field(payload, 0, len(payload))
        while at < stop:
            _, start, at = _field(payload, at, stop)
            _, key_start, key_stop = _field(payload, start, at)
            name = payload[key_start:key_stop].decode()
            if name in features:
                _, start, end = _field(payload, key_stop, at)
                found[name] = _values(payload, start, end, name, features[name])
    except (IndexError, UnicodeDecodeError, _MalformedError):
        raise ValueError("not a tf.train.Example") from None
    for name in features:
        if name not in found:
            raise ValueError(
                f"feature '{name}' is missing (found: {', '.join(sorted(found)) or 'none expected'})"
            )
    return found


def is_example(payload: bytes) -> bool:
    """Whether the payload is a tf.train.Example at all."""
    try:
        parse_example(payload, {})
    except ValueError:
        return False
    return True


class _MalformedError(Exception):
    """The bytes are not the protocol buffer that they should be."""


def _field(buffer: bytes, at: int, end: int) -> tuple[int, int, int]:
    """The length-delimited field at `at`: its number, and where its content starts and stops."""
    tag, size = buffer[at], buffer[at + 1]
    at += 2
    if size & 0x80:
        size &= 0x7F
        shift = 7
        while (byte := buffer[at]) & 0x80:
            size |= (byte & 0x7F) << shift
            shift += 7
            if shift > _MOST_SHIFT:
                raise _MalformedError
            at += 1
        size |= byte << shift
        at += 1
    if tag & _WIRE_TYPE != _LENGTH_DELIMITED or at + size > end:
        raise _MalformedError
    return tag >> 3, at, at + size


def _values(buffer: bytes, start: int, stop: int, name: str, declared: Feature) -> Array:
    """The values of the Feature message in buffer[start:stop], whose one field says the kind of its list."""
    number, start, stop = _field(buffer, start, stop)
    kind = _KINDS.get(number, "unknown")
    if kind != declared.kind:
        raise ValueError(f"feature '{name}' is a list of {kind} values, expected {declared.kind}")
    values = (_bytes if kind == "bytes" else _floats)(buffer, start, stop)
    if values is None:
        raise ValueError(
            f"feature '{name}' is no plain array: expected a list of 1-byte strings, or of floats"
        )
    if len(values) != declared.size:
        raise SizeError(name, len(values), declared)
    return values.reshape(declared.shape)


def _bytes(buffer: bytes, start: int, stop: int) -> Array | None:
    """The uint8 of a BytesList of strings of one byte each; None if it holds others."""
    count, rest = divmod(stop - start, _STRING.itemsize)
    strings = np.frombuffer(buffer, _STRING, count, start)
    return strings["value"] if not rest and (strings["head"] == _STRING_HEAD).all() else None


def _floats(buffer: bytes, start: int, stop: int) -> Array | None:
    """The float32 of a FloatList, packed or not; None if it is malformed."""
    if start < stop and buffer[start] == _FLOAT_TAG:
        count, rest = divmod(stop - start, _FLOAT.itemsize)
        floats = np.frombuffer(buffer, _FLOAT, count, start)
        return floats["value"] if not rest and (floats["tag"] == _FLOAT_TAG).all() else None
    blocks = []
    while start < stop:
        _, first, start = _field(buffer, start, stop)
        if (start - first) % 4:
            return None
        blocks.append(np.frombuffer(buffer, _PACKED, (start - first) // 4, first))
    return blocks[0] if len(blocks) == 1 else np.concatenate(blocks or [np.empty(0, _PACKED)])


def crc32c_function() -> Callable[[bytes], int]:
    """CRC-32C (Castagnoli): the processor's own where google_crc32c is installed, else a table in NumPy."""
    with suppress(ImportError):
        import google_crc32c

        if google_crc32c.implementation == "c":
            function: Callable[[bytes], int] = google_crc32c.value
            return function
    return crc32c_numpy


def crc32c_numpy(data: bytes) -> int:
    """CRC-32C by table, a block at a time: the register that a block leaves is the exclusive or of what each of
    its bytes alone would leave; the register from before acts like further input, laid over the first four bytes."""
    table = _crc_table()
    register = 0xFFFFFFFF
    for start in range(0, len(data), _TABLE_BYTES):
        block = np.frombuffer(data, np.uint8)[start : start + _TABLE_BYTES].copy()
        size = len(block)
        over = np.frombuffer(register.to_bytes(4, "little"), np.uint8)[:size]
        block[: len(over)] ^= over
        left = np.bitwise_xor.reduce(table[_TABLE_BYTES - size :][np.arange(size), block])
        register = int(left) ^ (register >> 8 * size)
    return register ^ 0xFFFFFFFF


@cache
def _crc_table() -> Array:
    """uint32 (4096,256): the register after a byte value and then the zeros up to the end of a block."""
    last: Array = np.arange(256, dtype=np.uint32)
    for _ in range(8):
        last = (last >> 1) ^ (last & 1) * np.uint32(_POLYNOMIAL)
    table = np.empty((_TABLE_BYTES, 256), np.uint32)
    table[-1] = last
    for i in range(_TABLE_BYTES - 1, 0, -1):
        table[i - 1] = last[table[i] & 0xFF] ^ (table[i] >> 8)
    return table


def _intact(crc32c: Callable[[bytes], int], data: bytes, checksum: bytes) -> bool:
    """Whether `checksum` is the masked CRC of `data`."""
    crc = crc32c(data)
    masked = ((crc >> 15 | crc << 17) + _MASK_DELTA) & 0xFFFFFFFF
    return masked == int.from_bytes(checksum, "little")
