"""PNG: small files, a fast way to read those written without filters, and the checks that Pillow leaves out.

Pillow does not verify the checksum of the image data: one flipped bit gives another label map without an error.
"""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
from PIL import Image

from objbench.data.scene import Array
from objbench.spec.limits import MOST_PIXELS

SIGNATURE = b"\x89PNG\r\n\x1a\n"
_COLOURS = {"L": 0, "RGB": 2}
_CHANNELS = {"L": 1, "RGB": 3}
_FLAT_PIXELS = (
    64 * 64
)  # images up to this size are written without filters: they have few colours, and are read 5x faster
_LEVEL = 4  # rendered scenes get as small as with level 6, 2.5 times faster
_HEADER = struct.Struct(">IIBBBBB")
_CHUNK_HEAD = struct.Struct(">I4s")
_END = b"\0\0\0\0IEND\xaeB`\x82"


def encode(pixels: Array) -> bytes:
    """The PNG of pixels uint8 (H,W,3), or of a label map uint8 (H,W). Equal pixels give equal bytes."""
    if _is_flat(*pixels.shape):
        return _unfiltered(pixels)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG", compress_level=_LEVEL)
    return buffer.getvalue()


def decode(content: bytes, mode: str) -> Array:
    """The pixels of a PNG that must be of `mode` ("RGB" or "L"); ValueError, OSError or SyntaxError otherwise."""
    pixels = _read_unfiltered(content, mode)
    if pixels is not None:
        return pixels
    check_chunks(content)
    with Image.open(io.BytesIO(content), formats=["PNG"]) as image:
        if image.mode != mode:
            raise ValueError(f"a PNG of mode {mode} was expected, found {image.mode}")
        return np.asarray(image)


def check_chunks(content: bytes) -> None:
    """Check a PNG before it is decoded: its chunks, their order and checksums, and the size that it claims.

    Raises:
        ValueError: The content is no PNG, damaged, incomplete, followed by other bytes, or has more than MOST_PIXELS
            pixels.
    """
    if content[:8] != SIGNATURE:
        raise ValueError("it does not begin as a PNG does")
    view, at, previous = memoryview(content), len(SIGNATURE), b""
    seen: set[bytes] = set()
    while previous != b"IEND":
        if at + 12 > len(content):
            raise ValueError(f"it ends after {len(content):,} bytes, without its end chunk")
        size, kind = _CHUNK_HEAD.unpack_from(content, at)
        stop = at + 8 + size
        if stop + 4 > len(content):
            raise ValueError(f"it ends inside its chunk {_printed(kind)}, or the length of that is wrong")
        if zlib.crc32(view[at + 4 : stop]) != int.from_bytes(content[stop : stop + 4], "big"):
            raise ValueError(f"the checksum of its chunk {_printed(kind)} is wrong")
        if not seen:
            _check_header(content, kind, size)
        elif kind in seen and (kind == b"IHDR" or (kind == b"IDAT" and previous != b"IDAT")):
            raise ValueError(f"it has a second {_printed(kind)}")
        seen.add(kind)
        at, previous = stop + 4, kind
    if b"IDAT" not in seen:
        raise ValueError("it has no image data")
    if at != len(content):
        raise ValueError(f"{len(content) - at:,} bytes follow its end")


def check_sums(content: bytes) -> None:
    """Check the checksums of a PNG of any kind and size; other formats are passed over, as few have any.

    Raises:
        OSError, SyntaxError: A checksum is wrong, or the end is missing.
    """
    if content.startswith(SIGNATURE):
        with Image.open(io.BytesIO(content)) as image:
            image.verify()


def _check_header(content: bytes, kind: bytes, size: int) -> None:
    if kind != b"IHDR" or size != _HEADER.size:
        raise ValueError("its first chunk is not the header")
    width, height, *_ = _HEADER.unpack_from(content, 16)
    if not 0 < width * height <= MOST_PIXELS:
        raise ValueError(f"it has {width}x{height} pixels, expected 1 to {MOST_PIXELS:,}")


def _printed(kind: bytes) -> str:
    return kind.decode("ascii", "replace") if kind.isalpha() else repr(kind)


def _is_flat(height: int, width: int, channels: int = 1) -> bool:
    return channels == 1 or height * width <= _FLAT_PIXELS


def _unfiltered(pixels: Array) -> bytes:
    height, width = pixels.shape[:2]
    rows = np.zeros((height, 1 + pixels[0].size), np.uint8)  # every row begins with its filter: 0 = none
    rows[:, 1:] = pixels.reshape(height, -1)
    header = _HEADER.pack(width, height, 8, _COLOURS["L" if pixels.ndim == 2 else "RGB"], 0, 0, 0)
    data = zlib.compress(rows.data, 6)
    return SIGNATURE + _chunk(b"IHDR", header) + _chunk(b"IDAT", data) + _END


def _chunk(kind: bytes, content: bytes) -> bytes:
    return b"".join(
        (struct.pack(">I", len(content)), kind, content, struct.pack(">I", zlib.crc32(kind + content)))
    )


def _read_unfiltered(content: bytes, mode: str) -> Array | None:
    """The pixels of a PNG that `_unfiltered` wrote; None for any other PNG and for damaged ones."""
    if content[:16] != SIGNATURE + b"\0\0\0\rIHDR" or content[37:41] != b"IDAT":
        return None
    channels = _CHANNELS[mode]
    width, height, *form = _HEADER.unpack_from(content, 16)
    end = 41 + struct.unpack_from(">I", content, 33)[0]
    view, size = memoryview(content), height * (1 + width * channels)
    ours = form == [8, _COLOURS[mode], 0, 0, 0] and _is_flat(height, width, channels)
    sums = struct.pack(">II", zlib.crc32(view[12:29]), zlib.crc32(view[37:end]))
    if not ours or content[29:33] + content[end:] != sums + _END or not 0 < width * height <= MOST_PIXELS:
        return None
    unpacker = zlib.decompressobj()
    try:
        rows = np.frombuffer(unpacker.decompress(view[41:end], size + 1), np.uint8)
    except zlib.error:
        return None
    if not unpacker.eof or len(rows) != size or rows[:: 1 + width * channels].any():
        return None
    pixels = rows.reshape(height, -1)[:, 1:]
    return pixels if channels == 1 else pixels.reshape(height, width, channels)
