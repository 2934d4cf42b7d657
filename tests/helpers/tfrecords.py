"""Writes TFRecord files, and opens the real ten-record one, for the tests of the sources."""

from __future__ import annotations

import gzip
import struct
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from helpers.paths import FIXTURES
from objbench.data.sources.base import SourceRequest
from objbench.data.sources.tfrecord import crc32c_function
from objbench.spec.load import load_spec

MINI = FIXTURES / "tetrominoes_deepmind" / "tetrominoes_mini.tfrecords"
MINI_ARRAYS = MINI.with_suffix(".npz")


def request(source: str, raw: Path | None, dataset: str = "tetrominoes", **sizes: int) -> SourceRequest:
    return SourceRequest(load_spec().dataset(dataset), source, raw, sizes)


def masked_crc(data: bytes) -> bytes:
    crc = crc32c_function()(data)
    return struct.pack("<I", ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF)


def framed(payload: bytes) -> bytes:
    length = struct.pack("<Q", len(payload))
    return length + masked_crc(length) + payload + masked_crc(payload)


def write(path: Path, payloads: list[bytes], packed: bool = True) -> Path:
    content = b"".join(map(framed, payloads))
    path.write_bytes(gzip.compress(content, 1) if packed else content)
    return path


def field(number: int, content: bytes) -> bytes:
    size, length = b"", len(content)
    while length >= 0x80:
        size, length = size + bytes([length & 0x7F | 0x80]), length >> 7
    return bytes([number << 3 | 2]) + size + bytes([length]) + content


def bytes_feature(values: np.ndarray) -> bytes:
    return field(1, b"".join(b"\x0a\x01" + bytes([value]) for value in values.ravel().tolist()))


def float_feature(values: np.ndarray, packed: bool = True) -> bytes:
    values = values.astype("<f4").ravel()
    loose = b"".join(b"\x0d" + value.tobytes() for value in values)
    return field(2, field(1, values.tobytes()) if packed else loose)


def example(features: Mapping[str, bytes]) -> bytes:
    """A tf.train.Example of encoded features, in their order."""
    entries = (field(1, field(1, name.encode()) + field(2, feature)) for name, feature in features.items())
    return field(1, b"".join(entries))


def tetrominoes(row: int, **changed: np.ndarray) -> bytes:
    """Record `row` of the real ones, with some features replaced."""
    with np.load(MINI_ARRAYS) as arrays:
        values = {name: arrays[name][row] for name in arrays} | changed
    encode = {np.dtype(np.uint8): bytes_feature, np.dtype(np.float32): float_feature}
    return example({name: encode[value.dtype](value) for name, value in values.items()})
