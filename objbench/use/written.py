"""The segmentation of files, written beside each other: label maps, overlays, and if asked slots and components."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from objbench.data.scene import Array
from objbench.errors import ObjbenchError, RequestError, first_few
from objbench.files import replacing
from objbench.os_errors import explain_os_errors
from objbench.paths import check_folder, refuse_special
from objbench.progress import bar
from objbench.use.finished import FinishedRun
from objbench.use.images import SUFFIXES, NamedImage, read_image
from objbench.use.note import Note, image_sha256, note_of, read_note
from objbench.use.segmented import SegmentedImage
from objbench.viz import colour

_STRENGTH = 0.5  # of the colours in an overlay

Refused = Callable[[Path, ObjbenchError], None]


@dataclass(frozen=True)
class Written:
    """The files of one image.

    Attributes:
        image: The image.
        labels: Its label map: an 8-bit PNG with a palette, whose values are the labels.
        overlay: The image with the colours of its labels.
        slots: An .npz with `slots` (M,D), or None.
        components: A PNG of all planes side by side, each with its mask as alpha, or None.
        height: Of the image, and so of its label map, in pixels.
        width: Likewise.
        segments: How many labels have a pixel.
        made: Whether it was made now; False if it was there.
    """

    image: Path
    labels: Path
    overlay: Path
    slots: Path | None
    components: Path | None
    height: int
    width: int
    segments: int
    made: bool

    def described(self) -> dict[str, Any]:
        """The fields for JSON; files that were not asked for are left out."""
        return {
            name: str(value) if isinstance(value, Path) else value
            for name, value in vars(self).items()
            if value is not None
        }


class Job:
    """Segments files into a folder, batch by batch.

    A label map is written last of its image, and says what it is of and what was written with it.
    """

    def __init__(self, run: FinishedRun, output: Path, slots: bool, components: bool, fresh: bool) -> None:
        self.model, self.output, self.fresh = run, output, fresh
        self.slots, self.components = slots, components
        record = run.record
        self._by = {"run": record.config_hash, "seed": record.seed, "weights": record.weights_sha256}

    def check(self, files: Sequence[Path]) -> None:
        """Raise RequestError for what cannot be, before anything is written.

        That is an output that is a file, or holds label maps that this run did not make or that are of another image, and
        slots or components of a method without any.
        """
        check_folder("--output", self.output)
        self._check_model()
        if self.fresh:
            return
        for path in files:
            places = self._places(path)
            labels = places.pop("labels")
            note = read_note(labels)
            if labels.exists() and (note is None or note.by != self._by):
                raise RequestError(
                    f"{labels} is there, and not by this run; choose another folder, or replace it with --fresh"
                )
            if note is not None and note.is_of_another(path):
                raise RequestError(
                    f"{labels} is there, and of another image of that name; choose another folder, or replace it with --fresh"
                )
            for place in places.values():
                if read_note(place) is not None:
                    raise RequestError(
                        f"{place} is the label map of another image; choose another folder, or replace it with --fresh"
                    )

    def _check_model(self) -> None:
        """Raise RequestError if the method lacks what is asked for, as a black image shows."""
        if not self.slots and not self.components:
            return
        found = self.model.segment(torch.zeros(3, *self.model.size))
        assert isinstance(found, SegmentedImage)
        method = self.model.record.method_label
        if self.slots and found.slots is None:
            raise RequestError(f"--slots: {method} has no slots; leave the option out")
        if self.components and (found.components is None or found.masks is None):
            raise RequestError(f"--components: {method} has none; leave the option out")

    def run(self, files: Sequence[Path], refused: Refused) -> Iterator[Written]:
        """Segment the files that are left.

        Args:
            files: The images.
            refused: Called with each image that cannot be read.
        """
        with explain_os_errors(self.output, "--output"), bar("segmenting", len(files), "images") as advance:
            there: list[Written] = []  # met on the way to the next image that is not there yet
            sha256: dict[str, str] = {}
            for found in self.model.segment_each(self._left(files, refused, there, sha256)):
                there.append(self._write(Path(found.name), found, sha256.pop(found.name)))
                advance(len(there))
                yield from there
                there.clear()
            advance(len(there))
            yield from there

    def _left(
        self, files: Sequence[Path], refused: Refused, there: list[Written], sha256: dict[str, str]
    ) -> Iterator[NamedImage]:
        """The images to be segmented, whose sha256 is noted; what is there already goes into `there`."""
        for path in files:
            try:
                refuse_special(path)  # it is read twice
                content = image_sha256(path)
                known = self._known(path, content)
                if known is None:
                    image = NamedImage(str(path), path.name, read_image(path))
            except ObjbenchError as error:
                refused(path, error)
                continue
            if known is None:
                sha256[image.name] = content
                yield image
            else:
                there.append(known)

    def _known(self, path: Path, sha256: str) -> Written | None:
        """What is there of this image, if it is all that was asked for."""
        places = self._places(path)
        note = None if self.fresh else read_note(places["labels"])
        if note is None or note.by != self._by or note.image != sha256:
            return None
        if not all(note.has(what, place) for what, place in places.items() if what != "labels"):
            return None
        with Image.open(places["labels"]) as labels:
            segments = len(np.unique(np.asarray(labels)))
            return self._written(path, places, labels.height, labels.width, segments, made=False)

    def _write(self, path: Path, found: SegmentedImage, sha256: str) -> Written:
        places, labels = self._places(path), found.labels.numpy()
        if labels.max() > 255:
            raise ObjbenchError(f"{path}: {labels.max() + 1} planes, a label map in a PNG has at most 256")
        strip = self._strip(found) if "components" in places else None
        labels = labels.astype(np.uint8)
        self.output.mkdir(parents=True, exist_ok=True)  # now, as no image before it may have been readable
        self._remove_stale(path)
        image = read_image(path)  # again: a batch of large images would need gigabytes
        _save(places["overlay"], Image.fromarray(_overlay(image, labels)))
        if "slots" in places:
            assert found.slots is not None  # as in `check`
            with replacing(places["slots"], alone=False) as partial, partial.open("wb") as file:
                np.savez_compressed(file, slots=found.slots.numpy())
        if strip is not None:
            _save(places["components"], strip)
        picture = Image.fromarray(labels)
        picture.putpalette([part for label in range(256) for part in colour(label)])
        beside = {what: place for what, place in places.items() if what != "labels"}
        _save(places["labels"], picture, note_of(self._by, path, sha256, beside))
        height, width = labels.shape
        return self._written(path, places, height, width, found.segments, made=True)

    def _remove_stale(self, path: Path) -> None:
        """Remove slots and components that were written with an earlier label map of that name, and are not asked for now."""
        places, kept = places_of(path, self.output, True, True), self._places(path)
        note = read_note(places["labels"])
        for what in places.keys() - kept.keys():
            if note is not None and note.has(what, places[what]):
                places[what].unlink()

    def _strip(self, found: SegmentedImage) -> Image.Image:
        """Components (M,3,h,w) with their masks as alpha, as RGBA side by side."""
        assert found.components is not None  # as in `check`
        assert found.masks is not None
        rgba = np.concatenate([found.components.numpy(), found.masks.numpy()[:, None]], axis=1)  # M,4,h,w
        row = np.concatenate(list((rgba.clip(0, 1) * 255).round().astype(np.uint8)), axis=2)  # 4,h,M*w
        return Image.fromarray(np.moveaxis(row, 0, -1))

    def _places(self, path: Path) -> dict[str, Path]:
        return places_of(path, self.output, self.slots, self.components)

    def _written(
        self, path: Path, places: dict[str, Path], height: int, width: int, segments: int, made: bool
    ) -> Written:
        further = {"slots": places.get("slots"), "components": places.get("components")}
        return Written(
            path,
            places["labels"],
            places["overlay"],
            **further,
            height=height,
            width=width,
            segments=segments,
            made=made,
        )


def places_of(image: Path, output: Path, slots: bool, components: bool) -> dict[str, Path]:
    """Where what is written of an image goes: its `labels` and `overlay`, and if asked its `slots` and `components`."""
    ends = {"labels": ".png", "overlay": ".overlay.png"}
    ends |= {"slots": ".slots.npz"} if slots else {}
    ends |= {"components": ".components.png"} if components else {}
    return {what: output / f"{image.stem}{end}" for what, end in ends.items()}


def files_of(paths: Sequence[Path]) -> list[Path]:
    """The files, and the images directly in the folders, in the order of their names.

    Raises:
        RequestError: There is no such file or folder, or a folder holds no images.
    """
    files: list[Path] = []
    gone = [str(path) for path in paths if not path.exists()]
    if gone:
        raise RequestError(f"{first_few(gone)}: no such file or folder")
    for path in paths:
        if not path.is_dir():
            files.append(path)
            continue
        inside = [
            entry
            for entry in sorted(path.iterdir())
            if entry.suffix.lower() in SUFFIXES and not entry.name.startswith(".") and not entry.is_dir()
        ]
        if not inside:
            raise RequestError(f"{path}: no images in this folder ({', '.join(SUFFIXES)})")
        files += inside
    return files


def _overlay(image: Tensor, labels: Array) -> Array:
    """The image (3,H,W) with the colours of its labels (H,W), half and half, as uint8 (H,W,3)."""
    palette = np.array([colour(label) for label in range(256)], dtype=np.float32)
    pixels = image.permute(1, 2, 0).numpy() * 255
    mixed: Array = (pixels * (1 - _STRENGTH) + palette[labels] * _STRENGTH).round().astype(np.uint8)
    return mixed


def _save(path: Path, picture: Image.Image, note: Note | None = None) -> None:
    with replacing(path, alone=False) as partial:
        picture.save(partial, "PNG", pnginfo=None if note is None else note.in_png)
