"""Shards are USTAR archives: members with the same bytes on every machine, and a fast way to find them."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np

from objbench.data.scene import Array
from objbench.errors import ObjbenchError

BLOCK = 512
END = bytes(2 * BLOCK)
_MAGIC = np.frombuffer(b"ustar\x00", np.uint8)
_OCTAL = 8 ** np.arange(10, -1, -1)


def member(name: str, content: bytes) -> bytes:
    """One regular file of an archive: mode 0644; uid, gid and mtime 0; no owner names; `name` of at most 100 bytes."""
    header = bytearray(BLOCK)
    header[0 : len(name)] = name.encode("ascii")
    header[100:148] = b"0000644\x000000000\x000000000\x00%011o\x0000000000000\x00" % len(content)
    header[148:156] = b" " * 8
    header[156:157] = b"0"
    header[257:265] = b"ustar\x0000"
    header[148:156] = b"%06o\x00 " % sum(header)
    return b"".join((header, content, bytes(-len(content) % BLOCK)))


class Members(NamedTuple):
    """The files of an archive, in order.

    Attributes:
        names: Bytes (n,).
        starts: Where each content starts, int64 (n,).
        sizes: Bytes of each content, int64 (n,).
    """

    names: Array
    starts: Array
    sizes: Array

    def __len__(self) -> int:
        return len(self.names)


def walk(content: Array, path: Path) -> Members:
    """Find the members of an archive, about 20 times faster than tarfile.

    All headers are found at once: every 512-byte block with the USTAR magic. If they follow one another without a
    gap up to the end mark, none of them is part of a file's content.

    Args:
        content: Bytes of the archive, uint8 (n,).

    Raises:
        ObjbenchError: There are gaps, or no end mark.
    """
    blocks = content[: len(content) // BLOCK * BLOCK].reshape(-1, BLOCK)
    heads = np.flatnonzero((blocks[:, 257:263] == _MAGIC).all(1))
    headers = blocks[heads]
    sizes = (headers[:, 124:135].astype(np.int64) - ord("0")) @ _OCTAL
    follow = heads + 1 + -(-sizes // BLOCK)
    end = int(follow[-1]) if len(heads) else 0
    chained = len(heads) > 0 and heads[0] == 0 and bool((follow[:-1] == heads[1:]).all())
    if not chained or len(content) % BLOCK or not 0 < end <= len(blocks) - 2 or blocks[end:].any():
        raise ObjbenchError(f"{path}: not a shard (a USTAR archive, whole to its end mark)")
    names = np.ascontiguousarray(headers[:, :100]).view("S100")[:, 0]
    return Members(names, (heads + 1) * BLOCK, sizes)
