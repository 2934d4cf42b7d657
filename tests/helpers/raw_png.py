"""PNGs of any depth and kind, which Pillow cannot write."""

from __future__ import annotations

import struct
import zlib


def raw_png(width: int, height: int, bits: int, kind: int, rows: list[bytes]) -> bytes:
    """A PNG by the specification: `kind` is its colour type, `rows` are packed, most significant bit first."""
    head = struct.pack(">IIBBBBB", width, height, bits, kind, 0, 0, 0)
    body = zlib.compress(b"".join(b"\0" + row for row in rows))  # no filter
    return b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", head) + _chunk(b"IDAT", body) + _chunk(b"IEND", b"")


def _chunk(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))
