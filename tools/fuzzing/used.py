"""Targets: anybody's images and the folder of a trained run, given to segment."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

import objmae
from fuzzing.outcome import Reading
from fuzzing.target import FileTarget, call, digest

_SHIPPED = Path(objmae.__file__).parent / "weights" / "objmae-small-tetrominoes"
_RUN = "given-run"
_ORIENTATION = 0x0112  # of EXIF
_NO_CHECKSUM = ("*.bmp", "*.gif", "*.jpg", "*.tif", "*.webp")


def targets() -> Iterator[FileTarget]:
    """The targets of this module."""
    yield FileTarget(
        name="segment-images",
        what="images of six formats: segment",
        build=_build_images,
        read=partial(_segmented, shipped=True),
        victims=("images/*",),
        unchecked=_NO_CHECKSUM,
    )
    yield FileTarget(
        name="segment-again",
        what="label maps of an earlier command: segment",
        build=_build_output,
        read=partial(_segmented, shipped=True),
        victims=("output/a.png",),
    )
    for name, file in (
        ("config", "config.json"),
        ("weights", "model.safetensors"),
        ("record", "result.json"),
    ):
        yield FileTarget(
            name=f"segment-{name}",
            what=f"{file} of a run: segment",
            build=_build_run,
            read=partial(_segmented, shipped=False),
            victims=(f"{_RUN}/{file}",),
            unchecked=() if name == "weights" else ("*",),
            subjects=(_RUN,),
        )


def _segmented(folder: Path, shipped: bool) -> Reading:
    """What is said of each image, and the label maps."""
    run, output = _SHIPPED if shipped else folder / _RUN, folder / "output"
    done = call("segment", run, folder / "images", "--output", output, "--device", "cpu")
    maps = [digest(np.asarray(Image.open(path))) for path in sorted(output.glob("?.png"))]
    shown = str(done.content).replace(str(folder), "").replace(", written before", "")
    return Reading(f"{shown}{maps}", done.said)


def _pixels() -> np.ndarray:
    """Two squares on black, uint8 (24,32,3)."""
    pixels = np.zeros((24, 32, 3), np.uint8)
    pixels[3:9, 4:10], pixels[12:20, 15:24] = (250, 30, 20), (40, 90, 240)
    return pixels


def _build_images(folder: Path) -> None:
    (folder / "images").mkdir()
    image, exif = Image.fromarray(_pixels()), Image.Exif()
    exif[_ORIENTATION] = 6
    gray, colours = image.convert("L"), image.quantize(8)
    kinds: dict[str, tuple[Image.Image, dict[str, Any]]] = {
        "a.png": (image, {}),
        "b.png": (image.convert("RGBA"), {}),
        "c.png": (colours, {"transparency": 0, "bits": 4}),
        "d.png": (gray, {"exif": exif}),
        "e.jpg": (image, {"exif": exif, "quality": 95}),
        "f.jpg": (gray, {"progressive": True}),
        "g.gif": (colours, {"save_all": True, "append_images": [colours.rotate(180)]}),
        "h.tif": (image, {"compression": "tiff_lzw"}),
        "i.webp": (image, {"lossless": True}),
        "j.bmp": (image, {}),
    }
    for name, (picture, options) in kinds.items():
        picture.save(folder / "images" / name, **options)


def _build_output(folder: Path) -> None:
    (folder / "images").mkdir()
    Image.fromarray(_pixels()).save(folder / "images" / "a.png")
    _segmented(folder, shipped=True)


def _build_run(folder: Path) -> None:
    (folder / "images").mkdir()
    Image.fromarray(_pixels()).save(folder / "images" / "a.png")
    shutil.copytree(_SHIPPED, folder / _RUN)
