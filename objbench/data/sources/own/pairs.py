"""A folder of images beside their labels: which file belongs to which.

Either the sub-folders `images` and `masks` hold files of the same path but for the suffix; or `images` lies beside
`annotations.json`, a COCO file; or NAME_mask.png, NAME.mask.png (or .json) lies beside the image NAME. Files whose names
begin with a dot, and files of other suffixes, are passed over.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from objbench.data.download.receipts import RECEIPT
from objbench.data.sources.own.rle import annotations_by_image
from objbench.data.sources.own.scenes import Part
from objbench.errors import ObjbenchError
from objbench.json_text import parse_json
from objbench.os_errors import naming
from objbench.paths import refuse_special, walk

IMAGES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff")
LABELS = (".png", ".json")
MARKS = ("_mask", ".mask")
COCO = "annotations.json"
_RULES = (
    "expected images/NAME.png (.jpg, ...) with masks/NAME.png or masks/NAME.json, images/ with annotations.json (COCO, "
    "RLE), or NAME.png with NAME_mask.png or NAME.mask.png (.json)"
)


@dataclass
class Pairs:
    """The files of a folder, by the path of the scene in it without suffix.

    Attributes:
        root: The folder.
        images: Scene -> path of its image.
        labels: Scene -> path of its labels.
        annotations: Scene -> its annotations, where one COCO file has those of all.
    """

    root: Path
    images: dict[str, str] = field(default_factory=dict)
    labels: dict[str, str] = field(default_factory=dict)
    annotations: dict[str, list[dict[str, Any]]] | None = None

    @property
    def names(self) -> list[str]:
        """The scenes that have an image or labels, sorted."""
        labelled = self.labels if self.annotations is None else self.annotations
        return sorted({*self.images, *labelled})

    @property
    def files(self) -> list[str]:
        """The paths of the files that are read, relative to `root`, sorted."""
        coco = [COCO] if self.annotations is not None else []
        return sorted([*self.images.values(), *self.labels.values(), *coco])

    def image(self, name: str) -> Part:
        """The image of a scene."""
        if name in self.images:
            return Part(str(self.root / self.images[name]))
        there = self.root / self.labels.get(name, COCO)
        return Part(
            str(there), missing=f"has no image for the scene {name}; add it, or take these labels away"
        )

    def label(self, name: str) -> Part:
        """The labels of a scene."""
        if self.annotations is not None and name in self.annotations:
            where = f"{self.root / COCO}: {name}"
            return Part(where, ".json", json.dumps(self.annotations[name]).encode())
        if name in self.labels:
            path = self.labels[name]
            return Part(str(self.root / path), PurePosixPath(path).suffix.lower())
        missing = f"has no label map; {_RULES}; add it, or take the image away"
        return Part(str(self.root / self.images[name]), missing=missing)


def scan(root: Path) -> Pairs:
    """The pairs in `root`; only names are read, and a COCO file.

    Raises:
        ObjbenchError: There are none, or a scene has two images or two label files.
    """
    pairs = Pairs(root)
    if (root / "images").is_dir():
        for path in _files(root / "images", IMAGES):
            _add(pairs, pairs.images, _stem(path), f"images/{path}")
        if (root / "masks").is_dir():
            for path in _files(root / "masks", LABELS):
                _add(pairs, pairs.labels, _stem(path), f"masks/{path}")
        elif (root / COCO).is_file():
            pairs.annotations = _coco(root / COCO)
    else:
        for path in _files(root, (*IMAGES, ".json")):
            name = _stem(path)
            mark = next(
                (mark for mark in MARKS if name.endswith(mark) and len(PurePosixPath(name).name) > len(mark)),
                "",
            )
            if mark and path.lower().endswith(LABELS):
                _add(pairs, pairs.labels, name.removesuffix(mark), path)
            elif path.lower().endswith(IMAGES):
                _add(pairs, pairs.images, name, path)
    labelled = pairs.labels if pairs.annotations is None else pairs.annotations
    if not pairs.images.keys() & labelled.keys():
        found = f"{len(pairs.images):,} images and {len(labelled):,} label maps, none of the same name"
        raise ObjbenchError(f"{root}: found {found if pairs.names else 'no images'}; {_RULES}")
    return pairs


def _add(pairs: Pairs, known: dict[str, str], name: str, path: str) -> None:
    if (first := known.setdefault(name, path)) != path:
        raise ObjbenchError(
            f"{pairs.root / path}: the scene {name} has {first} already; which one is right? Move the other one away"
        )


def _stem(path: str) -> str:
    return path.removesuffix(PurePosixPath(path).suffix)


def _files(folder: Path, suffixes: tuple[str, ...]) -> Iterator[str]:
    """The files of these suffixes in a folder and its folders, as paths relative to it with /."""

    def unreadable(error: OSError) -> None:
        raise ObjbenchError(f"{error.filename}: {error.strerror}; see to its permissions and its disk")

    for here, _, files in walk(folder, unreadable):
        inside = here.relative_to(folder)
        for name in files:
            ours = name.startswith(".") or name.endswith(RECEIPT)  # a folder copied from a store has receipts
            if not ours and name.lower().endswith(suffixes):
                refuse_special(here / name)
                yield (inside / name).as_posix()


def _coco(path: Path) -> dict[str, list[dict[str, Any]]]:
    try:
        with naming(path):
            content = path.read_bytes()
        found = annotations_by_image(parse_json(content))
    except (ValueError, RecursionError) as error:
        raise ObjbenchError(f"{path}: no COCO file of annotations ({error})") from None
    by_stem: dict[str, list[dict[str, Any]]] = {}
    for name, of_image in found.items():
        stem = _stem(PurePosixPath(name).as_posix())
        if stem in by_stem:
            raise ObjbenchError(
                f"{path}: lists the image {stem} twice, under two endings or paths; which one is right?"
            )
        by_stem[stem] = of_image
    return by_stem
