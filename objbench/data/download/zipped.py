"""One member of a zip archive on a server: found by range requests, fetched without the rest."""

from __future__ import annotations

import difflib
import io
import struct
import zipfile
import zlib
from pathlib import Path

from objbench.data.download.http import CHUNK, Client, ResourceInfo
from objbench.data.download.patience import PermanentError
from objbench.data.download.transfer import ByteRange
from objbench.os_errors import naming

_LOCAL_HEADER = struct.Struct(
    "<4s22xHH"
)  # signature; lengths of the name and of the extra field (APPNOTE 4.3.7)
_LOCAL_SIGNATURE = b"PK\x03\x04"
_DIRECTORY_READ = 64 << 10
_LARGEST_DIRECTORY = 64 << 20
_NAMES_SHOWN = 8
_ENCRYPTED = 0x1


def find_member(client: Client, resource: ResourceInfo, name: str) -> tuple[ByteRange, zipfile.ZipInfo]:
    """Where the data of the member `name` is in the zip archive, and the member's entry in its directory.

    Raises:
        PermanentError: The server gives no ranges, the file is no zip, or it has no such member that can be read.
    """
    if not resource.ranges:
        raise PermanentError(
            f"gives no parts of its files, and the zip is {resource.size:,} bytes for the sake of {name}"
        )
    try:
        with zipfile.ZipFile(io.BufferedReader(_RemoteFile(client, resource), _DIRECTORY_READ)) as archive:
            info = _choose(archive.infolist(), name)
    except (zipfile.BadZipFile, NotImplementedError, EOFError, struct.error) as error:
        raise PermanentError(f"not a zip archive that can be read: {error}") from None
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise PermanentError(
            f"member {info.filename}: compressed by method {info.compress_type}, not deflate"
        )
    if info.flag_bits & _ENCRYPTED:
        raise PermanentError(f"member {info.filename}: encrypted")
    header = client.read(resource, info.header_offset, info.header_offset + _LOCAL_HEADER.size)
    signature, name_length, extra_length = _LOCAL_HEADER.unpack(header)
    start = info.header_offset + _LOCAL_HEADER.size + name_length + extra_length
    if signature != _LOCAL_SIGNATURE or start + info.compress_size > resource.size:
        raise PermanentError(f"member {info.filename}: not where the zip's directory says")
    return ByteRange(resource=resource, start=start, length=info.compress_size), info


def inflate(source: Path, target: Path, size: int) -> None:
    """Write the inflated content of `source` to `target`; PermanentError unless it is whole and has `size` bytes."""
    decompress = zlib.decompressobj(-zlib.MAX_WBITS)
    written = 0
    with naming(target), source.open("rb") as packed, target.open("wb") as file:
        while not decompress.eof:
            data = decompress.unconsumed_tail or packed.read(CHUNK)
            try:
                content = decompress.decompress(data, CHUNK)
            except zlib.error as error:
                raise PermanentError(f"the zip member is damaged: {error}") from None
            if not data and not content:
                raise PermanentError("the zip member is cut short")
            written += file.write(content)
            if written > size:
                raise PermanentError(
                    f"the zip member inflates to more than the {size:,} bytes that its zip says"
                )
    if written != size:
        raise PermanentError(f"the zip member inflates to {written:,} bytes, its zip says {size:,}")


def _choose(members: list[zipfile.ZipInfo], name: str) -> zipfile.ZipInfo:
    """The member with the path `name`, or the only one whose path ends in `name`."""
    fits = [info for info in members if info.filename == name]
    fits = fits or [info for info in members if info.filename.endswith(f"/{name}")]
    if len(fits) == 1:
        return fits[0]
    names = [info.filename for info in fits or members if not info.is_dir()]
    if fits:
        raise PermanentError(f"the zip has several members {name}: {', '.join(names)}")
    near = difflib.get_close_matches(name, names, n=_NAMES_SHOWN, cutoff=0.4) or names[:_NAMES_SHOWN]
    raise PermanentError(f"the zip has no member {name}; of its {len(names)} the nearest: {', '.join(near)}")


class _RemoteFile(io.RawIOBase):
    """A file on a server as zipfile wants it: readable at any position."""

    def __init__(self, client: Client, resource: ResourceInfo) -> None:
        self._client, self._resource, self._at = client, resource, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._resource.size}[whence]
        if base + offset < 0:
            raise OSError(
                "before the start of the file"
            )  # what zipfile expects of a file too short to be a zip
        self._at = base + offset
        return self._at

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        stop = min(self._at + len(buffer), self._resource.size)
        if stop <= self._at:
            return 0
        if stop - self._at > _LARGEST_DIRECTORY:
            raise PermanentError(f"claims a zip directory of {stop - self._at:,} bytes")
        data = self._client.read(self._resource, self._at, stop)
        buffer[: len(data)] = data
        self._at += len(data)
        return len(data)
