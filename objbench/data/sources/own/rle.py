"""Masks in COCO's run-length encoding, as JSON. Imported by the encoding workers.

Runs go down the columns, first of zeros, then of ones, in turn. `counts` is the list of their lengths, or the same in
COCO's compact text: each number in groups of five bits, lowest first, from the fourth number on as the difference to
the last but one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from objbench.data.scene import Array
from objbench.data.sources.own.labels import numbered
from objbench.json_text import parse_json
from objbench.spec.limits import MOST_PIXELS

_MOST_MASKS = 1000  # of a scene: each is as large as the image
_MOST_SHIFT = 30
_POLYGONS = (
    "is a list of polygons: which pixels lie in them depends on the program that draws them; convert them to RLE with "
    "pycocotools (annToRLE)"
)


def json_labels(content: bytes, shape: tuple[int, int]) -> Array:
    """The labels of a JSON text, uint8 (H,W): a list of annotations, or an object with `annotations`.

    An annotation is {"size": [H, W], "counts": ...}, or has this as its `segmentation`. Where masks overlap, the later
    one lies over the earlier. Those with `iscrowd` 1 are left out. Objects are numbered 1, 2, ... in the order of the
    list, without those that are covered whole. An image of `shape` (H,W) without annotations has no objects.

    Raises:
        ValueError: It is anything else, or has more than 255 objects.
    """
    try:
        found = parse_json(content)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"cannot be parsed: {error}") from None
    if isinstance(found, dict):
        found = found.get("annotations")
    if not isinstance(found, list) or not all(isinstance(entry, dict) for entry in found):
        raise ValueError(
            "holds no list of annotations, each with `segmentation`: {size: [H, W], counts: ...}"
        )
    if len(found) > _MOST_MASKS:
        raise ValueError(f"holds {len(found):,} annotations, expected at most {_MOST_MASKS:,}")
    codes: Array | None = None
    for number, entry in enumerate(found, 1):
        try:
            mask = rle_mask(entry.get("segmentation", entry))
            if codes is None:
                codes = np.zeros(mask.shape, np.int64)
            if mask.shape != codes.shape:
                raise ValueError(f"is of {_size(mask)}, the first one of {_size(codes)}")
        except ValueError as error:
            raise ValueError(f"the segmentation of annotation {number} {error}") from None
        if not entry.get("iscrowd"):
            codes[mask] = number
    return numbered(np.zeros(shape, np.int64) if codes is None else codes)


def rle_mask(rle: Any) -> Array:
    """The mask of a run-length encoding, bool (H,W); ValueError if it is none.

    >>> rle_mask({"size": [2, 3], "counts": [1, 2, 3]}).astype(int).tolist()
    [[0, 1, 0], [1, 0, 0]]
    """
    if isinstance(rle, list):
        raise ValueError(_POLYGONS)
    size, counts = (rle.get("size"), rle.get("counts")) if isinstance(rle, dict) else (None, None)
    if not (
        isinstance(size, list) and len(size) == 2 and all(type(side) is int and side > 0 for side in size)
    ):
        raise ValueError(f"has the size {size!r:.50}, expected [height, width]")
    height, width = size
    if height * width > MOST_PIXELS:
        raise ValueError(f"has the size {height}x{width}, expected at most {MOST_PIXELS:,} pixels")
    if isinstance(counts, str):
        counts = _unpacked(counts)
    if not isinstance(counts, list) or not all(type(run) is int and run >= 0 for run in counts):
        raise ValueError("has other `counts` than a text or a list of numbers of pixels")
    if sum(counts) != height * width:
        raise ValueError(f"has `counts` for {sum(counts):,} pixels, expected {height * width:,}")
    inside = np.repeat(np.arange(len(counts)) % 2 == 1, counts)
    return inside.reshape(width, height).T


def _unpacked(text: str) -> list[int]:
    """The lengths of the runs in COCO's compact text."""
    counts: list[int] = []
    value = shift = 0
    for letter in text:
        code = ord(letter) - 48
        if not 0 <= code < 64 or shift > _MOST_SHIFT:
            raise ValueError("has `counts` that are no text of COCO's run-length encoding")
        value |= (code & 0x1F) << shift
        shift += 5
        if code & 0x20:
            continue
        if code & 0x10:
            value -= 1 << shift
        counts.append(value + (counts[-2] if len(counts) > 2 else 0))
        value = shift = 0
    if shift:
        raise ValueError("has `counts` that end inside a number")
    return counts


def _size(mask: Array) -> str:
    return "x".join(map(str, mask.shape))


def annotations_by_image(content: Any) -> dict[str, list[dict[str, Any]]]:
    """File name -> its annotations, of a COCO file with `images` and `annotations`; ValueError if it is none."""
    images = _entries(content, "images", "id")
    annotations = _entries(content, "annotations", "image_id")
    names = {image["id"]: image.get("file_name") for image in images}
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in names.values() if isinstance(name, str)}
    if len(found) != len(images):
        raise ValueError("`images` must each have an `id` and a `file_name` of their own")
    for annotation in annotations:
        name = names.get(annotation["image_id"])
        if name is None:
            raise ValueError(
                f"an annotation is of the image {annotation['image_id']!r:.50}, which is not listed"
            )
        found[name].append(annotation)
    return found


def _entries(content: Any, name: str, key: str) -> Sequence[dict[str, Any]]:
    """The list `name` of a COCO file, whose entries have a number or a text as `key`."""
    entries = content.get(name) if isinstance(content, dict) else None
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise ValueError(f"it has no list `{name}`")
    for number, entry in enumerate(entries, 1):
        if not isinstance(entry.get(key), int | float | str):
            raise ValueError(
                f"entry {number} of `{name}` has the {key} {entry.get(key)!r:.50}, expected a number or a text"
            )
    return entries
