"""CLEVR: solids of rubber and metal on a grey ground, by CLEVR's laws, ray traced (Johnson et al., CVPR 2017).

Laws, camera, lamps and sizes are those of the published generator. Its meshes, materials and film are not rebuilt
but matched: solids by formula, light by a handful of constants fitted to scenes rendered with the original files.

The parameters of a scene are drawn in `sampling`; its surfaces are in `materials`; geometry, light and the picture are
the tracer's.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from objbench.data.generate.clevr import sampling
from objbench.data.generate.clevr.materials import ClevrTracer
from objbench.data.generate.generator import Generator
from objbench.data.generate.tensors import SceneTensors, with_background
from objbench.data.generate.tracer import tonemap
from objbench.data.generate.tracer.camera import Camera
from objbench.data.generate.tracer.light import lights_of
from objbench.data.generate.tracer.objects import Objects
from objbench.data.generate.tracer.visibility import Window
from objbench.errors import RequestError
from objbench.random import seed_from, split_seed

SIDE = 128
CROP = Window(top=29, left=64, height=192, width=192, samples=2)  # as the upstream sets are cropped
_CUDA_BATCH = 1024  # scenes traced at once: some 10 MB each


@dataclass(frozen=True)
class Clevr(Generator):
    """Scenes of CLEVR. Parameters and mask are the same bits on every device, the image up to one grey level.

    Factors as upstream stores them, entity axis 11 with the background in row 0: x, y, z, rotation, visibility
    float32; pixel_coords float32 (column, row, depth in the frame of 320x240); size, material, shape, color uint8.

    Attributes:
        max_objects: The number of objects is uniform from 3 to this, at most 10.
        side: Of the image, in pixels, at most 192; the scenes do not depend on it.
        alike: Whether all objects of a scene have one material and one colour, so that colour does not tell them apart.
    """

    version = 1
    block = 32
    max_objects: int = sampling.MOST
    side: int = SIDE
    alike: bool = False

    def __post_init__(self) -> None:
        if self.max_objects not in range(sampling.FEWEST, sampling.MOST + 1):
            raise RequestError(
                f"the option 'max_objects' of clevr is {self.max_objects}; "
                f"it must be {sampling.FEWEST} to {sampling.MOST}"
            )
        if self.side not in range(1, CROP.height + 1):
            raise RequestError(
                f"the option 'side' of clevr is {self.side}; it must be 1 to {CROP.height} pixels"
            )

    def make(
        self, split: str, start: int, stop: int, seed: int, device: torch.device | str | None = None
    ) -> SceneTensors:
        """The scenes [start, stop) of the stream that (split, seed, max_objects, alike) names."""
        key = self.stream_key(split, seed)
        place = torch.device(device or "cpu")
        size = _CUDA_BATCH if place.type == "cuda" else self.block
        index = torch.arange(start, stop, device=place)
        return SceneTensors.concatenate(list(self._batches(index, key, size)))

    def stream_key(self, split: str, seed: int) -> tuple[int, int]:
        """The Philox key of a stream of scenes."""
        options = ("alike",) if self.alike else ()
        words = ("max_objects", self.max_objects, "version", self.version, "seed", seed, "split", split)
        return split_seed(seed_from("clevr", *options, *words))

    def _batches(self, index: Tensor, key: tuple[int, int], size: int) -> Iterator[SceneTensors]:
        distribution = sampling.CLEVR._replace(alike=self.alike)
        for first in range(0, len(index), size):
            part = index[first : first + size]
            world = sampling.find(distribution, part, key, self.max_objects, ahead=size).world
            images, masks = render(world, self.max_objects, self.side)
            yield SceneTensors(part, images, masks, factors_of(world.objects, world.camera))


def render(world: sampling.World, most: int = sampling.MOST, side: int = SIDE) -> tuple[Tensor, Tensor]:
    """Images uint8 (N,side,side,3) and masks uint8 (N,side,side), objects in the first `most` places of `world`."""
    objects = world.objects.first(most).to(torch.float32)
    tracer = ClevrTracer(objects, lights_of(world.lamps), world.camera.to(torch.float32), CROP)
    light = tracer.picture()
    images = tonemap.reduce(tonemap.develop(light), side).permute(0, 2, 3, 1).contiguous()
    return images, tonemap.pick(world.masks[:, CROP.top :, CROP.left :][:, : CROP.height, : CROP.width], side)


def factors_of(objects: Objects, camera: Camera) -> dict[str, Tensor]:
    """The factors with upstream's names, codes and entity axis (N,11)."""
    column, row, depth = camera.project(objects.place)
    present = objects.shape > 0
    pixel = torch.stack([column.round(), row.round(), depth], -1) * present[..., None]
    x, y, z = objects.place
    floats = {"x": x, "y": y, "z": z, "rotation": objects.rotation, "pixel_coords": pixel}
    factors = {name: with_background(values.float()) for name, values in floats.items()}
    factors["visibility"] = with_background(present.float())
    factors["visibility"][:, 0] = 1
    for name in ("size", "material", "shape", "color"):
        factors[name] = with_background(getattr(objects, name).to(torch.uint8))
    return factors
