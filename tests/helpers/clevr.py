"""The four rendered CLEVR scenes, decoded and transformed independently of objbench, and files made of them."""

from __future__ import annotations

import tarfile
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from helpers.paths import FIXTURES
from helpers.tfrecords import write
from objbench.data.sources.base import SourceRequest
from objbench.data.sources.tfrecord import Reader
from objbench.spec.datasets import DatasetRef
from objbench.spec.load import load_spec

FOLDER = FIXTURES / "clevr"
FOUR = FOLDER / "clevr_with_masks_four.tfrecords"
OBJECTS = [7, 4, 10, 8]
VISIBLE = [7, 4, 9, 6]  # after the crop
BOX = (64, 29, 256, 221)  # left, top, right, bottom


@cache
def payloads() -> list[bytes]:
    with Reader(FOUR) as reader:
        return [frame.payload for frame in reader]


def stored(payload: bytes, name: str, shape: tuple[int, ...]) -> np.ndarray:
    """A feature of bytes, found by its name in the serialized example: every third byte after its headers."""
    size = int(np.prod(shape))
    at = payload.index(b"\x0a" + bytes([len(name)]) + name.encode() + b"\x12")
    at = payload.index(b"\x0a\x01", at + 3 + len(name))
    return np.frombuffer(payload, np.uint8, 3 * size, at)[2::3].reshape(shape)


@cache
def native(row: int) -> tuple[np.ndarray, np.ndarray]:
    """Image (240,320,3) and label map (240,320) of a record."""
    planes = stored(payloads()[row], "mask", (11, 240, 320))
    return stored(payloads()[row], "image", (240, 320, 3)), planes.argmax(0).astype(np.uint8)


def expected(row: int, size: int = 128) -> tuple[np.ndarray, np.ndarray]:
    """Image and label map of a record as Pillow makes them: cropped, then resized if that is another size."""
    image, mask = (Image.fromarray(np.ascontiguousarray(part)).crop(BOX) for part in native(row))
    if size != 192:
        image = image.resize((size, size), Image.Resampling.BICUBIC)
        mask = mask.resize((size, size), Image.Resampling.NEAREST)
    return np.asarray(image), np.asarray(mask)


def release(path: Path, rows: Sequence[int]) -> Path:
    """A file whose record i is the fixture's record rows[i]."""
    return write(path, [payloads()[row] for row in rows])


def dataset(name: str, records: int, tail: int = 1) -> DatasetRef:
    """clevr6 or clevr10 under a protocol, for which so many records are complete; val and test have `tail` scenes."""
    reference = load_spec().dataset(name)
    rules = {}
    for split, rule in reference.rule.sources["deepmind"].items():
        smaller = {
            "records": tuple(records // 2 if bound == 70_000 else bound for bound in rule.records),
            "start": rule.start // 320 * tail,
            "stop": None if rule.stop is None else rule.stop // 320 * tail,
        }
        rules[split] = rule.model_copy(update=smaller)
    source = reference.spec.sources["deepmind"].model_copy(update={"records": {"data": records}})
    protocol = reference.rule.model_copy(update={"sources": {"deepmind": rules}})
    protocols = reference.spec.protocols | {reference.protocol: protocol}
    changed = {"sources": {"deepmind": source}, "protocols": protocols}
    return DatasetRef(reference.name, reference.protocol, reference.spec.model_copy(update=changed))


def request(dataset: DatasetRef, raw: Path, **sizes: int) -> SourceRequest:
    return SourceRequest(dataset, "deepmind", raw, sizes)


class Shown(NamedTuple):
    """A sample as plain tarfile, Pillow and json read it."""

    image: np.ndarray
    mask: np.ndarray
    facts: dict[str, Any]


def samples(folder: Path, split: str) -> dict[int, Shown]:
    """The samples of a prepared split, by their index."""
    import io
    import json

    found: dict[int, Shown] = {}
    for shard in sorted(folder.glob(f"{split}-*.tar")):
        with tarfile.open(shard) as archive:
            files = {member.name: archive.extractfile(member).read() for member in archive}  # type: ignore[union-attr]
        for key in sorted({name.split(".")[0] for name in files}):
            image, mask = (np.asarray(Image.open(io.BytesIO(files[key + s]))) for s in (".png", ".mask.png"))
            found[int(key)] = Shown(image, mask, json.loads(files[f"{key}.json"]))
    return found
