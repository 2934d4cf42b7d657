"""Materials on surfaces: the colour, the turned normal and the gloss of every point."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from objbench.data.generate.clevrtex.materials import Table, table
from objbench.data.generate.clevrtex.patterns import FAMILIES, WRAPPED, Pattern, Site
from objbench.data.generate.clevrtex.sampling import Textures
from objbench.data.generate.tracer.vectors import length, turn, unit

BOX, GLOBE, DRUM = 0, 1, 2  # how faces are cut open: six sides, longitude and latitude, or wall and lids
_AT_ONCE = {"cpu": 1 << 15, "cuda": 1 << 22}
_RELIEF = 0.3  # height of a bump of one, in lattice cells
_WITHIN = 0.6  # of the way to the next pixel, two places besides its middle are looked at
_CAVITY = 0.55  # of the light around is kept from the bottom of a bump of one


class SurfacePoints(NamedTuple):
    """M points of entities, each in its entity's frame, where lengths are in units of the object's radius."""

    entity: Tensor  # int64 (M,): scene * E + entity
    at: Tensor  # (3,M)
    normal: Tensor  # (3,M)
    across: Tensor  # (3,M), within the surface, to what the next pixel beside sees
    along: Tensor  # (3,M), and the next one above
    cut: Tensor  # int64 (M,): BOX, GLOBE or DRUM

    def only(self, chosen: Tensor) -> SurfacePoints:
        """The points `chosen`, int64."""
        return SurfacePoints(*(values[..., chosen] for values in self))


class TexturedSurface(NamedTuple):
    """What M points look like."""

    color: Tensor  # (3,M), linear albedo
    normal: Tensor  # (3,M), in the entity's frame
    rough: Tensor  # (M,)
    metal: Tensor  # (M,)
    open: Tensor  # (M,) in [0,1], how much of its surroundings a point between bumps sees


def textured(textures: Textures, places: SurfacePoints, bumps: bool = True) -> TexturedSurface:
    """What is seen of `places`, family by family; without `bumps` the normals stay as they are."""
    known = table(places.at.device)
    code = textures.material.flatten()[places.entity] - 1
    family = known.family[code]
    rough, metal, open_ = (torch.empty_like(places.at[0]) for _ in range(3))
    whole = TexturedSurface(torch.empty_like(places.at), torch.empty_like(places.at), rough, metal, open_)
    size = _AT_ONCE.get(places.at.device.type, _AT_ONCE["cpu"])
    for number, name in enumerate(FAMILIES):
        for chosen in torch.split((family == number).nonzero().flatten(), size):
            if not len(chosen):
                continue
            part = _textured(name, known, code[chosen], textures, places.only(chosen), bumps)
            for values, new in zip(whole, part, strict=True):
                values[..., chosen] = new
    return whole


def _textured(
    name: str, known: Table, code: Tensor, textures: Textures, places: SurfacePoints, bumps: bool
) -> TexturedSurface:
    scale = known.scale[code] * textures.scale.flatten()[places.entity]
    bump = known.bump[code]
    params = known.params[:, code]
    blur = (length(places.across) * length(places.along)).sqrt()
    if bumps:
        pattern, normal = _relief(name, params, scale, bump, textures, places, blur)
    else:
        pattern = _pattern(name, params, scale, textures, places, places.at, blur)
        normal = places.normal
    rough, metal = (
        pair[0] + pattern.accent * (pair[1] - pair[0])
        for pair in (known.rough[:, code], known.metal[:, code])
    )
    return TexturedSurface(
        _color(pattern, known.colors[:, :, code], known.tint[code], textures, places.entity),
        normal,
        rough,
        metal,
        1 - _CAVITY * bump.clamp_max(1) * (1 - pattern.height),
    )


def _relief(
    name: str,
    params: Tensor,
    scale: Tensor,
    bump: Tensor,
    textures: Textures,
    places: SurfacePoints,
    blur: Tensor,
) -> tuple[Pattern, Tensor]:
    """The mean pattern of three places in a pixel, and the normals (3,M) turned by the slope of their heights."""
    count = len(scale)
    wide, high = length(places.across), length(places.along)
    aside, up = (_WITHIN * wide).clamp_min(0.03 / scale), (_WITHIN * high).clamp_min(0.03 / scale)
    across, along = places.across / wide, places.along / high
    at = torch.cat([places.at, places.at + aside * across, places.at + up * along], 1)
    again = torch.arange(count, device=scale.device).repeat(3)
    pattern = _pattern(name, params[:, again], scale[again], textures, places.only(again), at, blur[again])
    here, beside, above = pattern.height.view(3, count)
    rise = _RELIEF * bump / scale
    tilt = (rise * (beside - here) / aside).clamp(-2, 2) * across
    tilt = tilt + (rise * (above - here) / up).clamp(-2, 2) * along
    mean = Pattern(*((a + b + c) / 3 for a, b, c in (values.view(3, count) for values in pattern)))
    return mean, unit(places.normal - tilt)


def _pattern(
    name: str,
    params: Tensor,
    scale: Tensor,
    textures: Textures,
    places: SurfacePoints,
    at: Tensor,
    blur: Tensor,
) -> Pattern:
    entity = places.entity
    cosine, sine = textures.cosine.flatten()[entity], textures.sine.flatten()[entity]
    if name in WRAPPED:
        ground = entity % textures.material.shape[1] == 0
        at = turn(at, torch.where(ground, cosine, 1), torch.where(ground, sine, 0))
        at = _unwrapped(at, places.normal, places.cut) * scale
        at = at + textures.start.flatten(1)[:, entity] * torch.tensor(
            [[1.0], [1.0], [0.0]], dtype=at.dtype, device=at.device
        )
    else:
        at = turn(at, cosine, sine) * scale + textures.start.flatten(1)[:, entity]
    return FAMILIES[name](Site(at, textures.seed.flatten()[entity], blur * scale, params))


def _unwrapped(at: Tensor, normal: Tensor, cut: Tensor) -> Tensor:
    """Points (3,M) of surfaces laid flat: along, across (upwards on walls) and the number of the face."""
    x, y, z = at
    a, b, c = normal.abs()
    lid = torch.where(cut == DRUM, c > 0.75, (c >= a) & (c >= b)) & (cut != GLOBE)
    side = (a > b) & (cut == BOX)
    away = (x * x + y * y).sqrt()
    angle = torch.atan2(y, x)
    along = torch.where(cut == BOX, torch.where(side, y, x), angle)
    along = torch.where(lid, x, along)
    across = torch.where(lid, y, torch.where(cut == GLOBE, torch.atan2(z, away), z))
    face = torch.where(lid, 11.0, torch.where(side, 5.0, 0.0)).to(z.dtype)
    return torch.stack([along, across, face])


def _color(pattern: Pattern, colors: Tensor, tint: Tensor, textures: Textures, entity: Tensor) -> Tensor:
    """The albedo (3,M) from the colours (which, channel, M) of the materials."""
    own = textures.color.flatten(1)[:, entity]
    base = colors[0] + pattern.tone * (colors[1] - colors[0])
    base = base + tint * (own * (0.6 + 0.8 * pattern.tone) - base)
    base = base + pattern.accent * (colors[2] - base)
    return (base * textures.gain.flatten(1)[:, entity]).clamp(0.0, 0.95)
