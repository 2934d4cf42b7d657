"""Rendered CLEVR scenes, read from a file in the released format and converted to the generator's codes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from objbench.data.generate.clevr import sampling
from objbench.data.generate.clevr.generator import CROP, SIDE
from objbench.data.generate.tracer.camera import Camera
from objbench.data.generate.tracer.objects import Objects
from objbench.data.generate.tracer.visibility import label_map
from objbench.data.prepare.preprocessing import Preprocessing
from objbench.data.scene import Array, SceneBatch
from objbench.data.sources.deepmind_records import RecordBlock
from objbench.data.sources.tfrecord import Reader
from objbench.errors import ObjbenchError, RequestError

# The generator's code for each code of the file: those of the released file are the generator's own; files rendered
# with the published generator may number shapes and colours by the order of its properties.json instead.
CODES: dict[str, dict[str, tuple[int, ...]]] = {
    "release": {"shape": (0, 1, 2, 3), "color": (0, 1, 2, 3, 4, 5, 6, 7, 8)},
    "properties": {"shape": (0, 3, 1, 2), "color": (0, 6, 1, 4, 3, 5, 7, 2, 8)},
}
_NEWTON_STEPS = 20
_RIGHT, _BOTTOM = CROP.left + CROP.width, CROP.top + CROP.height


@dataclass(frozen=True)
class Rendered:
    """N rendered scenes.

    Attributes:
        images: uint8 (N,128,128,3), cropped and reduced as for CLEVR6.
        masks: uint8 (N,240,320), of the whole frame.
        cameras: Positions, float64 (N,3).
        lamps: Positions, float64 (N,3,3).
    """

    images: Array
    masks: Array
    factors: dict[str, Array]
    cameras: Array
    lamps: Array

    def world(self) -> sampling.World:
        """The same scenes in the generator's terms, with masks drawn by the generator."""
        code = {
            name: torch.from_numpy(self.factors[name][:, 1:].astype(np.int64))
            for name in ("shape", "material", "color", "size")
        }
        x, y, z, turn = (
            torch.from_numpy(self.factors[name][:, 1:].astype(np.float64))
            for name in ("x", "y", "z", "rotation")
        )
        radius = torch.tensor((1.0, *sampling.CLEVR.radii), dtype=torch.float64)[code["size"]]
        objects = Objects(torch.stack([x, y, z]), turn.cos(), turn.sin(), radius, turn, **code)
        camera = Camera.at(torch.from_numpy(self.cameras).T.contiguous())
        lamps = torch.from_numpy(self.lamps).permute(2, 0, 1).contiguous()
        return sampling.World(objects, camera, lamps, label_map(objects, camera))


def read(path: Path, codes: str) -> Rendered:
    """All records of a TFRecord file of clevr_with_masks.

    Records hold neither lamps nor a camera: the camera is solved from the depths of the objects, the lamps are assumed
    to be at their mean positions.

    Raises:
        RequestError: There is no such file.
        ObjbenchError: The file is damaged or has codes that CODES does not list.
    """
    if not path.is_file():
        raise RequestError(f"--rendered {path}: no such file")
    with Reader(path) as reader:
        whole = RecordBlock("clevr", sampling.MOST + 1, path, list(reader)).decode()
    factors = whole.factors | {
        name: _translated(path, name, whole.factors[name], table) for name, table in CODES[codes].items()
    }
    there = factors["visibility"] > 0
    places = np.stack([factors[name] for name in "xyz"], -1).astype(np.float64)
    cameras = [
        solve_camera(place[1:][seen[1:]], pixel[1:, 2][seen[1:]])
        for place, pixel, seen in zip(places, factors["pixel_coords"], there, strict=True)
    ]
    lamps = np.broadcast_to(np.array(sampling.LAMPS), (len(whole), 3, 3)).copy()
    return Rendered(cropped(whole).images, whole.masks, factors, np.stack(cameras), lamps)


def cropped(scenes: SceneBatch) -> SceneBatch:
    """Crop scenes of the whole frame to the 128x128 pixels of generated scenes."""
    return Preprocessing((SIDE, SIDE), (CROP.left, CROP.top, _RIGHT, _BOTTOM), "bicubic", "nearest")(scenes)


def solve_camera(places: Array, depths: Array) -> Array:
    """The position (3,) of a camera that looks at the origin and sees `places` (n,3) at `depths` (n,).

    The depth of p from c is |c| - p.c / |c|; it is solved by the Gauss-Newton method from the mean camera position.
    """
    camera = np.array(sampling.CAMERA)
    for _ in range(_NEWTON_STEPS):
        length = np.linalg.norm(camera)
        along = places @ camera
        residual = length - along / length - depths
        slope = camera / length - places / length + along[:, None] * camera / length**3
        camera = camera - np.linalg.lstsq(slope, residual, rcond=None)[0]
    return camera


def _translated(path: Path, name: str, stored: Array, table: tuple[int, ...]) -> Array:
    if stored.max() >= len(table):
        raise ObjbenchError(
            f"{path}: the feature '{name}' holds the code {stored.max()}; expected 0 to {len(table) - 1}"
        )
    return np.asarray(table)[stored]
