"""Scenes of anybody: an image and its labels, still to be decoded. Imported by the encoding workers.

Images may be of any sizes. A block holds scenes of one size only, which the headers of the images tell.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from objbench.data.format.depth import deep_mode
from objbench.data.format.png import check_sums
from objbench.data.scene import BYTES_PER_JOB, SCENES_PER_JOB, Array, BadScene, SceneBatch
from objbench.data.sources.own.labels import png_labels
from objbench.data.sources.own.rle import json_labels
from objbench.errors import brief
from objbench.spec.limits import MOST_PIXELS

MOST_BYTES = 64 << 20  # of a file
FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "TIFF")
_PIXELS_PER_JOB = 1 << 25
_ORIENTATION, _UPRIGHT = 0x0112, (0, 1)
_DAMAGE = (OSError, SyntaxError, ValueError, EOFError, KeyError, OverflowError, Image.DecompressionBombError)


class Part(NamedTuple):
    """A file of a scene.

    Attributes:
        where: Its path, or the archive and the key of the scene, for messages.
        name: The end of its name, which tells PNG from JSON.
        content: Its bytes; None: they are read from `where`.
        missing: Why there is no such file; "" if there is one.
    """

    where: str
    name: str = ""
    content: bytes | None = None
    missing: str = ""

    def read(self) -> bytes:
        """Its bytes; ValueError if it is missing, too large or cannot be read."""
        if self.missing:
            raise ValueError(self.missing)
        if self.content is not None:
            return self.content
        try:
            with Path(self.where).open("rb") as opened:
                content = opened.read(MOST_BYTES + 1)
        except OSError as error:
            raise ValueError(f"cannot be read: {error.strerror}") from None
        if len(content) > MOST_BYTES:
            raise ValueError(f"has more than {MOST_BYTES:,} bytes")
        return content


@dataclass(frozen=True)
class OwnScene:
    """A scene: its index in its split, its name in the source, its two files, and its size (width, height) if known."""

    index: int
    name: str
    image: Part
    labels: Part
    size: tuple[int, int] | None = None

    @property
    def bytes(self) -> int:
        """The bytes that it holds in memory."""
        return sum(len(part.content or b"") for part in (self.image, self.labels))


@dataclass(frozen=True)
class OwnBlock:
    """Scenes of one size. `slots` of the dataset: the background and the most objects that a scene may have."""

    scenes: list[OwnScene]
    slots: int

    def __len__(self) -> int:
        return len(self.scenes)

    def __getitem__(self, part: slice) -> OwnBlock:
        return replace(self, scenes=self.scenes[part])

    def decode(self) -> SceneBatch:
        """All scenes, with the factor `name`; BadScene for the first that is damaged or incomplete."""
        images, masks = [], []
        for row, scene in enumerate(self.scenes):
            part = scene.image
            try:
                images.append(_pixels(part.read()))
                part = scene.labels
                masks.append(self._labels(part, images[-1]))
            except ValueError as error:
                raise BadScene(row, scene.index, part.where, str(error)) from None
        index = np.array([scene.index for scene in self.scenes], np.int64)
        names = np.array([scene.name for scene in self.scenes])
        return SceneBatch(index, np.stack(images), np.stack(masks), {"name": names})

    def _labels(self, part: Part, image: Array) -> Array:
        content = part.read()
        labels = json_labels(content, image.shape[:2]) if part.name.endswith(".json") else png_labels(content)
        if labels.shape != image.shape[:2]:
            found, expected = (f"{len(pixels)}x{len(pixels[0])}" for pixels in (labels, image))
            raise ValueError(
                f"has {found} pixels (height x width), its image {expected}: expected the same size"
            )
        if labels.max() >= self.slots:
            raise ValueError(
                f"has {labels.max()} objects, expected at most {self.slots - 1}: the dataset has {self.slots} slots, "
                f"one of them for the background; --slots {labels.max() + 1} would do"
            )
        return labels


def blocks(scenes: Iterable[OwnScene], slots: int) -> Iterator[OwnBlock]:
    """The scenes in blocks of one size each, as large as a job may be; their sizes are read here."""
    block: list[OwnScene] = []
    held = pixels = 0
    for scene in scenes:
        sized = replace(scene, size=_size(scene.image))
        if block and (
            sized.size != block[0].size
            or len(block) == SCENES_PER_JOB
            or held >= BYTES_PER_JOB
            or pixels >= _PIXELS_PER_JOB
        ):
            yield OwnBlock(block, slots)
            block, held, pixels = [], 0, 0
        block.append(sized)
        held += sized.bytes
        pixels += sized.size[0] * sized.size[1] if sized.size else 0
    if block:
        yield OwnBlock(block, slots)


def _size(part: Part) -> tuple[int, int] | None:
    """The size that the header of an image tells; None if it cannot be read, which `decode` explains."""
    if part.missing:
        return None
    try:
        with _opened(part.where if part.content is None else io.BytesIO(part.content)) as image:
            return image.size
    except _DAMAGE:
        return None


def _pixels(content: bytes) -> Array:
    """The pixels of an image, uint8 (H,W,3), without its alpha."""
    try:
        with _opened(io.BytesIO(content)) as image:
            width, height = image.size
            if not 0 < width * height <= MOST_PIXELS:
                raise ValueError(f"it has {height}x{width} pixels, expected at most {MOST_PIXELS:,}")
            if getattr(image, "n_frames", 1) > 1 and image.format != "MPO":
                raise ValueError("it is animated, or has several pages")
            if (deep := deep_mode(image)) is not None:
                raise ValueError(
                    f"its mode is {deep}, expected 8 bits per channel; convert it, because what its white is, is not "
                    "known"
                )
            if image.getexif().get(_ORIENTATION, 0) not in _UPRIGHT:
                raise ValueError(
                    "it is turned by its EXIF orientation; store it upright, as its label map is"
                )
            check_sums(content)
            return np.array(image.convert("RGB"))
    except _DAMAGE as error:
        raise ValueError(f"is no image that can be used ({brief(error)})") from None


def _opened(file: str | io.BytesIO) -> Image.Image:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # `_pixels` checks the size
        return Image.open(file, formats=FORMATS)
