"""The files of a folder or of a tar archive, by name."""

from __future__ import annotations

import gzip
import os
import tarfile
import tempfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Protocol

from objbench.errors import ObjbenchError, first_few, is_of_the_content
from objbench.files import CHUNK, megabytes
from objbench.os_errors import naming
from objbench.paths import refuse_special

ARCHIVES = (".tar", ".tar.gz", ".tgz")
# What tarfile raises for damaged headers: numbers that are none, negative or too large for the memory or a file; a
# chain of extended headers.
_DAMAGE = (tarfile.TarError, ValueError, ArithmeticError, MemoryError, RecursionError, EOFError, LookupError)
_END = bytes(tarfile.BLOCKSIZE)
MOST_UNPACKED = 2 << 30  # bytes, of an archive that is smaller than a 50th of that
_MOST_RATIO = 50  # of larger ones; PNGs are compressed already, only the headers between them shrink


class Files(Protocol):
    """Files by name, without hidden ones, and without links and devices in an archive."""

    names: list[str]

    def read(self, name: str, limit: int = -1) -> bytes:
        """The content of a file, or its first `limit` bytes."""


class FolderFiles:
    """The files directly in a folder."""

    def __init__(self, path: Path) -> None:
        self._path = path
        entries = sorted(path.iterdir())
        folders = [f"{entry.name}/" for entry in entries if entry.is_dir()]
        files = [entry for entry in entries if not entry.is_dir() and not entry.name.startswith(".")]
        for entry in files:
            refuse_special(entry)
        self.names = [entry.name for entry in files]
        if not self.names:
            inside = (
                f"only the folders {first_few(folders)}; give one of these" if folders else "an empty folder"
            )
            raise ObjbenchError(f"{path}: expected label maps in PNGs, <key>.png, found {inside}")

    def read(self, name: str, limit: int = -1) -> bytes:
        path = self._path / name
        with naming(path), path.open("rb") as file:
            return file.read(limit)


class TarFiles:
    """The files of an uncompressed tar archive, in any of its folders."""

    def __init__(self, path: Path, archive: IO[bytes]) -> None:
        self._file = archive
        try:
            with tarfile.open(fileobj=archive, mode="r:") as tar:
                members = [member for member in tar if member.isreg()]
                end = tar.offset
            self._check_sizes(members, archive.seek(0, os.SEEK_END))
        except _DAMAGE as error:
            raise ObjbenchError(
                f"{path}: not a tar archive, or a damaged one ({error or type(error).__name__})"
            ) from None
        self._members: dict[str, tuple[int, int]] = {}
        repeated = []
        for member in members:
            name = member.name.rpartition("/")[2]
            if name.startswith("."):
                continue
            if name in self._members:
                repeated.append(name)
            self._members[name] = (member.offset_data, member.size)
        self.names = list(self._members)
        self._check_end(path, end)
        if repeated:
            raise ObjbenchError(f"{path}: more than one file called {first_few(repeated)}")

    def read(self, name: str, limit: int = -1) -> bytes:
        start, size = self._members[name]
        self._file.seek(start)
        return self._file.read(size if limit < 0 else min(size, limit))

    def _check_sizes(self, members: list[tarfile.TarInfo], length: int) -> None:
        """Raise TarError unless each file lies in the archive as a whole, in one piece."""
        for member in members:
            if member.issparse():
                raise tarfile.TarError(f"{member.name!r} is a sparse file; make it again without --sparse")
            if not 0 <= member.size <= length - member.offset_data:
                raise tarfile.TarError(f"{member.name!r} has a size of {member.size:,} bytes")

    def _check_end(self, path: Path, end: int) -> None:
        """Check that the archive ends with a block of zeros: tarfile takes everything it cannot read for the end."""
        self._file.seek(end)
        if self._file.read(len(_END)) != _END:
            raise ObjbenchError(
                f"{path}: damaged or cut short after {len(self.names):,} files (no end mark); make it again"
            )


def _unpack(path: Path, packed: gzip.GzipFile, archive: IO[bytes]) -> None:
    most = max(MOST_UNPACKED, _MOST_RATIO * path.stat().st_size)
    while chunk := packed.read(CHUNK):
        if archive.tell() + len(chunk) > most:
            raise ObjbenchError(
                f"{path}: unpacks to more than {megabytes(most)}, which is the limit for an archive of "
                f"{megabytes(path.stat().st_size)}; give a .tar, or the folder itself"
            )
        archive.write(chunk)


@contextmanager
def open_files(path: Path) -> Iterator[Files]:
    """The files of a folder or an archive. A compressed archive is unpacked into a temporary file first."""
    if path.is_dir():
        yield FolderFiles(path)
    elif path.suffix.lower() == ".tar":
        with path.open("rb") as archive:
            yield TarFiles(path, archive)
    else:
        with tempfile.TemporaryFile(prefix="objbench-") as archive:
            try:
                with naming(Path(tempfile.gettempdir())), gzip.open(path) as packed:
                    _unpack(path, packed, archive)
            except (gzip.BadGzipFile, EOFError, zlib.error) as error:
                if not is_of_the_content(error):
                    raise
                raise ObjbenchError(f"{path}: damaged or cut short ({error}); make it again") from None
            archive.seek(0)
            yield TarFiles(path, archive)
