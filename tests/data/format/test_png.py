"""PNGs: Pillow reads what is written here, and everything that Pillow writes is read here."""

from __future__ import annotations

import io
import struct
import tracemalloc
import zlib

import numpy as np
import pytest
from helpers.own import FLIPPED_PNG, PNG
from PIL import Image

from objbench.data.format import png

SHAPES = [(1, 1), (35, 35), (64, 64), (65, 64), (128, 128)]


def pixels(height: int, width: int, channels: int) -> np.ndarray:
    shape = (height, width, 3) if channels == 3 else (height, width)
    return np.random.default_rng(height).integers(0, 256, shape, np.uint8)


@pytest.mark.parametrize("size", SHAPES)
@pytest.mark.parametrize(("mode", "channels"), [("RGB", 3), ("L", 1)])
def test_pillow_reads_what_is_written(size: tuple[int, int], mode: str, channels: int) -> None:
    written = pixels(*size, channels)
    content = png.encode(written)
    with Image.open(io.BytesIO(content)) as image:
        image.verify()
    with Image.open(io.BytesIO(content)) as image:
        assert (image.format, image.mode) == ("PNG", mode)
        assert np.array_equal(np.asarray(image), written)
    assert np.array_equal(png.decode(content, mode), written)


@pytest.mark.parametrize("size", SHAPES)
def test_what_pillow_writes_is_read(size: tuple[int, int]) -> None:
    written = pixels(*size, 3)
    buffer = io.BytesIO()
    Image.fromarray(written).save(buffer, "PNG")
    assert np.array_equal(png.decode(buffer.getvalue(), "RGB"), written)


def test_the_wrong_mode_is_refused() -> None:
    with pytest.raises(ValueError, match="mode RGB was expected, found L"):
        png.decode(png.encode(pixels(5, 7, 1)), "RGB")


@pytest.mark.parametrize("at", [0, 18, 45, -1])
@pytest.mark.parametrize("size", [(35, 35), (128, 128)])
def test_damage_is_noticed(size: tuple[int, int], at: int) -> None:
    content = bytearray(png.encode(pixels(*size, 3)))
    if at == -1:
        del content[-40:]
    else:
        content[at] ^= 0xFF
    with pytest.raises((ValueError, OSError, SyntaxError)):
        png.decode(bytes(content), "RGB")


def saved(pixels: np.ndarray | Image.Image) -> bytes:
    """What Pillow makes of them."""
    buffer = io.BytesIO()
    (pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)).save(buffer, "PNG")
    return buffer.getvalue()


def labels(size: int) -> np.ndarray:
    """A label map of three regions."""
    found = np.zeros((size, size), np.uint8)
    found[3:9, 4:20], found[12:30, 10:20] = 1, 2
    return found


@pytest.mark.parametrize(
    ("content", "mode"),
    [
        (png.encode(labels(35)), "L"),
        (png.encode(labels(128)), "L"),
        (png.encode(pixels(35, 35, 3) // 64), "RGB"),
        (png.encode(pixels(128, 128, 3) // 64), "RGB"),
        (saved(labels(35)), "L"),
        (saved(labels(128)), "L"),
    ],
    ids=["mask 35", "mask 128", "image 35", "image 128", "Pillow's 35", "Pillow's 128"],
)
def test_no_flipped_bit_is_read(content: bytes, mode: str) -> None:
    for bit in np.random.default_rng(0).permutation(8 * len(content))[:150].tolist():
        damaged = bytearray(content)
        damaged[bit // 8] ^= 1 << bit % 8
        with pytest.raises((ValueError, OSError, SyntaxError)):
            png.decode(bytes(damaged), mode)


def chunk(kind: bytes, content: bytes) -> bytes:
    """A chunk with the right checksum."""
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def header(width: int, height: int) -> bytes:
    return chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0))


DATA, END = chunk(b"IDAT", zlib.compress(bytes(2))), chunk(b"IEND", b"")


@pytest.mark.parametrize(
    ("chunks", "message"),
    [
        ([header(1, 1), header(1, 1), DATA, END], "a second IHDR"),
        ([header(1, 1), DATA, header(2, 1), END], "a second IHDR"),
        ([header(1, 1), DATA, chunk(b"tEXt", b"a\0b"), DATA, END], "a second IDAT"),
        ([DATA, header(1, 1), END], "its first chunk is not the header"),
        ([header(1, 1), END], "no image data"),
        ([header(1, 1), DATA], "it ends after 55 bytes, without its end chunk"),
        ([header(1, 1), DATA[:-2]], "it ends inside its chunk IDAT"),
        ([header(1, 1), struct.pack(">I4s", 2**32 - 1, b"IDAT"), bytes(8)], "it ends inside its chunk IDAT"),
        ([header(1, 1), DATA, END, b"rubbish"], "7 bytes follow its end"),
        ([header(1, 1), DATA, END, END], "12 bytes follow its end"),
        ([header(0, 1), DATA, END], "0x1 pixels, expected 1 to 16,777,216"),
        ([header(12_000, 12_000), DATA, END], "12000x12000 pixels, expected 1 to 16,777,216"),
    ],
)
def test_what_no_encoder_writes_is_refused(chunks: list[bytes], message: str) -> None:
    content = png.SIGNATURE + b"".join(chunks)
    for read in (png.check_chunks, lambda content: png.decode(content, "L")):
        with pytest.raises(ValueError, match=message):
            read(content)


def test_a_png_of_several_chunks_is_read() -> None:
    split = zlib.compress(bytes([0, 77]))
    chunks = [chunk(b"IDAT", part) for part in (split[:3], split[3:])]
    content = png.SIGNATURE + b"".join([header(1, 1), chunk(b"tEXt", b"a\0b"), *chunks, END])
    assert png.decode(content, "L").tolist() == [[77]]


def test_data_that_unpack_to_more_than_the_image_are_not_unpacked_whole() -> None:
    content = png.SIGNATURE + header(1, 1) + chunk(b"IDAT", zlib.compress(bytes(1 << 26))) + END
    tracemalloc.start()
    try:
        png.decode(content, "L")
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()


def test_checksums_of_any_png_are_checked_and_nothing_else() -> None:
    """Pillow takes the other picture that one changed byte makes."""
    with Image.open(io.BytesIO(PNG)) as sound, Image.open(io.BytesIO(FLIPPED_PNG)) as other:
        assert not np.array_equal(np.asarray(sound), np.asarray(other))
    png.check_sums(PNG)
    png.check_sums(PNG + b"followed by a note")
    png.check_sums(b"BM, another format")
    with pytest.raises(SyntaxError, match="checksum"):
        png.check_sums(FLIPPED_PNG)
    with pytest.raises(OSError, match="truncated"):
        png.check_sums(PNG[:-12])
