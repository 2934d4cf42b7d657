"""Folders and archives of scenes as anybody has them, for the tests of the sources `folder` and `webdataset`."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from objbench.data.sources.base import SourceRequest
from objbench.spec.own import declare, declared_reference


def scene(index: int, size: tuple[int, int] = (24, 32), objects: int = 3) -> tuple[np.ndarray, np.ndarray]:
    """Image uint8 (H,W,3) and labels uint8 (H,W): squares of one colour each on grey, side by side."""
    random = np.random.default_rng([index, *size])
    labels = np.zeros(size, np.uint8)
    for k in range(objects):
        y = random.integers(0, size[0] - 8)
        labels[y : y + 8, 9 * k + 1 : 9 * k + 8] = k + 1
    colours = random.integers(60, 256, (objects + 1, 3), np.uint8)
    colours[0] = 30
    return colours[labels], labels


def png(pixels: np.ndarray, **options: Any) -> bytes:
    return saved(Image.fromarray(pixels), "PNG", **options)


def saved(image: Image.Image, kind: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def write_folder(root: Path, count: int, **options: Any) -> Path:
    """images/NNN.png and masks/NNN.png of `count` scenes."""
    for index in range(count):
        image, labels = scene(index, **options)
        for name, pixels in (("images", image), ("masks", labels)):
            path = root / name / f"{index:03}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(png(pixels))
    return root


PNG = bytes.fromhex(  # two squares, 24x32; Pillow reads it also with the byte 78 changed, as another picture
    "89504e470d0a1a0a0000000d4948445200000020000000180802000000143168630000004249444154789c6360180504"
    "002332e7979c089a34dba337145ac044a1fe510b868005a380206024ac040968447dc0257563990056f1a19f8a462d18"
    "01168c828107000786061bd63086b80000000049454e44ae426082"
)
FLIPPED_PNG = PNG[:78] + b"\x7f" + PNG[79:]


def write_tar(path: Path, members: Mapping[str, bytes], mode: str = "w") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, mode) as archive:
        for name, content in members.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return path


def request(
    source: str, raw: Path | None, slots: int = 4, size: str = "24x32", *options: str, **sizes: int
) -> SourceRequest:
    reference = declared_reference("mine", declare("mine", source, slots, size, options))
    return SourceRequest(reference, source, raw, sizes)
