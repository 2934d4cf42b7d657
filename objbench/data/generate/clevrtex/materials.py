"""The procedural materials: 60 of ClevrTex, 25 others of ClevrTex OOD, and the three plain ones of its variants.

They stand in for upstream's materials, whose textures may not be passed on: names, colours and patterns are our own,
chosen so that each group of upstream's (brick, tile, wood, stone, marble, fabric, metal, ground, ...) has its likes.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import NamedTuple

import torch
from torch import Tensor

from objbench.data.generate.clevrtex.patterns import FAMILIES


@dataclass(frozen=True)
class Material:
    """One material.

    Attributes:
        name: Of the material.
        family: Of its pattern, a key of FAMILIES.
        colors: First, second and accent, in hexadecimal digits.
        scale: Lattice cells of the pattern per radius of an object.
        params: Of the pattern; each family says what they mean.
        bump: How strongly heights turn normals.
        rough: Roughness of the first two colours and of the accent, 0 to 1.
        metal: How metallic the first two colours and the accent are, 0 to 1.
        tint: How far the object's colour replaces the first two, 0 to 1.
    """

    name: str
    family: str
    colors: tuple[str, str, str]
    scale: float
    params: tuple[float, float, float]
    bump: float = 0.5
    rough: tuple[float, float] = (0.6, 0.8)
    metal: tuple[float, float] = (0.0, 0.0)
    tint: float = 0.0


def _m(name: str, family: str, colors: str, scale: float, *params: float, **rest: object) -> Material:
    first, second, accent = colors.split()
    a, b, c = params
    return Material(name, family, (first, second, accent), scale, (a, b, c), **rest)  # type: ignore[arg-type]


CLEVRTEX = (
    _m("bricks_red", "bricks", "8e2f1f c2553a b9b0a2", 2.4, 0.5, 0.6, 0.4, bump=0.9),
    _m("bricks_orange", "bricks", "b4562c d98a4e d8cfc0", 2.8, 0.4, 0.5, 0.5, bump=0.9),
    _m("bricks_painted_white", "bricks", "e4e1da f3f0ea cfc9bd", 2.4, 0.5, 0.5, 0.5, bump=1.0, rough=(0.5, 0.7)),
    _m("bricks_dark", "bricks", "2d2a2b 574a45 8a847c", 2.6, 0.6, 0.5, 0.6, bump=0.9),
    _m("bricks_yellow_worn", "bricks", "a88a4c d6bd84 6d6251", 2.2, 0.3, 0.9, 1.0, bump=1.1),
    _m("wall_medieval", "pebbled", "8d8472 c3b79c 4a4338", 1.9, 0.7, 0.8, 0.8, bump=1.2),
    _m("tiles_turquoise", "bricks", "0f8ea6 37c4d6 dfe7e4", 2.2, 0.0, 0.5, 0.2, bump=0.5, rough=(0.12, 0.6)),
    _m("tiles_white", "bricks", "e9ecec fafafa 8c8f90", 2.6, 0.0, 0.4, 0.1, bump=0.4, rough=(0.15, 0.6)),
    _m("tiles_terracotta", "bricks", "a1482a c9764c d9c9b2", 2.0, 0.0, 0.7, 0.5, bump=0.7, rough=(0.45, 0.8)),
    _m("tiles_green_long", "bricks", "0d4a33 2f8a5f c8cdbf", 2.6, 0.7, 0.4, 0.2, bump=0.5, rough=(0.15, 0.6)),
    _m("tiles_chevron_cream", "chevron", "d8c7a8 b5aba0 6b6459", 2.4, 0.3, 0.3, 0.9, bump=0.4, rough=(0.2, 0.6)),
    _m("chevron_wood", "chevron", "6a4022 b57f4a 2b1a10", 2.4, 0.2, 0.0, 1.0, bump=0.5, rough=(0.4, 0.7)),
    _m("planks_oak", "planks", "8f6236 d0a468 2e1d10", 2.4, 0.9, 0.5, 0.5, bump=0.6, rough=(0.45, 0.8)),
    _m("planks_grey", "planks", "5c5650 a49c92 1d1b19", 2.2, 1.0, 0.7, 0.6, bump=0.8, rough=(0.7, 0.9)),
    _m("planks_mahogany", "planks", "45130c 8c3420 1a0705", 2.8, 0.9, 0.5, 0.4, bump=0.4, rough=(0.3, 0.7)),
    _m("planks_painted_blue", "planks", "2c4f7c 6f9cc4 463524", 2.2, 0.9, 0.4, 0.8, bump=0.7, rough=(0.5, 0.8)),
    _m("planks_pine_light", "planks", "cfa873 efd9ad 7d5c35", 2.6, 0.8, 0.4, 0.3, bump=0.4, rough=(0.4, 0.7)),
    _m("wood_walnut", "grained", "2e1a10 6b4326 140a05", 1.6, 0.5, 0.8, 0.6, bump=0.3, rough=(0.35, 0.6)),
    _m("wood_chiffon", "grained", "d9c39a f1e2c2 a98d62", 1.5, 0.6, 0.7, 0.5, bump=0.3, rough=(0.4, 0.6)),
    _m("wood_cherry", "grained", "7a3517 c26f38 4a1c0b", 1.7, 0.4, 0.9, 0.5, bump=0.3, rough=(0.3, 0.6)),
    _m("wood_bark", "tufted", "2d2118 7a6148 150f0a", 1.5, 1.0, 0.4, 0.6, bump=1.6, rough=(0.9, 0.9)),
    _m("marble_white", "veined", "dedcd8 efeeec 7d7f84", 1.1, 0.35, 0.5, 0.5, bump=0.0, rough=(0.32, 0.35)),
    _m("marble_black", "veined", "0b0b0d 26262b d9d2c4", 1.2, 0.4, 0.8, 0.5, bump=0.0, rough=(0.1, 0.2)),
    _m("marble_green", "veined", "0d4f3f 2f9a7a cfe5d8", 1.4, 0.6, 0.9, 0.9, bump=0.0, rough=(0.32, 0.35)),
    _m("marble_rose", "veined", "d9a08c f3d9c9 8f3e2a", 1.5, 0.8, 1.0, 0.7, bump=0.0, rough=(0.32, 0.35)),
    _m("marble_calacatta", "veined", "e6e0d6 faf7f1 a8885a", 1.0, 0.7, 0.9, 0.4, bump=0.0, rough=(0.32, 0.35)),
    _m("granite_speckled", "mottled", "8a8480 d6cfc8 1f1d1d", 4.0, 0.8, 1.0, 0.5, bump=0.1, rough=(0.2, 0.2)),
    _m("terrazzo_venetian", "pebbled", "cfc4b4 9aa4a0 1c1b1b", 2.6, 0.5, 0.2, 1.0, bump=0.3, rough=(0.25, 0.3)),
    _m("terrazzo_blue", "pebbled", "d8e2ea 3f6fa8 e9e4d6", 3.0, 0.6, 0.1, 1.0, bump=0.1, rough=(0.25, 0.3)),
    _m("agate_bands", "swirled", "8a5a6e e6d3cf 3a2444", 1.2, 0.7, 0.5, 0.4, bump=0.0, rough=(0.15, 0.2)),
    _m("cliff_jagged", "rocky", "6c6a68 bfbcb4 2a2928", 1.3, 0.9, 0.9, 0.6, bump=1.8, rough=(0.9, 0.9)),
    _m("cliff_dark", "rocky", "23242a 6d6e74 0c0c0e", 1.4, 0.8, 0.9, 0.5, bump=1.7, rough=(0.8, 0.9)),
    _m("limestone", "rocky", "9a9c9a d9d8d0 6b6a66", 1.6, 0.3, 0.6, 0.3, bump=1.0, rough=(0.9, 0.9)),
    _m("cobbles_grey", "pebbled", "5d5d5f a6a39d 2a2824", 2.0, 0.8, 1.0, 0.7, bump=1.3, rough=(0.6, 0.9)),
    _m("flagstones_dark", "pebbled", "3c2b1d 9c7a52 0c0805", 1.7, 0.6, 0.3, 0.9, bump=1.1, rough=(0.5, 0.8)),
    _m("concrete_wall", "cracked", "8f8d88 bdbab3 55534f", 1.8, 0.2, 0.4, 0.5, bump=0.6, rough=(0.8, 0.9)),
    _m("plaster_white", "mottled", "d9d6cf f2efe9 b5afa4", 2.2, 0.6, 0.6, 0.3, bump=1.1, rough=(0.8, 0.9), tint=0.3),
    _m("plaster_teal", "mottled", "2f7f86 7fbdb9 c9c4ae", 1.8, 0.9, 0.6, 0.3, bump=0.9, rough=(0.8, 0.9)),
    _m("clay_cracked", "cracked", "a8572a d9915a 3f1d0d", 2.2, 0.7, 0.4, 0.9, bump=1.1, rough=(0.8, 0.9)),
    _m("asphalt_cracked", "cracked", "242425 59585a 0b0b0b", 1.6, 0.6, 1.0, 0.3, bump=1.0, rough=(0.6, 0.9)),
    _m("road_worn", "cracked", "4d4b48 88847d 232220", 2.4, 0.2, 1.0, 0.6, bump=0.9, rough=(0.7, 0.9)),
    _m("dirt_forest", "rocky", "46341e 8b6a3c 1e150b", 2.2, 0.5, 1.0, 0.6, bump=1.4, rough=(1.0, 1.0)),
    _m("dirt_rocky", "rocky", "54565c a3a4a2 2b2b2f", 2.8, 0.8, 0.9, 0.4, bump=1.5, rough=(0.9, 1.0)),
    _m("ground_moss", "tufted", "1d4a0d 5fa82a 0e2407", 2.2, 1.0, 1.0, 0.3, bump=1.3, rough=(1.0, 1.0)),
    _m("ground_forest_litter", "leafy", "6b4519 c29a5c 20150a", 4.4, 0.8, 0.7, 1.0, bump=1.3, rough=(0.9, 1.0)),
    _m("forest_floor", "leafy", "2f5c1c 8fa85a 151a0c", 4.8, 0.6, 0.7, 1.0, bump=1.3, rough=(0.8, 1.0)),
    _m("mulch", "tufted", "4a2716 8f5a35 160a05", 2.0, 1.0, 0.5, 0.8, bump=1.8, rough=(0.9, 1.0)),
    _m("sand_ripples", "ribbed", "c9a66b ecd6a5 9b763f", 2.2, 0.2, 0.3, 0.9, bump=0.9, rough=(0.9, 1.0)),
    _m("denim", "woven", "1d3a66 5b83b8 0c1a30", 7.0, 0.7, 0.0, 1.0, bump=0.8, rough=(0.9, 0.9)),
    _m("wool_fleece", "tufted", "a9b4bd e6ebee 6e7a85", 3.0, 0.7, 0.3, 0.2, bump=1.6, rough=(1.0, 1.0), tint=0.5),
    _m("rope_blue", "chevron", "17348c 4c7ae0 0a1336", 4.0, 0.8, 0.5, 0.5, bump=1.6, rough=(0.8, 0.9), tint=0.5),
    _m("basket", "woven", "8a5a2c d9aa6c 2a1608", 3.4, 0.3, 0.6, 0.0, bump=1.3, rough=(0.6, 0.9)),
    _m("upholstery_pebbles", "pebbled", "2f8f88 8fd0c6 14403d", 5.0, 0.6, 1.0, 0.5, bump=1.1, rough=(0.9, 0.9), tint=0.4),
    _m("carpet_twist", "tufted", "7f8c9c c3ccd6 46505c", 3.4, 0.9, 0.4, 0.4, bump=1.6, rough=(1.0, 1.0), tint=0.3),
    _m("rug_night", "swirled", "14238f 4f7fe0 d9b84a", 1.4, 0.5, 1.0, 0.4, bump=0.5, rough=(0.9, 0.9)),
    _m("steel_brushed", "brushed", "9a9da3 d3d6da 6b6d72", 2.6, 0.5, 0.4, 0.1, bump=0.25, rough=(0.4, 0.5), metal=(1.0, 0.8)),
    _m("steel_weave", "woven", "8d9098 c9ccd2 0f1012", 4.6, 0.3, 0.9, 0.0, bump=1.3, rough=(0.3, 0.8), metal=(1.0, 0.2)),
    _m("iron_corrugated", "ribbed", "8a8f92 c4c8c9 6b3a1c", 2.8, 0.2, 0.5, 0.1, bump=1.8, rough=(0.35, 0.8), metal=(0.9, 0.0)),
    _m("copper_spotted", "rusted", "8f4a28 d98d5a 2f7f6b", 1.9, 0.5, 0.6, 0.2, bump=0.5, rough=(0.35, 0.7), metal=(0.9, 0.0)),
    _m("rust_over_paint", "rusted", "dfe3e4 9fb4bf 7a3312", 1.7, 0.5, 0.7, 0.6, bump=0.9, rough=(0.3, 0.9)),
)  # fmt: skip

UNSEEN = (
    _m("bricks_slate_blue", "bricks", "3c4a63 7285a6 c6c8cc", 2.3, 0.8, 0.7, 0.5, bump=0.9),
    _m("bricks_mossy", "bricks", "6d3a2c a86a52 4f7a2c", 2.4, 0.4, 0.9, 0.8, bump=1.0),
    _m("tiles_violet", "bricks", "5a2a86 9a66c4 e3dccf", 2.3, 0.0, 0.5, 0.3, bump=0.5, rough=(0.15, 0.6)),
    _m("tiles_mosaic_gold", "bricks", "a67514 f0cf6a 2a2013", 5.0, 0.0, 0.7, 0.6, bump=0.6, rough=(0.2, 0.7), metal=(0.7, 0.0)),
    _m("scales_dragon", "scaled", "3a0f12 a8302a 0f0506", 4.0, 0.7, 0.9, 0.8, bump=1.5, rough=(0.3, 0.6)),
    _m("shingles_roof", "scaled", "6a3b2a b0705a 22130d", 3.0, 0.0, 1.0, 0.7, bump=1.4, rough=(0.8, 0.9)),
    _m("scales_fish", "scaled", "5f8f96 c8e2dc 1f4a55", 4.6, 0.2, 0.7, 0.6, bump=1.2, rough=(0.2, 0.4), metal=(0.5, 0.2)),
    _m("diamond_plate", "studded", "80858a b3b7ba e4e6e7", 3.6, 0.3, 0.0, 1.0, bump=1.6, rough=(0.3, 0.25), metal=(1.0, 1.0)),
    _m("perforated_brass", "studded", "9a7a2c d9bd66 0d0a04", 3.4, 0.5, 1.0, 1.0, bump=1.2, rough=(0.3, 0.9), metal=(0.9, 0.0)),
    _m("rubber_studs", "studded", "17181a 33353a 8d2020", 3.0, 0.7, 0.0, 0.0, bump=1.4, rough=(0.7, 0.6)),
    _m("corduroy_mustard", "ribbed", "a06a10 dca633 4f3206", 5.0, 0.1, 0.4, 0.3, bump=1.3, rough=(0.9, 1.0)),
    _m("knit_red", "chevron", "8f1620 d94a4a 3a060a", 3.4, 0.7, 0.8, 0.3, bump=1.7, rough=(0.9, 0.9)),
    _m("tweed", "woven", "2f3a2c a39a7c 12160f", 6.0, 1.0, 0.3, 1.0, bump=0.8, rough=(1.0, 1.0)),
    _m("burlap", "woven", "8c6c44 cfae7c 35240f", 5.0, 0.2, 1.0, 0.0, bump=1.3, rough=(1.0, 1.0)),
    _m("fur_leopard", "mottled", "b98443 e3bd7c 1d120a", 2.6, 0.5, 0.8, 0.9, bump=0.9, rough=(0.9, 0.9)),
    _m("malachite", "swirled", "04452f 2fae7c 8fe0b8", 1.3, 1.0, 0.7, 0.3, bump=0.0, rough=(0.12, 0.2)),
    _m("lava_crust", "cracked", "120c0c 3a2a28 ff5a10", 1.7, 1.0, 0.6, 0.4, bump=1.3, rough=(0.8, 0.5)),
    _m("ice_cracked", "cracked", "a9d3e8 e6f5fb f7fdff", 1.6, 0.4, 0.2, 0.6, bump=0.3, rough=(0.08, 0.3)),
    _m("onyx_honey", "veined", "a0621c e8b860 fff0cf", 1.6, 0.9, 1.0, 1.0, bump=0.0, rough=(0.12, 0.2)),
    _m("zebra_wood", "grained", "c79a5c e5c792 3d2412", 1.8, 1.0, 1.0, 0.9, bump=0.3, rough=(0.35, 0.5)),
    _m("parquet_ebony", "chevron", "1f1612 5b4636 0a0605", 3.0, 0.2, 0.4, 1.0, bump=0.4, rough=(0.25, 0.6)),
    _m("leaves_autumn", "leafy", "a8320f e6a32a 3a1407", 4.2, 0.9, 0.6, 1.0, bump=1.3, rough=(0.7, 0.9)),
    _m("pebbles_river", "pebbled", "6f7a80 d3cdbf 2c2e2c", 3.0, 0.5, 1.0, 1.0, bump=1.4, rough=(0.35, 0.9)),
    _m("verdigris", "rusted", "2f8a78 7fd0b6 6a3a1c", 1.6, 0.4, 0.9, 0.8, bump=0.8, rough=(0.8, 0.5), metal=(0.0, 0.8)),
    _m("snow_crust", "rocky", "c9d6e6 f6fafd 8fa6c4", 1.5, 0.3, 0.6, 0.3, bump=1.0, rough=(0.6, 0.8)),
)  # fmt: skip

PLAIN = Material("plain", "mottled", ("9a9a9a", "a2a2a2", "9a9a9a"), 1.0, (0.2, 0.0, 0.0), bump=0.0)
RUBBER = Material("rubber", "mottled", ("808080", "808080", "808080"), 1.0, (0.0, 0.0, 0.0), bump=0.0,
                  rough=(0.6, 0.6), tint=1.0)  # fmt: skip
METAL = Material("metal", "mottled", ("b0b0b0", "b0b0b0", "b0b0b0"), 1.0, (0.0, 0.0, 0.0), bump=0.0,
                 rough=(0.18, 0.18), metal=(1.0, 1.0), tint=1.0)  # fmt: skip
MATERIALS: tuple[Material, ...] = (
    *CLEVRTEX,
    *UNSEEN,
    PLAIN,
    RUBBER,
    METAL,
)  # the code of each is its place, from 1


def code_of(name: str) -> int:
    """The code of a material."""
    return 1 + [material.name for material in MATERIALS].index(name)


class Table(NamedTuple):
    """What MATERIALS says, by code less one."""

    family: Tensor  # int64 (C,), place in FAMILIES
    colors: Tensor  # (3,3,C): which, channel; as linear light
    scale: Tensor  # (C,)
    params: Tensor  # (3,C)
    bump: Tensor  # (C,)
    rough: Tensor  # (2,C)
    metal: Tensor  # (2,C)
    tint: Tensor  # (C,)


@cache
def table(device: torch.device) -> Table:
    """The materials on `device`, float32."""
    families = list(FAMILIES)

    def column(values: list[object]) -> Tensor:
        return torch.tensor(values, dtype=torch.float32, device=device)

    return Table(
        torch.tensor([families.index(m.family) for m in MATERIALS], device=device),
        column([[linear(color) for color in m.colors] for m in MATERIALS]).permute(1, 2, 0).contiguous(),
        column([m.scale for m in MATERIALS]),
        column([m.params for m in MATERIALS]).T.contiguous(),
        column([m.bump for m in MATERIALS]),
        column([m.rough for m in MATERIALS]).T.contiguous(),
        column([m.metal for m in MATERIALS]).T.contiguous(),
        column([m.tint for m in MATERIALS]),
    )


def linear(color: str) -> list[float]:
    """A colour as written on the web, as linear light; dark ones as under the lamps of a picture, so made brighter.

    >>> linear("ff0000")
    [1.0, 0.0, 0.0]
    """
    values = [int(color[i : i + 2], 16) / 255 for i in (0, 2, 4)]
    return [v**1.75 for v in values]
