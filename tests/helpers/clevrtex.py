"""Releases of ClevrTex made of the six fixture scenes, unpacked and as archives, for the tests of `official`."""

from __future__ import annotations

import gzip
import io
import json
import random
import tarfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from helpers.paths import FIXTURES as ALL
from objbench.data.scene import SceneBatch
from objbench.data.sources.base import SourceRequest
from objbench.data.sources.clevrtex.source import OfficialSource
from objbench.spec.datasets import DatasetRef
from objbench.spec.load import load_spec

FIXTURES = ALL / "clevrtex"
OBJECTS = {"full": (6, 10, 8, 4), "vbg": (7, 10)}  # of each fixture scene
PARTS = [f"clevrtex_full_part{number}.tar.gz" for number in range(1, 6)]
SIZES = {"train": 6, "val": 3, "test": 3}
CROP, SIZE = (64, 24, 256, 216), (128, 128)


def files(variant: str, index: int) -> dict[str, bytes]:
    """The files of scene `index` by their path in the release: a fixture scene, marked by its rotations."""
    number = index % len(OBJECTS[variant])
    contents = {}
    for path in sorted((FIXTURES / f"clevrtex_{variant}" / "0").glob(f"*_{number:06d}*")):
        content = path.read_bytes()
        if path.suffix == ".json":
            facts = json.loads(content)
            facts["image_index"] = index
            for item in facts["objects"]:
                item["rotation"] = index + item["index"] / 16
            content = json.dumps(facts).encode()
        name = path.name.replace(f"_{number:06d}", f"_{index:06d}")
        contents[f"clevrtex_{variant}/{index // 1000}/{name}"] = content
    return contents


def unpack(folder: Path, indices: Iterable[int] = range(12), variant: str = "full") -> Path:
    """The unpacked release of these scenes; gives `folder`, which holds it."""
    for index in indices:
        for name, content in files(variant, index).items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(content)
    return folder


def edit(raw: Path, change: Callable[[dict[str, Any]], Any], index: int = 1) -> None:
    """Change the JSON of a scene."""
    path = raw / "clevrtex_full" / "0" / f"CLEVRTEX_full_{index:06d}.json"
    facts = json.loads(path.read_text())
    change(facts)
    path.write_text(json.dumps(facts))


def archive(
    path: Path, indices: Iterable[int] = range(12), variant: str = "full", shuffled: bool = False
) -> Path:
    """An archive of these scenes, in the order of their paths or in none; compressed unless it is a .tar."""
    members = [item for index in indices for item in files(variant, index).items()]
    if shuffled:
        random.Random(1).shuffle(members)
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w") as file:
        folder = tarfile.TarInfo(f"clevrtex_{variant}")
        folder.type = tarfile.DIRTYPE
        file.addfile(folder)
        for name, data in members:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            file.addfile(info, io.BytesIO(data))
    packed = content.getvalue() if path.suffix == ".tar" else gzip.compress(content.getvalue(), 1)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(packed)
    return path


def five_parts(folder: Path) -> Path:
    """The five archives in an order that serves no split: the last scenes come first."""
    for name, indices in zip(PARTS, ([9, 10, 11], [6, 7, 8], [5, 3], [4], [0, 1, 2]), strict=True):
        archive(folder / name, indices, shuffled=True)
    return folder


def mixed(folder: Path) -> Path:
    """Some scenes unpacked, some in archives, some in both, and one of which each has a part."""
    unpack(folder, [1, 3, 4, 8])
    (folder / "clevrtex_full" / "0" / "CLEVRTEX_full_000004_flat.png").unlink()
    archive(folder / PARTS[1], [0, 2, 3, 4, 11, 5])
    archive(folder / PARTS[3], [5, 6, 7, 8, 9, 10])
    return folder


FORMS: dict[str, Callable[[Path], Path]] = {
    "one archive": lambda folder: archive(folder / "any_name.tgz"),
    "uncompressed": lambda folder: archive(folder / "clevrtex_full.tar", shuffled=True),
    "five parts": five_parts,
    "mixed": mixed,
}


def opened(raw: Path | None, dataset: str = "clevrtex", **sizes: int) -> OfficialSource:
    return OfficialSource(SourceRequest(load_spec().dataset(dataset), "official", raw, sizes))


def small(raw: Path, **sizes: int) -> OfficialSource:
    """The source for which twelve scenes are the complete release: 3 test, 3 val, 6 train."""
    spec = load_spec().dataset("clevrtex").spec
    source = spec.sources["official"].model_copy(update={"records": {"data": 12}})
    rules = spec.protocols["standard"].sources["official"]
    bounds = {"test": (0, 3), "val": (3, 6), "train": (6, 12)}
    short = {s: rules[s].model_copy(update={"start": a, "stop": b}) for s, (a, b) in bounds.items()}
    protocol = spec.protocols["standard"].model_copy(update={"sources": {"official": short}})
    changed = spec.model_copy(update={"sources": {"official": source}, "protocols": {"standard": protocol}})
    return OfficialSource(SourceRequest(DatasetRef("clevrtex", "standard", changed), "official", raw, sizes))


def same(a: dict[str, SceneBatch], b: dict[str, SceneBatch]) -> bool:
    """Whether two sources gave the same scenes."""
    return list(a) == list(b) and all(
        np.array_equal(a[split].index, b[split].index)
        and np.array_equal(a[split].images, b[split].images)
        and np.array_equal(a[split].masks, b[split].masks)
        and list(a[split].factors) == list(b[split].factors)
        and all(np.array_equal(a[split].factors[name], b[split].factors[name]) for name in a[split].factors)
        for split in a
    )


def expected(variant: str, index: int) -> tuple[np.ndarray, np.ndarray]:
    """Image and mask at 128x128 of a scene: what Pillow alone makes of the fixture, as upstream's loader does it."""
    stem = FIXTURES / f"clevrtex_{variant}" / "0" / f"CLEVRTEX_{variant}_{index % len(OBJECTS[variant]):06d}"
    with Image.open(f"{stem}.png") as image, Image.open(f"{stem}_flat.png") as mask:
        pixels = image.crop(CROP).resize(SIZE, Image.Resampling.BILINEAR)
        labels = mask.crop(CROP).resize(SIZE, Image.Resampling.NEAREST)
        return np.asarray(pixels)[..., :3], np.asarray(labels)
