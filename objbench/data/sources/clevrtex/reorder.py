"""The files of the scenes in the order of the splits, from unpacked folders and from archives."""

from __future__ import annotations

import logging
import os
import tempfile
from collections import Counter
from collections.abc import Generator, Iterable
from pathlib import Path
from typing import IO

from objbench.data.sources.clevrtex.archives import Member, members
from objbench.data.sources.clevrtex.decode import Scene, SceneFile
from objbench.data.sources.clevrtex.names import KINDS, FileId, Variant
from objbench.data.sources.clevrtex.unpacked import Files
from objbench.errors import ObjbenchError, first_few

MEMORY = 256 << 20  # of files that come early
log = logging.getLogger("objbench")


class AbsentError(Exception):
    """Scenes of which there is no file at all, neither unpacked nor in an archive."""

    def __init__(self, indices: list[int]) -> None:
        super().__init__(indices)
        self.indices = indices


class OrderedScenes:
    """Gives scenes in any order: unpacked ones by path, those of archives by content. Archives are read once."""

    def __init__(
        self, variant: Variant, files: Files, archives: list[Path], root: Path, wanted: Iterable[int]
    ) -> None:
        """Prepare for the scenes `wanted`.

        Args:
            variant: The variant of ClevrTex.
            files: The unpacked files.
            archives: The archives, in the order in which they are read.
            root: The folder that the archives would be unpacked in, or the archive that was given alone.
            wanted: The indices that `scene` will be asked for.
        """
        self._variant, self._files, self._root = variant, files, root
        self._awaited = {
            FileId(index, suffix) for index in wanted for suffix in KINDS if index not in files[suffix]
        }
        self._stream = _stream(archives, variant)
        self._buffer = ReorderBuffer()
        self._names: dict[FileId, str] = {}
        if not archives:
            self._end()

    def scene(self, index: int) -> Scene:
        """The scene `index`; ask for each scene once. A missing file is named by the path where it should be.

        Raises:
            AbsentError: The archives have ended and hold no file at all of some wanted scenes.
        """
        file_ids = [FileId(index, suffix) for suffix in KINDS]
        while not self._awaited.isdisjoint(file_ids):
            arrived = next(self._stream, None)
            if arrived is None:
                self._end()
            elif (file_id := arrived.file_id) in self._awaited:
                self._awaited.remove(file_id)
                self._buffer.put(file_id, arrived.content)
                self._names[file_id] = arrived.name
        return Scene(index, *map(self._scene_file, file_ids))

    def close(self) -> None:
        """Close the archive that is being read, and remove the temporary file."""
        self._stream.close()
        self._buffer.close()

    def _scene_file(self, file_id: FileId) -> SceneFile:
        if file_id in self._buffer:
            return SceneFile(self._names.pop(file_id), self._buffer.take(file_id))
        folder = self._files[file_id.suffix].get(file_id.scene) or self._home(file_id.scene)
        return SceneFile(os.path.join(folder, self._variant.file(file_id)))

    def _home(self, index: int) -> str:
        """The folder where the files of a scene are, or should be."""
        known = (folders[index] for folders in self._files.values() if index in folders)
        return next(known, str(self._root / self._variant.home(index)))

    def _end(self) -> None:
        """Handle the end of the archives: AbsentError for scenes without any file, a warning for single missing files."""
        missing = Counter(file_id.scene for file_id in self._awaited)
        if absent := sorted(index for index, count in missing.items() if count == len(KINDS)):
            raise AbsentError(absent)
        if names := [self._variant.file(file_id) for file_id in sorted(self._awaited)]:
            log.warning("%s: missing files of scenes (%d): %s", self._root, len(names), first_few(names))
        self._awaited.clear()


class ReorderBuffer:
    """Files that arrive early: kept in memory up to `memory` bytes, beyond that in a temporary file.

    Each file is put once and taken once. The temporary file lies in $TMPDIR; it has no name, so that nothing is left of
    it however the process ends. It is emptied whenever everything in it has been taken.
    """

    def __init__(self, memory: int = MEMORY) -> None:
        self._room = memory
        self._held: dict[FileId, bytes] = {}
        self._spooled: dict[FileId, tuple[int, int]] = {}
        self._file: IO[bytes] | None = None

    def __contains__(self, file_id: FileId) -> bool:
        return file_id in self._held or file_id in self._spooled

    def put(self, file_id: FileId, content: bytes) -> None:
        """Keep a file; ObjbenchError if the temporary file cannot be written."""
        if len(content) <= self._room:
            self._held[file_id] = content
            self._room -= len(content)
            return
        try:
            if self._file is None:
                self._file = tempfile.TemporaryFile(prefix="objbench-")  # noqa: SIM115 - closed by close()
            at = self._file.seek(0, 2)
            self._file.write(content)
            self._file.flush()
        except OSError as error:
            raise ObjbenchError(
                f"{tempfile.gettempdir()}: {error.strerror}: the archives hold the scenes in another order, and those "
                "that come early are kept here; free some space, choose another folder with TMPDIR=FOLDER, or unpack "
                "the archives"
            ) from None
        self._spooled[file_id] = (at, len(content))

    def take(self, file_id: FileId) -> bytes:
        """Return a file and forget it."""
        if file_id in self._held:
            content = self._held.pop(file_id)
            self._room += len(content)
            return content
        at, size = self._spooled.pop(file_id)
        assert self._file is not None
        self._file.seek(at)
        content = self._file.read(size)
        if not self._spooled:
            self._file.truncate(0)
        return content

    def close(self) -> None:
        """Remove the temporary file."""
        if self._file is not None:
            self._file.close()
            self._file = None


def _stream(archives: list[Path], variant: Variant) -> Generator[Member, None, None]:
    """The files of scenes in all archives; their names begin with that of the archive."""
    for path in archives:
        for member in members(path, variant):
            yield member._replace(name=f"{path}: {member.name}")
