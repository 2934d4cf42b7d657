"""Tar archives, gzip-compressed or not, read once from front to back.

Nothing is unpacked to disk, and a name is only compared with those of the layout: an archive can write nothing and
point nowhere. Folders, extended headers and all files that are not wanted are passed over unread.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from pathlib import Path
from typing import NamedTuple

from objbench.data.sources import gzipped
from objbench.data.sources.clevrtex.names import MOST_BYTES, FileId, ForeignError, Variant, parse
from objbench.data.sources.gzipped import StreamError
from objbench.errors import ObjbenchError
from objbench.os_errors import naming

_BLOCK = 512
_STEP = 1 << 20
_BASE_256 = 0x80
_EXTENDED = (b"x", b"g", b"X", b"L", b"K")  # headers about the next member
_SPECIAL = {b"1": "a hard link", b"2": "a symbolic link", b"3": "a device", b"4": "a device", b"6": "a pipe"}


class Member(NamedTuple):
    """A file of a scene in an archive: what it is, its full name, and what it holds."""

    file_id: FileId
    name: str
    content: bytes


def members(path: Path, variant: Variant) -> Generator[Member, None, None]:
    """The files of scenes in an archive, in its order.

    Raises:
        ObjbenchError: The archive is truncated, damaged or of another dataset, or a scene's file is not a plain file of
            a sensible size and name. The message names archive and member.
    """
    last = "none"
    with naming(path), path.open("rb") as file:
        read = gzipped.reader(file)
        try:
            while header := _header(read, first=last == "none"):
                last = header.name
                file_id = _file_id(header, variant)
                if file_id is None:
                    _skip(read, header.padded)
                else:
                    yield Member(file_id, header.name, _content(read, header))
            while read(_STEP):  # what follows the end mark: behind it stands the checksum of the gzip stream
                pass
        except (StreamError, _TarError) as error:
            raise ObjbenchError(
                f"{path}: {error}; last member read: {last}; get another copy of it"
            ) from None
        except (ForeignError, _UnsafeError) as error:
            raise ObjbenchError(f"{path}: member {last}: {error}") from None


class _TarError(Exception):
    """The archive is damaged, or no archive at all."""


class _UnsafeError(Exception):
    """A member that the release cannot have."""


class _Header(NamedTuple):
    name: str
    size: int
    kind: bytes

    @property
    def padded(self) -> int:
        """The bytes that the content takes in the archive."""
        return -(-self.size // _BLOCK) * _BLOCK


def _header(read: Callable[[int], bytes], first: bool) -> _Header | None:
    """The next header of a tar archive, its checksum verified; None at the end mark."""
    block = read(_BLOCK)
    if len(block) == _BLOCK and not any(block):
        return None
    if first and not _intact(block):
        raise _TarError("not a tar archive")
    if len(block) < _BLOCK:
        raise _TarError("the archive ends without its end mark: it is truncated")
    if not _intact(block):
        raise _TarError("the header of a member is wrong: the archive is damaged")
    prefix = _text(block[345:500]) if block[257:263] == b"ustar\0" else ""
    name = _text(block[:100])
    return _Header(f"{prefix}/{name}" if prefix else name, _number(block[124:136]), block[156:157])


def _intact(block: bytes) -> bool:
    """Whether a header's checksum is right: the sum of its bytes, the checksum's own counted as spaces."""
    try:
        return len(block) == _BLOCK and sum(block) - sum(block[148:156]) + 8 * 32 == _number(block[148:156])
    except _TarError:
        return False


def _number(field: bytes) -> int:
    """A number in octal digits, or in base 256 after a byte 0x80 (GNU, for 8 GiB and more)."""
    if field[0] == _BASE_256:
        return int.from_bytes(field[1:], "big")
    digits = field.strip(b" \0")
    if digits.strip(b"01234567"):
        raise _TarError("the header of a member is wrong: the archive is damaged")
    return int(digits or b"0", 8)


def _text(field: bytes) -> str:
    return field.split(b"\0", 1)[0].decode("utf-8", "replace")


def _file_id(header: _Header, variant: Variant) -> FileId | None:
    """What the member is, None if it is not wanted."""
    if header.kind in _EXTENDED:
        return None
    *folders, name = header.name.split("/")
    file_id = parse(name, variant)
    if file_id is None:
        return None
    if header.name.startswith("/") or ".." in folders:
        raise _UnsafeError("its name leads out of the archive: this is not the release")
    if header.kind not in (b"0", b"\0"):
        what = _SPECIAL.get(header.kind, f"of the kind {header.kind!r}")
        raise _UnsafeError(f"it is {what}, expected a plain file: this is not the release")
    if header.size > MOST_BYTES:
        raise _UnsafeError(f"it has {header.size:,} bytes, expected at most {MOST_BYTES:,}")
    return file_id


def _content(read: Callable[[int], bytes], header: _Header) -> bytes:
    content = read(header.padded)
    if len(content) < header.padded:
        raise _TarError("the archive ends inside a member: it is truncated")
    return content[: header.size]


def _skip(read: Callable[[int], bytes], size: int) -> None:
    while size:
        passed = len(read(min(size, _STEP)))
        if not passed:
            raise _TarError("the archive ends inside a member: it is truncated")
        size -= passed
