"""The receipt of a downloaded file: where it came from, what it hashes to, and what that was checked against."""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import ClassVar, Literal

from objbench.data.download.http import CHUNK
from objbench.os_errors import naming
from objbench.stored import Stored

Kind = Literal["sha256", "md5", "crc32"]
Checksums = dict[Kind, str]
RECEIPT = ".receipt.json"  # what follows the name of the file


class Receipt(Stored):
    """What is known of a downloaded file.

    Attributes:
        url, etag, last_modified: As the server gave them (of the zip, for a `member`); None for a file put there by
            hand.
        mtime_ns: Of the file. While it and `bytes` are the same, the file counts as unchanged.
        sha256: Computed here.
        checked: The published checksums that the file has.
    """

    kind: ClassVar[str] = "a receipt"
    remedy: ClassVar[str] = "delete it, the file is then checked anew"
    indent: ClassVar[int | None] = 1

    url: str | None = None
    member: str | None = None
    etag: str | None = None
    last_modified: str | None = None
    bytes: int
    mtime_ns: int
    sha256: str
    checked: list[Kind]
    date: str

    def is_valid(self, path: Path) -> bool:
        """Whether the file at `path` is unchanged, by its size and time."""
        state = path.stat()
        return (state.st_size, state.st_mtime_ns) == (self.bytes, self.mtime_ns)


def receipt_path(path: Path) -> Path:
    """Where the receipt of the file `path` is."""
    return path.with_name(f"{path.name}{RECEIPT}")


def read_receipt(path: Path) -> Receipt | None:
    """The receipt of the file `path`, None if it has none; ObjbenchError if it cannot be read."""
    return Receipt.read(receipt_path(path))


def write_receipt(path: Path, receipt: Receipt) -> None:
    """Write the receipt of the file `path`."""
    receipt.save(receipt_path(path))


def checksums(
    path: Path, kinds: Iterable[Kind], step: Callable[[int], None] = lambda amount: None
) -> Checksums:
    """The checksums of a file as lower-case hexadecimal digits, computed in one pass; `step` is told each part's size."""
    hashes = {kind: hashlib.new(kind, usedforsecurity=False) for kind in kinds if kind != "crc32"}
    with_crc, crc = "crc32" in set(kinds), 0
    with naming(path), path.open("rb") as file:
        while data := file.read(CHUNK):
            for value in hashes.values():
                value.update(data)
            crc = zlib.crc32(data, crc) if with_crc else 0
            step(len(data))
    found: Checksums = {kind: value.hexdigest() for kind, value in hashes.items()}
    return {**found, "crc32": f"{crc:08x}"} if with_crc else found


def mismatches(found: Checksums, published: Checksums) -> list[str]:
    """Every published checksum that the file does not have, in words."""
    return [
        f"its {kind} is {found[kind]}, published is {value}"
        for kind, value in published.items()
        if found[kind] != value
    ]
