"""How ClevrTex names its files, and what else its names may belong to.

A scene is `clevrtex_<variant>/<index // 1000>/CLEVRTEX_<variant>_<index, six digits>` with a suffix per file. Its
base name alone identifies it, as in the loader of Karazija et al. (2021): folders above play no part.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import NamedTuple

IMAGE, MASK, FACTS = ".png", "_flat.png", ".json"
KINDS = {
    IMAGE: "image",
    MASK: "mask",
    FACTS: "json",
}  # the files of a scene that are read; the others are not
WIDTH, HEIGHT = 320, 240
ENTITIES = 11  # the background and at most ten objects
MOST_BYTES = 4 << 20  # of a file: an image is of at most 0.3 MB

_SCENE = re.compile(r"CLEVRTEX(v2)?_([A-Za-z]+)_(\d{6})(.*)", re.DOTALL)
_RELEASE = re.compile(r"clevrtex(v2)?_([a-z]+)(_part\d+)?(\.tar|\.tar\.gz|\.tgz)?", re.IGNORECASE)


@dataclass(frozen=True)
class Variant:
    """A variant of the release, by its name in paths."""

    name: str

    @property
    def folder(self) -> str:
        """The folder that its archives unpack into."""
        return f"clevrtex_{self.name}"

    def file(self, file_id: FileId) -> str:
        """The base name of a file of a scene.

        >>> Variant("outd").file(FileId(17, MASK))
        'CLEVRTEX_outd_000017_flat.png'
        """
        return f"CLEVRTEX_{self.name}_{file_id.scene:06d}{file_id.suffix}"

    def home(self, index: int) -> str:
        """The folder of a scene.

        >>> Variant("outd").home(4321)
        'clevrtex_outd/4'
        """
        return f"{self.folder}/{index // 1000}"


VARIANTS = {name: Variant(name) for name in ("full", "outd", "camo", "pbg", "vbg", "grassbg")}


class FileId(NamedTuple):
    """A file that is read: the index of its scene, and which of KINDS it is."""

    scene: int
    suffix: str


class ForeignError(Exception):
    """A file or folder of another dataset; the message says of which."""


def parse(name: str, variant: Variant) -> FileId | None:
    """What the file or folder of base name `name` is in the release; None if it is not read.

    Raises:
        ForeignError: It is of another variant or of version 2.

    Example:
        >>> parse("CLEVRTEX_full_000003_flat.png", VARIANTS["full"])
        FileId(scene=3, suffix='_flat.png')
        >>> parse("CLEVRTEX_full_000003_albedo_0001.png", VARIANTS["full"])
    """
    found = _SCENE.fullmatch(name)
    if not found:
        return None
    if found[1] or found[4] == "_0003.png":
        raise ForeignError(_version_2(variant))
    if found[2] != variant.name:
        raise ForeignError(_other(found[2], variant))
    return FileId(int(found[3]), found[4]) if found[4] in KINDS else None


def refuse_foreign(name: str, variant: Variant) -> None:
    """Raise ForeignError if a folder or archive of this name is of another variant or of version 2."""
    found = _RELEASE.fullmatch(name)
    if found and found[1]:
        raise ForeignError(_version_2(variant))
    if found and found[2] != variant.name:
        raise ForeignError(_other(found[2], variant))


def _version_2(wanted: Variant) -> str:
    return (
        "this is version 2 of ClevrTex, another dataset (other materials, other files) whose numbers cannot be "
        f"compared; {wanted.folder} of version 1 is needed"
    )


def _other(found: str, wanted: Variant) -> str:
    return f"this is the variant '{found}' of ClevrTex; the variant '{wanted.name}' is needed"
