"""What a label map of `objbench segment` says of itself: what made it, of which image, and what was written with it."""

from __future__ import annotations

import hashlib
import io
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image
from PIL.PngImagePlugin import PngInfo

from objbench.data.format.png import check_sums
from objbench.errors import ObjbenchError, is_of_the_content
from objbench.files import sha256_of
from objbench.paths import resolved

_KEY = "objbench"  # of the text in the PNG
_FURTHER = ("image", "place", "with")


@dataclass(frozen=True)
class Note:
    """The note in a label map.

    Attributes:
        by: The run, its seed and its weights.
        image: The sha256 of the image; None in a note that does not say it.
        place: What tells the path of the image from others, without naming folders of its maker; None likewise.
        beside: The sha256 of what was written with the label map: the overlay, slots, components.
    """

    by: dict[str, Any]
    image: str | None
    place: str | None
    beside: dict[str, Any]

    @property
    def in_png(self) -> PngInfo:
        """The text of a PNG that holds it."""
        info = PngInfo()
        further = dict(zip(_FURTHER, (self.image, self.place, self.beside), strict=True))
        info.add_text(_KEY, json.dumps(self.by | further))
        return info

    def has(self, what: str, path: Path) -> bool:
        """Whether a file was written with the label map, and is as it was."""
        return what in self.beside and path.is_file() and sha256_of(path) == self.beside[what]

    def is_of_another(self, image: Path) -> bool:
        """Whether the label map is of another image than that of a path: of another file with other content."""
        if None in (self.image, self.place) or self.place == _code(image):
            return False
        try:
            return self.image != image_sha256(image)
        except ObjbenchError:  # it is refused where it is read
            return False


def note_of(by: dict[str, Any], image: Path, sha256: str, beside: Mapping[str, Path]) -> Note:
    """The note of a label map that is about to be written, after the files `beside` it."""
    return Note(by, sha256, _code(image), {what: sha256_of(path) for what, path in beside.items()})


def read_note(path: Path) -> Note | None:
    """What the label map of a path says; None if it is not there, not by objbench, or damaged."""
    try:
        content = path.read_bytes()
        check_sums(content)
        with Image.open(io.BytesIO(content)) as picture:
            picture.load()
            found = json.loads(getattr(picture, "text", {}).get(_KEY, "null"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, SyntaxError) as error:
        if not is_of_the_content(error):
            raise
        return None
    if not isinstance(found, dict):
        return None
    image, place, beside = (found.pop(key, None) for key in _FURTHER)
    return Note(found, image, place, beside if isinstance(beside, dict) else {})


def image_sha256(path: Path) -> str:
    """The sha256 of an image; ObjbenchError if it cannot be read."""
    try:
        return sha256_of(path)
    except FileNotFoundError:
        raise ObjbenchError(f"{path}: no such file") from None
    except OSError as error:
        raise ObjbenchError(f"{path}: {error.strerror}") from None


def _code(image: Path) -> str:
    return hashlib.sha256(os.fsencode(resolved(image))).hexdigest()[:16]
