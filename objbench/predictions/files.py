"""The files of a folder, or of a tar archive, by name."""

from __future__ import annotations

import gzip
import shutil
import tarfile
import tempfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Protocol

from objbench.errors import ObjbenchError, first_few

ARCHIVES = (".tar", ".tar.gz", ".tgz")
_END = bytes(tarfile.BLOCKSIZE)


class Files(Protocol):
    """Files by name; hidden ones are left out, and so are links and devices of an archive."""

    names: list[str]

    def read(self, name: str, limit: int = -1) -> bytes:
        """The content of a file, or its first `limit` bytes."""


class FolderFiles:
    """The files that stand directly in a folder."""

    def __init__(self, path: Path) -> None:
        self._path = path
        entries = sorted(path.iterdir())
        self.names = [entry.name for entry in entries if entry.is_file() and not entry.name.startswith(".")]
        folders = [f"{entry.name}/" for entry in entries if entry.is_dir()]
        if not self.names:
            inside = (
                f"only the folders {first_few(folders)}; give one of these" if folders else "an empty folder"
            )
            raise ObjbenchError(f"{path}: expected label maps in PNGs, <key>.png, found {inside}")

    def read(self, name: str, limit: int = -1) -> bytes:
        with (self._path / name).open("rb") as file:
            return file.read(limit)


class TarFiles:
    """The files of an uncompressed tar archive, whatever folders they lie in there."""

    def __init__(self, path: Path, archive: IO[bytes]) -> None:
        self._file = archive
        try:
            with tarfile.open(fileobj=archive, mode="r:") as tar:
                members = [member for member in tar if member.isreg()]
                end = tar.offset
        except tarfile.TarError as error:
            raise ObjbenchError(f"{path}: not a tar archive, or a damaged one ({error})") from None
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

    def _check_end(self, path: Path, end: int) -> None:
        """tarfile takes what it cannot read for the end of the archive: that must be a block of zeros."""
        self._file.seek(end)
        if self._file.read(len(_END)) != _END:
            raise ObjbenchError(
                f"{path}: damaged or cut short after {len(self.names):,} files (no end mark); make it again"
            )


@contextmanager
def open_files(path: Path) -> Iterator[Files]:
    """The files in a folder or in an archive, which is unpacked into a temporary file first if it is compressed."""
    if path.is_dir():
        yield FolderFiles(path)
    elif path.suffix == ".tar":
        with path.open("rb") as archive:
            yield TarFiles(path, archive)
    else:
        with tempfile.TemporaryFile(prefix="objbench-") as archive:
            try:
                with gzip.open(path) as packed:
                    shutil.copyfileobj(packed, archive)
            except (gzip.BadGzipFile, EOFError, zlib.error) as error:
                raise ObjbenchError(f"{path}: damaged or cut short ({error}); make it again") from None
            archive.seek(0)
            yield TarFiles(path, archive)
