"""The distribution of ClevrTex's scenes (Karazija et al., 2021): CLEVR's, with other objects, grounds and textures.

What differs from CLEVR: a rejected proposal draws all but the number of objects anew, and more than 200 pixels of every
object must be seen.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from objbench.data.generate.clevr import sampling
from objbench.data.generate.clevr.materials import COLORS
from objbench.data.generate.clevr.sampling import MOST, SceneDistribution, World, words_of
from objbench.data.generate.clevrtex.materials import CLEVRTEX, MATERIALS, UNSEEN, code_of
from objbench.data.generate.clevrtex.shapes import Solids, UnseenSolids
from objbench.random import below, cos_sin_turns, uniform64

_TEXTURES = 70  # what the numbers are for, beside those of CLEVR: the first of four
_SPREAD = 64.0  # of the places that textures start from, in lattice cells


class Variant(NamedTuple):
    """A set: the distribution of its scenes, and which materials its objects and grounds have."""

    distribution: SceneDistribution
    objects: int = 1  # code of the first of distribution.materials
    ground: int = 1  # code of the first of `grounds`, unless the ground is like the objects
    grounds: int = len(CLEVRTEX)


_FULL = SceneDistribution(
    Solids, radii=(0.9, 0.6, 0.4), shapes=4, materials=len(CLEVRTEX), colors=8, min_pixels=201, narrowed=(1,),
    whole=True,
)  # fmt: skip
_UNSEEN = 1 + len(CLEVRTEX)
VARIANTS = {
    "full": Variant(_FULL),
    "ood": Variant(
        _FULL._replace(objects=UnseenSolids, radii=(1.0, 0.8, 0.6), materials=len(UNSEEN), narrowed=()),
        objects=_UNSEEN, ground=_UNSEEN, grounds=len(UNSEEN),
    ),
    "camo": Variant(_FULL._replace(alike=True)),
    "pbg": Variant(_FULL, ground=code_of("plain"), grounds=1),
    "vbg": Variant(_FULL._replace(materials=2), objects=code_of("rubber")),
    "grassbg": Variant(_FULL, ground=code_of("forest_floor"), grounds=1),
}  # fmt: skip


class Textures(NamedTuple):
    """The textures of N scenes: entity 0 is the ground, entity 1 + o the object in place o; E entities."""

    material: Tensor  # int64 (N,E), 0 in an empty place
    seed: Tensor  # int32 (N,E), of the noise
    start: Tensor  # (3,N,E), where in its texture an entity lies
    cosine: Tensor  # (N,E), of the turn of the texture
    sine: Tensor
    scale: Tensor  # (N,E), of its features
    color: Tensor  # (3,N,E), one of CLEVR's eight, any for the ground; seen where the material takes it
    gain: Tensor  # (3,N,E), of all colours

    def to(self, dtype: torch.dtype) -> Textures:
        """The same textures in another precision."""
        return Textures(*(v.to(dtype) if v.is_floating_point() else v for v in self))


def draw(variant: Variant, index: Tensor, key: tuple[int, int], ahead: int = 1) -> tuple[World, Textures]:
    """The scenes `index` int64 (N,) of the stream `key`; the materials of the objects are codes of MATERIALS."""
    world, attempt = sampling.find(variant.distribution, index, key, MOST, ahead)
    objects = world.objects
    material = torch.where(objects.shape > 0, objects.material + variant.objects - 1, 0)
    textures = _textures(variant, material, objects.color, index, attempt, key)
    return world._replace(objects=objects._replace(material=material)), textures


def _textures(
    variant: Variant, material: Tensor, color: Tensor, index: Tensor, attempt: Tensor, key: tuple[int, int]
) -> Textures:
    entity = torch.arange(1 + MOST, device=index.device)
    blocks = [words_of(index[:, None], attempt[:, None], _TEXTURES + i, key, entity) for i in range(4)]
    kinds, starts, colors, gains = blocks  # (N,E,4) each
    ground = variant.ground + below(kinds[:, :1, 0], variant.grounds)
    if variant.distribution.alike:
        ground = material[:, :1]
    cosine, sine = cos_sin_turns(uniform64(kinds[..., 2]))
    eight = [[value / 255 for value in rgb] for rgb in ((0, 0, 0), *COLORS)]
    table = torch.tensor(eight, dtype=torch.float64, device=index.device)
    any_color = uniform64(colors[:, :1, :3])
    hue = 0.95 + 0.1 * uniform64(gains[..., :3]).permute(2, 0, 1)
    return Textures(
        material=torch.cat([ground, material], 1),
        seed=(kinds[..., 1] >> 1).to(torch.int32),
        start=_SPREAD * (uniform64(starts[..., :3]).permute(2, 0, 1) - 0.5),
        cosine=cosine,
        sine=sine,
        scale=0.85 + 0.35 * uniform64(kinds[..., 3]),
        color=torch.cat([any_color, table[color]], 1).permute(2, 0, 1),
        gain=(0.84 + 0.32 * uniform64(gains[..., 3])) * hue,
    )


def names() -> list[str]:
    """The names of the materials by code, "" for none."""
    return ["", *(material.name for material in MATERIALS)]
