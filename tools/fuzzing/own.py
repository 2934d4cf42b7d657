"""Targets: images, label maps and archives of anybody, read by prepare."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image

from fuzzing.outcome import Reading
from fuzzing.raw import scenes, tar_of
from fuzzing.target import FileTarget, call

_SPLITS = ("train", "val", "test")
_SIDE = 16


def targets() -> Iterator[FileTarget]:
    """The targets of this module."""
    for name, what in (("png", "label maps in PNG"), ("rle", "label maps in JSON")):
        yield FileTarget(
            name=f"folder-{name}",
            what=f"folder, {what}: prepare",
            build=partial(_build_folder, form=name),
            read=partial(_prepared, "folder"),
            victims=("raw/*",),
            unchecked=("raw/*.bmp", "raw/*.json"),
        )
    yield FileTarget(
        name="webdataset",
        what="WebDataset: prepare",
        build=_build_archives,
        read=partial(_prepared, "webdataset"),
        victims=("raw/*",),
        unchecked=("raw/*",),  # a tar has no checksum of the bytes of its files
    )


def _prepared(source: str, folder: Path) -> Reading:
    data = folder / "data"
    options = ("--option", "image=bmp") if source == "webdataset" else ()
    said = call(
        *("prepare", "mine", "--source", source, "--raw", folder / "raw", "--data", data, "--workers", 1),
        *("--slots", 3, "--size", _SIDE, *options),
    ).said
    return scenes("mine", _SPLITS, data, said)


def _scene(index: int) -> tuple[np.ndarray, np.ndarray]:
    labels = np.zeros((_SIDE, _SIDE), np.uint8)
    labels[2 : 6 + index, 2:7], labels[9:14, 8 : 10 + index] = 1, 2
    return np.array([[20, 30, 40], [200, 90, 10], [60, 220, 130]], np.uint8)[labels], labels


def _files(index: int, form: str) -> dict[str, bytes]:
    """Endings of names and contents: a BMP, and the labels."""
    image, labels = _scene(index)
    if form == "png":
        mask = _saved(labels * 100, "PNG")
    else:
        planes = [(labels == k).T.ravel() for k in (1, 2)]
        edges = [np.flatnonzero(np.diff(plane, prepend=False)).tolist() for plane in planes]
        counts = [np.diff([0, *edge, labels.size]).tolist() for edge in edges]
        mask = json.dumps([{"size": [_SIDE, _SIDE], "counts": runs} for runs in counts]).encode()
    return {".bmp": _saved(image, "BMP"), ".mask.png" if form == "png" else ".mask.json": mask}


def _saved(pixels: np.ndarray, kind: str) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, kind)
    return buffer.getvalue()


def _build_folder(folder: Path, form: str) -> None:
    for index, split in enumerate(_SPLITS):
        (folder / "raw" / split).mkdir(parents=True)
        for ending, content in _files(index, form).items():
            (folder / "raw" / split / f"a{ending}").write_bytes(content)


def _build_archives(folder: Path) -> None:
    (folder / "raw").mkdir()
    for index, split in enumerate(_SPLITS):
        files = {
            f"{key}{ending}": content for key in "ab" for ending, content in _files(index, "png").items()
        }
        (folder / "raw" / f"{split}.tar").write_bytes(tar_of(files))
