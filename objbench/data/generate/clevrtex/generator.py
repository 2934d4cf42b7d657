"""ClevrTex: textured objects on textured ground, by ClevrTex's laws, ray traced (Karazija et al., NeurIPS 2021).

A stand-in, not a copy: laws, shapes' sizes, camera and lamps are those of the published generator; its materials, whose
textures may not be passed on, are replaced by procedural ones, and its two meshes by likenesses.

The parameters of a scene are drawn in `sampling`; `shapes` is geometry; `noise`, `patterns`, `materials` and `texture` say
what surfaces look like; `trace` and `filmic` light the scene with CLEVR's tracer.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from objbench.data.generate.clevr.sampling import World
from objbench.data.generate.clevrtex import filmic, sampling
from objbench.data.generate.clevrtex.sampling import VARIANTS, Textures
from objbench.data.generate.clevrtex.trace import TexturedTracer, lamps_of
from objbench.data.generate.generator import Generator
from objbench.data.generate.tensors import SceneTensors, with_background
from objbench.data.generate.tracer import tonemap
from objbench.data.generate.tracer.visibility import Window
from objbench.errors import unknown_name
from objbench.random import seed_from, split_seed

SIDE = 128
CROP = Window(top=24, left=64, height=192, width=192, samples=2)  # the true centre
_CUDA_BATCH = 256  # scenes traced at once
_SHAPES = {"ood": ["", "cone", "icosahedron", "torus", "teapot"]}
_SEEN_SHAPES = ["", "cube", "sphere", "cylinder", "monkey"]
_SIZES = ["", "large", "medium", "small"]
_COLORS = ["", "red", "cyan", "green", "blue", "brown", "gray", "purple", "yellow"]


@dataclass(frozen=True)
class ClevrTex(Generator):
    """Scenes of ClevrTex. Parameters and mask are the same bits on every device, the image up to rounding.

    Factors as the released sets name them, entity axis 11 with the background in row 0: shape, material, size, of vbg
    color (text, "" where there is none), rotation, 3d_coords, pixel_coords (column, row, depth in the frame of 320x240)
    and visibility, float64; and ground_material (text), one for each scene.

    Attributes:
        variant: full, ood, camo, pbg, vbg or grassbg.
    """

    version = 1
    block = 8
    stand_in = True
    variant: str = "full"

    def __post_init__(self) -> None:
        if self.variant not in VARIANTS:
            raise unknown_name("variant of clevrtex", self.variant, VARIANTS)

    def make(
        self, split: str, start: int, stop: int, seed: int, device: torch.device | str | None = None
    ) -> SceneTensors:
        """The scenes [start, stop) of the stream that (split, seed, variant) names."""
        key = self.stream_key(split, seed)
        place = torch.device(device or "cpu")
        size = _CUDA_BATCH if place.type == "cuda" else self.block
        index = torch.arange(start, stop, device=place)
        return SceneTensors.concatenate(list(_batches(self.variant, index, key, size)))

    def stream_key(self, split: str, seed: int) -> tuple[int, int]:
        """The Philox key of a stream of scenes."""
        words = (self.variant, "version", self.version, "seed", seed, "split", split)
        return split_seed(seed_from("clevrtex", *words))


def render(world: World, textures: Textures) -> tuple[Tensor, Tensor]:
    """Images uint8 (N,128,128,3) and masks uint8 (N,128,128) of `world`."""
    tracer = TexturedTracer(
        world.objects.to(torch.float32),
        lamps_of(world.lamps),
        world.camera.to(torch.float32),
        CROP,
        textures.to(torch.float32),
    )
    frames = filmic.develop(tracer.picture())
    images = tonemap.reduce(frames, SIDE, tonemap.bilinear).permute(0, 2, 3, 1).contiguous()
    masks = world.masks[:, CROP.top :, CROP.left :][:, : CROP.height, : CROP.width]
    return images, tonemap.pick(masks, SIDE)


def _batches(variant: str, index: Tensor, key: tuple[int, int], size: int) -> Iterator[SceneTensors]:
    for first in range(0, len(index), size):
        part = index[first : first + size]
        world, textures = sampling.draw(VARIANTS[variant], part, key, ahead=size)
        images, masks = render(world, textures)
        factors, names = factors_of(variant, world, textures)
        yield SceneTensors(part, images, masks, factors, names)


def factors_of(
    variant: str, world: World, textures: Textures
) -> tuple[dict[str, Tensor], dict[str, list[str]]]:
    """The factors with the released names and entity axis (N,11), and what the codes among them stand for."""
    objects = world.objects
    column, row, depth = world.camera.project(objects.place)
    present = (objects.shape > 0)[..., None]
    materials = sampling.names()
    names = {
        "shape": _SHAPES.get(variant, _SEEN_SHAPES),
        "material": materials,
        "size": _SIZES,
        "ground_material": materials,
    }
    factors = {
        "ground_material": textures.material[:, 0],
        "shape": with_background(objects.shape),
        "material": with_background(objects.material),
        "size": with_background(objects.size),
        "rotation": with_background(objects.rotation),
        "3d_coords": with_background(objects.place.permute(1, 2, 0) * present),
        "pixel_coords": with_background(torch.stack([column.round(), row.round(), depth], -1) * present),
        "visibility": with_background(present[..., 0].double()),
    }
    factors["visibility"][:, 0] = 1
    if variant == "vbg":
        names["color"], factors["color"] = _COLORS, with_background(objects.color)
    return factors, names
