"""Predictions in PNGs in a folder or tar archive: a label map and optionally a reconstruction per image."""

from __future__ import annotations

import hashlib
import io
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from objbench.data.format import png
from objbench.data.format.sample import MASK
from objbench.data.scene import Array
from objbench.errors import ObjbenchError, brief, first_few, is_of_the_content
from objbench.predictions.batch import SavedBatch, images_per_batch
from objbench.predictions.files import Files
from objbench.predictions.target import Problems, Target

PNG, RECONSTRUCTION = ".png", ".reconstruction.png"
_HEAD = 26  # signature, length, "IHDR", width, height, depth, colour type
_GRAY = 0
_COLOURS = {_GRAY: "gray", 2: "RGB", 3: "palette", 4: "gray with alpha", 6: "RGBA"}
_LABELS, _PIXELS = (0, 3), (2,)
_DAMAGE = (OSError, SyntaxError, ValueError)


@dataclass(frozen=True)
class _ImageFiles:
    """The names of the files with the predictions of one image."""

    stem: str
    mask: str
    reconstruction: str | None


class PngFiles:
    """Predictions in `<key>.png` or `<key>.mask.png`, optionally with `<key>.reconstruction.png`.

    With `by_order`, names are not keys: their natural order (2 before 10) is the order of the images.
    """

    def __init__(self, path: Path, files: Files, by_order: bool) -> None:
        self.path, self._files, self.by_order = path, files, by_order
        self._images = sorted(_image_files(path, files), key=lambda image: _natural(image.stem))

    def check(self, target: Target) -> None:
        """See `Predictions.check`: checks the names and the headers of all files."""
        self._rows(target)
        problems = Problems(self.path)
        for image in self._images:
            self._check_head(image.mask, _LABELS, target.size, problems)
            if image.reconstruction is not None:
                self._check_head(image.reconstruction, _PIXELS, target.size, problems)
        problems.refuse()

    def saved_batches(self, target: Target) -> Iterator[SavedBatch]:
        """See `PredictionFiles.saved_batches`: in the order of the split."""
        ordered = sorted(zip(self._rows(target), self._images, strict=True), key=lambda pair: pair[0])
        height, width = target.size
        size = images_per_batch(5 * height * width)
        for start in range(0, len(ordered), size):
            rows, images = zip(*ordered[start : start + size], strict=True)
            yield self._batch(list(rows), list(images))

    def digest(self) -> str:
        """The sha256 of the names and contents of all PNGs, the same for a folder and an archive of it."""
        sha = hashlib.sha256()
        for name in sorted(name for p in self._images for name in (p.mask, p.reconstruction) if name):
            sha.update(f"{hashlib.sha256(self._files.read(name)).hexdigest()}  {name}\n".encode())
        return sha.hexdigest()

    def _rows(self, target: Target) -> list[int]:
        if self.by_order:
            target.check_count(self.path, len(self._images))
            return list(range(len(self._images)))
        hint = "files are named <key>.png; --by-order takes them in the order of their names"
        return target.rows(self.path, [image.stem for image in self._images], hint)

    def _check_head(
        self, name: str, colours: tuple[int, ...], size: tuple[int, int], problems: Problems
    ) -> None:
        head = self._files.read(name, _HEAD)
        if len(head) < _HEAD or head[:8] != png.SIGNATURE or head[12:16] != b"IHDR":
            problems.add("not a PNG, or a damaged one", name)
            return
        found = int.from_bytes(head[20:24], "big"), int.from_bytes(head[16:20], "big")
        if found != size:
            problems.add(f"expected images of {size[0]}x{size[1]} pixels", f"{name} ({found[0]}x{found[1]})")
        depth, colour = head[24:26]
        if colour not in colours or (colours == _PIXELS and depth != 8):
            expected = _PIXELS_EXPECTED if colours == _PIXELS else _LABELS_EXPECTED
            problems.add(expected, f"{name} ({depth}-bit {_COLOURS.get(colour, 'unknown')})")

    def _batch(self, rows: list[int], images: list[_ImageFiles]) -> SavedBatch:
        masks, reconstructions, damaged = [], [], []
        for image in images:
            try:
                masks.append(_labels(self._files.read(image.mask)))
            except _DAMAGE as error:
                if not is_of_the_content(error):
                    raise
                damaged.append(f"{image.mask} ({brief(error)})")
            try:
                if image.reconstruction is not None:
                    reconstructions.append(png.decode(self._files.read(image.reconstruction), "RGB"))
            except _DAMAGE as error:
                if not is_of_the_content(error):
                    raise
                damaged.append(f"{image.reconstruction} ({brief(error)})")
        if damaged:
            return SavedBatch(rows, np.empty(0), None, tuple(damaged))
        reconstruction = np.stack(reconstructions).transpose(0, 3, 1, 2) if reconstructions else None
        return SavedBatch(rows, np.stack(masks), reconstruction)


_LABELS_EXPECTED = (
    "a label map is a PNG of one number per pixel (gray of up to 16 bits, or a palette), as "
    "Image.fromarray(labels.astype(np.uint8)).save(name) writes it"
)
_PIXELS_EXPECTED = "a reconstruction is an 8-bit RGB PNG, as Image.convert('RGB') gives it"


def _labels(content: bytes) -> Array:
    """The values of a gray PNG, or the indices of a palette, as uint16 (H,W)."""
    png.check_chunks(content)
    with Image.open(io.BytesIO(content), formats=["PNG"]) as image:
        values = np.asarray(image).astype(np.uint16)
    depth, colour = content[24:26]
    # Pillow stretches gray levels of two and four bits to 0..255.
    return values // (255 // (2**depth - 1)) if colour == _GRAY and depth in (2, 4) else values


def _image_files(path: Path, files: Files) -> list[_ImageFiles]:
    names = [name for name in files.names if name.lower().endswith(PNG)]
    reconstructions = {_stem(name): name for name in names if name.lower().endswith(RECONSTRUCTION)}
    masks = [(_stem(name), name) for name in names if not name.lower().endswith(RECONSTRUCTION)]
    if not masks:
        found = first_few(files.names) if files.names else "nothing"
        raise ObjbenchError(f"{path}: expected label maps in PNGs, <key>.png, found {found}")
    if reconstructions:
        unpaired = {stem for stem, _ in masks} ^ reconstructions.keys()
        if unpaired:
            raise ObjbenchError(
                f"{path}: a label map without a reconstruction, or the reverse, for {first_few(sorted(unpaired))}; "
                "expected reconstructions of all images or of none"
            )
    return [_ImageFiles(stem, name, reconstructions.get(stem)) for stem, name in masks]


def _stem(name: str) -> str:
    for suffix in (RECONSTRUCTION, MASK, PNG):
        if name.lower().endswith(suffix):
            return name[: -len(suffix)]
    return name


def _natural(name: str) -> tuple[object, ...]:
    parts = re.split(r"([0-9]+)", name)  # text and digits alternate, so that equal positions have equal types
    return (*(int(part) if i % 2 else part for i, part in enumerate(parts)), name)
