from __future__ import annotations

import errno
import gzip
import io
import os
import re
import struct
import sys
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from helpers.tfrecords import MINI, bytes_feature, example, field, float_feature, framed, masked_crc, write

from objbench.data.sources import gzipped
from objbench.data.sources.tfrecord import (
    Feature,
    Frame,
    Reader,
    SizeError,
    crc32c_function,
    crc32c_numpy,
    parse_example,
)
from objbench.errors import ObjbenchError

IMAGE = np.arange(12, dtype=np.uint8).reshape(2, 2, 3)
PLACE = np.array([0.5, -1, 3e8, 0], np.float32)
FEATURES = {"image": Feature("bytes", (2, 2, 3)), "place": Feature("float", (2, 2))}


def frames(path: Path) -> Iterator[Frame]:
    with Reader(path) as reader:
        yield from reader


@pytest.fixture(params=["fast", "plain"])
def libraries(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """With isal and google_crc32c, and as if neither were installed."""
    if request.param == "plain":
        monkeypatch.setitem(sys.modules, "isal", None)
        monkeypatch.setitem(sys.modules, "google_crc32c", None)
    else:
        pytest.importorskip("isal")
        pytest.importorskip("google_crc32c")
    return str(request.param)


def test_the_checksum_is_the_one_asked_for(libraries: str) -> None:
    assert (crc32c_function() is crc32c_numpy) == (libraries == "plain")


@pytest.mark.parametrize(
    ("data", "expected"),  # RFC 3720, B.4, and the check value of the catalogue of CRC algorithms
    [
        (b"", 0),
        (b"123456789", 0xE3069283),
        (bytes(32), 0x8A9136AA),
        (b"\xff" * 32, 0x62A8AB43),
        (bytes(range(32)), 0x46DD794E),
        (bytes(range(31, -1, -1)), 0x113FDB5C),
    ],
)
def test_crc32c_gives_the_published_values(libraries: str, data: bytes, expected: int) -> None:
    assert crc32c_function()(data) == expected


@pytest.mark.parametrize("size", [1, 3, 4, 5, 4095, 4096, 4097, 4099, 12345])
def test_both_checksums_agree_across_block_borders(size: int) -> None:
    google_crc32c = pytest.importorskip("google_crc32c")
    data = np.random.default_rng(size).bytes(size)
    assert crc32c_numpy(data) == google_crc32c.value(data)


@pytest.mark.parametrize("packed", [True, False], ids=["gzip", "uncompressed"])
def test_frames_come_with_number_and_offset(libraries: str, tmp_path: Path, packed: bool) -> None:
    path = write(tmp_path / "a.tfrecords", [b"one", b"", b"three"], packed)
    assert list(frames(path)) == [(0, 0, b"one", True), (1, 19, b"", True), (2, 35, b"three", True)]


def test_the_real_file_has_ten_records(libraries: str) -> None:
    assert [len(frame.payload) for frame in frames(MINI)] == [25944] * 10


def test_frames_are_read_one_at_a_time(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tfrecords", [b"good", b"bad"], packed=False)
    path.write_bytes(path.read_bytes()[:-2])
    stream = frames(path)
    assert next(stream).payload == b"good"
    with pytest.raises(ObjbenchError, match="record 1"):
        next(stream)


@pytest.mark.parametrize("content", [b"not a record at all", b"short", b"\x89HDF\r\n\x1a\n" + bytes(100)])
@pytest.mark.parametrize("packed", [True, False])
def test_another_kind_of_file_is_refused(
    libraries: str, tmp_path: Path, content: bytes, packed: bool
) -> None:
    path = tmp_path / "x.tfrecords"
    path.write_bytes(gzip.compress(content) if packed else content)
    with pytest.raises(ObjbenchError, match=re.escape(f"{path}: not a TFRecord file")):
        next(frames(path))


@pytest.mark.parametrize("packed", [True, False])
def test_an_empty_file_is_refused(libraries: str, tmp_path: Path, packed: bool) -> None:
    with pytest.raises(ObjbenchError, match="holds no records"):
        list(frames(write(tmp_path / "empty.tfrecords", [], packed)))


def test_a_truncated_gzip_names_the_record(libraries: str, tmp_path: Path) -> None:
    noise = np.random.default_rng(0).bytes(60_000)
    path = write(tmp_path / "cut.tfrecords", [noise[:20_000], noise[20_000:40_000], noise[40_000:]])
    path.write_bytes(path.read_bytes()[:45_000])
    with pytest.raises(ObjbenchError, match=r"cut.tfrecords: record 2 \(byte 40032 .*\): .* truncated"):
        list(frames(path))


def test_a_gzip_without_its_end_is_truncated_even_if_all_records_are_there(
    libraries: str, tmp_path: Path
) -> None:
    path = write(tmp_path / "cut.tfrecords", [b"one"])
    path.write_bytes(path.read_bytes()[:-4])
    with pytest.raises(ObjbenchError, match="truncated"):
        list(frames(path))


@pytest.mark.parametrize(
    ("keep", "where"), [(19 + 5, "frame header"), (19 + 14, "inside the record"), (37, "inside")]
)
def test_a_truncated_plain_file_names_the_record(
    libraries: str, tmp_path: Path, keep: int, where: str
) -> None:
    path = write(tmp_path / "cut.tfrecords", [b"one", b"two"], packed=False)
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(ObjbenchError, match=rf"record 1 \(byte 19 .*{where}.* truncated"):
        list(frames(path))


def test_a_disk_that_fails_names_the_record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "a.tfrecords", [b"first", b"second"], packed=False)
    content = io.BytesIO(path.read_bytes())

    def read(size: int) -> bytes:
        if content.tell() == 21:  # after the first record
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return content.read(size)

    monkeypatch.setattr(gzipped, "reader", lambda _: read)
    message = f"{path}: record 1 (byte 21 of the unpacked file): cannot be read: Input/output error; see to its disk"
    with pytest.raises(ObjbenchError, match=re.escape(message)):
        list(frames(path))


def flipped(tmp_path: Path, byte: int, packed: bool) -> Path:
    content = bytearray(framed(b"one") + framed(b"two") + framed(b"three"))
    content[byte] ^= 0x10
    path = tmp_path / "flipped.tfrecords"
    path.write_bytes(gzip.compress(content) if packed else content)
    return path


@pytest.mark.parametrize("byte", [19, 28])
@pytest.mark.parametrize("packed", [True, False])
def test_a_flipped_bit_in_a_length_names_the_record(
    libraries: str, tmp_path: Path, byte: int, packed: bool
) -> None:
    with pytest.raises(ObjbenchError, match=r"record 1 \(byte 19 .*record's length is wrong.* damaged"):
        list(frames(flipped(tmp_path, byte, packed)))


@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize("length", [2**27, 2**28 + 1, 2**40, 2**63, 2**64 - 1])
def test_a_length_that_the_file_cannot_hold_needs_no_memory(
    tmp_path: Path, packed: bool, length: int
) -> None:
    head = struct.pack("<Q", length)
    content = framed(b"one") + head + masked_crc(head) + bytes(1000)
    path = tmp_path / "hostile.tfrecords"
    path.write_bytes(gzip.compress(content) if packed else content)
    beyond = f"it has {length:,} bytes, expected at most 268,435,456"
    message = beyond if length > 2**28 else "the file ends inside the record: it is truncated"
    tracemalloc.start()
    try:
        with Reader(path) as reader, pytest.raises(ObjbenchError) as error:
            list(reader)
        assert tracemalloc.get_traced_memory()[1] < 2**26
    finally:
        tracemalloc.stop()
    assert str(error.value) == f"{path}: record 1 (byte 19 of the unpacked file): {message}"


@pytest.mark.parametrize("byte", [32, 35])
@pytest.mark.parametrize("packed", [True, False])
def test_a_flipped_bit_in_a_record_leaves_the_others_intact(
    libraries: str, tmp_path: Path, byte: int, packed: bool
) -> None:
    found = [frame.intact for frame in frames(flipped(tmp_path, byte, packed))]
    assert found == [True, False, True]


def test_records_can_be_left_out(libraries: str, tmp_path: Path) -> None:
    path = write(tmp_path / "a.tfrecords", [b"one", b"", b"three"])
    with Reader(path) as reader:
        assert reader.skip(2) == 2
        assert list(reader) == [(2, 35, b"three", True)]
        assert reader.position == 3
        assert reader.skip(5) == 0


def test_a_flipped_bit_in_the_gzip_stream_is_found(libraries: str, tmp_path: Path) -> None:
    path = write(tmp_path / "flipped.tfrecords", [np.random.default_rng(0).bytes(9000)])
    content = bytearray(path.read_bytes())
    content[-5] ^= 1  # its own checksum
    path.write_bytes(content)
    with pytest.raises(ObjbenchError, match="gzip stream is damaged"):
        list(frames(path))


@pytest.mark.parametrize("packed", [True, False], ids=["packed", "unpacked"])
@pytest.mark.parametrize("order", [["image", "place", "other"], ["other", "place", "image"]])
def test_features_are_found_in_any_order(packed: bool, order: list[str]) -> None:
    encoded = {
        "image": bytes_feature(IMAGE),
        "place": float_feature(PLACE, packed),
        "other": field(3, b"\x0a\x01\x05"),
    }
    found = parse_example(example({name: encoded[name] for name in order}), FEATURES)
    assert set(found) == {"image", "place"}
    assert np.array_equal(found["image"], IMAGE)
    assert found["place"].tolist() == [[0.5, -1], [3e8, 0]]
    assert (found["image"].dtype, found["place"].dtype) == (np.uint8, np.float32)


def test_floats_may_be_packed_in_several_blocks() -> None:
    blocks = field(1, PLACE[:1].tobytes()) + field(1, PLACE[1:].tobytes())
    found = parse_example(example({"place": field(2, blocks)}), {"place": FEATURES["place"]})
    assert np.array_equal(found["place"].ravel(), PLACE)


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (None, r"feature 'image' is missing \(found: place\)"),
        (float_feature(PLACE), "feature 'image' is a list of float values, expected bytes"),
        (field(1, field(1, IMAGE.tobytes())), "feature 'image' is no plain array"),
        (field(1, field(1, b"ab") * 9), "feature 'image' is no plain array"),
        (bytes_feature(IMAGE[:, :1]), "image has 6 values, expected 12 = 2x2x3"),
    ],
    ids=["missing", "other kind", "one long string", "strings of two", "other size"],
)
def test_a_wrong_feature_is_refused(image: bytes | None, message: str) -> None:
    features = {"place": float_feature(PLACE)} | ({"image": image} if image else {})
    with pytest.raises(ValueError, match=message):
        parse_example(example(features), FEATURES)


def test_a_size_error_knows_what_it_found() -> None:
    with pytest.raises(SizeError) as caught:
        parse_example(example({"image": bytes_feature(IMAGE[0])}), FEATURES)
    assert (caught.value.name, caught.value.count) == ("image", 6)


@pytest.mark.parametrize("payload", [b"", b"hello, world", b"\x0a\xff\xff", field(1, field(1, b"\x00"))])
def test_a_payload_that_is_no_example_is_refused(payload: bytes) -> None:
    with pytest.raises(ValueError, match=r"not a tf\.train\.Example"):
        parse_example(payload, FEATURES)
