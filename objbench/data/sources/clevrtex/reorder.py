"""The files of the scenes, asked for in the order of the splits, from wherever they are."""

from __future__ import annotations

import logging
import os
from collections import Counter
from collections.abc import Generator, Iterable
from pathlib import Path

from objbench.data.sources.clevrtex.archives import Member, members
from objbench.data.sources.clevrtex.decode import Piece, Scene
from objbench.data.sources.clevrtex.names import KINDS, Place, Variant
from objbench.data.sources.clevrtex.spool import Spool
from objbench.data.sources.clevrtex.unpacked import Files
from objbench.errors import first_few

log = logging.getLogger("objbench")


class AbsentError(Exception):
    """Scenes of which there is no file at all, neither unpacked nor in an archive."""

    def __init__(self, indices: list[int]) -> None:
        super().__init__(indices)
        self.indices = indices


class Supply:
    """Gives the `wanted` scenes: by path those that are unpacked, by content those of the archives, read once.

    files     what is unpacked;  root: the folder that the archives would be unpacked in
    """

    def __init__(
        self, variant: Variant, files: Files, archives: list[Path], root: Path, wanted: Iterable[int]
    ) -> None:
        self._variant, self._files, self._root = variant, files, root
        self._awaited = {
            Place(index, suffix) for index in wanted for suffix in KINDS if index not in files[suffix]
        }
        self._stream = _stream(archives, variant)
        self._spool = Spool()
        self._names: dict[Place, str] = {}
        if not archives:
            self._end()

    def scene(self, index: int) -> Scene:
        """A scene, each asked for once. A file that is nowhere is named as the place where it should be.

        Raises AbsentError if the archives have ended, and not a single file of some wanted scenes was there.
        """
        places = [Place(index, suffix) for suffix in KINDS]
        while not self._awaited.isdisjoint(places):
            arrived = next(self._stream, None)
            if arrived is None:
                self._end()
            elif (place := arrived.place) in self._awaited:
                self._awaited.remove(place)
                self._spool.put(place, arrived.content)
                self._names[place] = arrived.name
        return Scene(index, *map(self._piece, places))

    def close(self) -> None:
        """Close the archive that is being read, and remove the temporary file."""
        self._stream.close()
        self._spool.close()

    def _piece(self, place: Place) -> Piece:
        if place in self._spool:
            return Piece(self._names.pop(place), self._spool.take(place))
        folder = self._files[place.suffix].get(place.scene) or self._home(place.scene)
        return Piece(os.path.join(folder, self._variant.file(place)))

    def _home(self, index: int) -> str:
        """Where the files of a scene lie, or would lie."""
        known = (folders[index] for folders in self._files.values() if index in folders)
        return next(known, str(self._root / self._variant.home(index)))

    def _end(self) -> None:
        """Nothing more will come: AbsentError for scenes that are awaited whole, a warning for single files."""
        missing = Counter(place.scene for place in self._awaited)
        if absent := sorted(index for index, count in missing.items() if count == len(KINDS)):
            raise AbsentError(absent)
        if names := [self._variant.file(place) for place in sorted(self._awaited)]:
            log.warning("%s: missing files of scenes (%d): %s", self._root, len(names), first_few(names))
        self._awaited.clear()


def _stream(archives: list[Path], variant: Variant) -> Generator[Member, None, None]:
    """The files of scenes in all archives; their names begin with that of the archive."""
    for path in archives:
        for member in members(path, variant):
            yield member._replace(name=f"{path}: {member.name}")
