"""The families of procedural materials: formulas of a place on a surface. Add one by adding a function to FAMILIES.

A family is evaluated at M places at once, of any objects of any scenes that have a material of it. What differs between
the materials of a family besides colours and scale are three `params` in about [0,1]; each family says what they mean.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from objbench.data.generate.clevrtex.noise import cells, dice, fading, fbm, noise


class Site(NamedTuple):
    """M places in the units of their textures."""

    at: Tensor  # (3,M); where a family is drawn on faces, (along, across, 0)
    seed: Tensor  # int32 (M,), of the entity
    blur: Tensor  # (M,), the distance between neighbouring points of the picture
    params: Tensor  # (3,M)


class Pattern(NamedTuple):
    """What a family says of M places, each (M,) in [0,1]."""

    height: Tensor
    tone: Tensor  # from the first colour of the material to its second
    accent: Tensor  # the share of its third colour, in front of both


Family = Callable[[Site], Pattern]


def mottled(site: Site) -> Pattern:
    """Soft patches. Params: contrast of the patches; grain; share of spots of the third colour."""
    contrast, grain, spots = site.params
    large = fbm(site.at, site.seed, site.blur, 4)
    fine = fading(site.blur * 6) * noise(site.at * 9, site.seed + 11)
    tone = _half(large * (0.4 + 1.4 * contrast) + 0.7 * grain * fine)
    spotted = noise(site.at * 2.6, site.seed + 23)
    accent = _step(spotted + 0.3 * fine, 0.75 - 0.9 * spots, 0.1 + site.blur) * (spots > 0)
    return Pattern(_half(0.6 * large + grain * fine), tone, accent)


def rocky(site: Site) -> Pattern:
    """Broken stone or earth in ridges. Params: sharpness; contrast; share of the third colour in the hollows."""
    sharp, contrast, hollow = site.params
    base = fbm(site.at, site.seed, site.blur, 5, 0.62)
    ridge = 1 - 2 * noise(site.at * 1.7 + 0.3 * base, site.seed + 31).abs()
    height = _half((1 - sharp) * base + sharp * ridge * 0.8 + 0.15 * base)
    tone = _half(contrast * (2.4 * height - 1.2) + 0.7 * base)
    return Pattern(height, tone, (1 - _step(height, 0.15 + 0.4 * hollow, 0.25)) * (hollow > 0))


def veined(site: Site) -> Pattern:
    """Marble: a net of veins that come and go. Params: width of veins; how much they bend; contrast of the clouds."""
    width, bend, clouds = site.params
    warp = fbm(site.at * 0.9, site.seed, site.blur, 4, 0.6)
    bent = site.at + (0.15 + 0.5 * bend) * torch.stack([warp, -warp, warp])
    coming = (0.7 + 0.9 * noise(site.at * 0.7, site.seed + 37)).clamp(0, 1)
    accent = torch.zeros_like(warp)
    for size, weight in ((0.75, 1.0), (1.9, 0.55)):
        found = cells(bent * size, site.seed + 41)
        thin = (0.04 + 0.22 * width) * weight + 0.6 * size * site.blur
        accent = accent + weight * coming * (1 - (found.second - found.nearest) / thin).clamp_min(0)
    return Pattern(torch.full_like(warp, 0.5), _half(warp * 2 * clouds), accent.clamp_max(1))


def pebbled(site: Site) -> Pattern:
    """Stones or chips in a bed of the third colour. Params: width of the gaps; roundness; unlikeness of the stones."""
    gap, round_, unlike = site.params
    warp = 0.25 * noise(site.at * 1.5, site.seed + 53)
    found = cells(site.at + warp, site.seed)
    edge = found.second - found.nearest
    rough = fbm(site.at * 4, site.seed + 59, site.blur * 4, 2, 0.7)
    bed = 1 - _step(edge + 0.06 * rough, 0.02 + 0.3 * gap, 0.05 + 0.7 * site.blur)
    dome = (edge / (0.15 + 0.7 * round_)).clamp(0, 1)
    height = (1 - bed) * (0.35 + 0.5 * dome) + 0.1 * rough
    return Pattern(height.clamp(0, 1), (0.5 + unlike * (found.number - 0.5) + 0.12 * rough).clamp(0, 1), bed)


def bricks(site: Site) -> Pattern:
    """Rows of bricks or tiles in mortar. Params: length (0 square, 1 four times as long); width of joints; wear.

    Every other row is shifted by half a brick, but square ones are tiles and stand in line.
    """
    length, joint, wear = site.params
    rough = fbm(site.at * 1.8, site.seed + 61, site.blur * 1.8, 4, 0.7)
    across = site.at[1]
    row = across.floor()
    along = site.at[0] / (1 + 3 * length) + 0.5 * torch.remainder(row, 2) * (length > 0)
    column = along.floor()
    aside = (0.5 - (along - column - 0.5).abs()) * (1 + 3 * length)
    edge = torch.minimum(aside, 0.5 - (across - row - 0.5).abs()) + 0.05 * wear * rough
    soft = 0.02 + 0.6 * site.blur
    mortar = 1 - _step(edge, 0.01 + 0.09 * joint, soft)
    own = dice(column, row, site.seed)
    height = (1 - mortar) * (0.75 + 0.15 * (own - 0.5) + 0.12 * wear * rough) + 0.1 * mortar
    return Pattern(height.clamp(0, 1), (own + (0.3 + wear) * 0.5 * rough).clamp(0, 1), mortar)


def planks(site: Site) -> Pattern:
    """Boards side by side with their grain. Params: darkness of the joints; contrast of the grain; its fineness."""
    joint, grain, fine = site.params
    row = site.at[1].floor()
    shifted = site.at[0] * 0.22 + 0.618 * row
    column = shifted.floor()
    own = dice(column, row, site.seed)
    stretch = torch.stack([site.at[0] * 0.5, site.at[1] * (3 + 5 * fine), site.at[2] + 9 * own + 0.1])
    lines = fbm(stretch, site.seed + 71, site.blur * (3 + 5 * fine), 4, 0.7)
    edge = torch.minimum(0.5 - (site.at[1] - row - 0.5).abs(), 4.5 * (0.5 - (shifted - column - 0.5).abs()))
    gap = 1 - _step(edge, 0.025, 0.02 + 0.6 * site.blur)
    tone = (0.2 + 0.6 * own + grain * lines).clamp(0, 1)
    return Pattern((1 - gap) * (0.8 + 0.1 * lines), tone, gap * joint)


def grained(site: Site) -> Pattern:
    """Solid wood: rings around a bent axis and pores. Params: tightness of the rings; contrast; pores."""
    tight, contrast, pores = site.params
    bent = noise(
        site.at * torch.tensor([[0.7], [0.7], [0.25]], dtype=site.at.dtype, device=site.at.device),
        site.seed + 79,
    )
    radius = ((site.at[0] + 2.1) ** 2 + (site.at[1] + 0.7) ** 2).sqrt() + 0.35 * bent
    frequency = 2 + 6 * tight
    ring = _wave(radius * frequency) * fading(0.7 * site.blur * frequency)
    narrow = site.at * torch.tensor([[11.0], [11.0], [1.3]], dtype=site.at.dtype, device=site.at.device)
    pore = fading(site.blur * 6) * noise(narrow, site.seed + 83)
    tone = _half(contrast * ring + 0.5 * bent + 0.5 * pores * pore)
    return Pattern(_half(0.3 * ring + pores * pore), tone, _step(pore * pores, 0.45, 0.2))


def woven(site: Site) -> Pattern:
    """Two threads over and under each other. Params: unlikeness of the threads; gaps; twill (0 plain, 1 diagonal)."""
    unlike, gaps, twill = site.params
    u, v = site.at[0], site.at[1]
    column, row = u.floor(), v.floor()
    over = torch.where(
        twill > 0.5, torch.remainder(column + row, 4) < 2, torch.remainder(column + row, 2) < 1
    )
    a, b = (u - column - 0.5).abs(), (v - row - 0.5).abs()
    aside, along = torch.where(over, a, b), torch.where(over, b, a)
    bulge = (1 - (1.7 * aside) ** 2).clamp_min(0) * (1 - 0.9 * along**2)
    clear = fading(site.blur)
    wear = fbm(site.at * 0.21, site.seed + 89, site.blur * 0.21, 2)
    own = dice(torch.where(over, column, row), torch.where(over, row, column) * 0 + over, site.seed)
    tone = 0.5 + clear * (unlike * (over.to(u.dtype) - 0.5) + 0.35 * (own - 0.5)) + 0.25 * wear
    hole = clear * _step(aside, 0.5 - 0.16 * gaps, 0.08) * (gaps > 0)
    return Pattern(0.5 + clear * (bulge - 0.6), tone.clamp(0, 1), hole)


def chevron(site: Site) -> Pattern:
    """Slanting strips in columns that meet in points. Params: width of the joints; slope; unlikeness of the strips."""
    joint, slope, unlike = site.params
    column = (site.at[0] * 0.5).floor()
    u = site.at[0] * 0.5 - column - 0.5
    v = site.at[1] + (1.0 + 2 * slope) * (0.5 - u.abs()) * 2
    row = v.floor()
    edge = torch.minimum(0.5 - (v - row - 0.5).abs(), torch.minimum(u.abs(), 0.5 - u.abs()) * 2)
    gap = 1 - _step(edge, 0.02 + 0.1 * joint, 0.03 + 0.6 * site.blur)
    rough = fbm(site.at * 1.8, site.seed + 97, site.blur * 1.8, 4, 0.7)
    own = dice(2 * column + (u > 0), row, site.seed)
    tone = (0.5 + unlike * (own - 0.5) + 0.25 * rough).clamp(0, 1)
    return Pattern((1 - gap) * (0.7 + 0.1 * rough), tone, gap)


def ribbed(site: Site) -> Pattern:
    """Parallel ribs, of sheet metal or cord. Params: sharpness; dirt of the third colour in the grooves; waviness."""
    sharp, dirt, wavy = site.params
    bent = noise(site.at * 0.6, site.seed + 103)
    clear = fading(0.8 * site.blur)
    wave = clear * _wave(site.at[1] + 0.5 * wavy * bent)
    height = _half(wave * (1 - 0.5 * sharp) + 0.5 * sharp * wave * wave * wave)
    stain = fbm(site.at * 1.3, site.seed + 107, site.blur, 3)
    low = (1 - height) * dirt + dirt * stain.clamp_min(0)
    return Pattern(height, _half(0.4 * wave + 0.5 * stain), (low * 1.3 - 0.2).clamp(0, 1))


def brushed(site: Site) -> Pattern:
    """Fine scratches one way. Params: their contrast; smudges; bent dents."""
    contrast, smudges, dents = site.params
    narrow = torch.stack([site.at[0] * 0.4, site.at[1] * 9, site.at[2] * 9])
    fine = fading(site.blur * 5) * noise(narrow, site.seed + 109)
    smudge = fbm(site.at * 0.8, site.seed + 113, site.blur, 2)
    height = _half(0.35 * contrast * fine + 1.2 * dents * smudge)
    return Pattern(height, _half(contrast * fine + 0.6 * smudge), (smudge * 1.5 * smudges).clamp(0, 1))


def rusted(site: Site) -> Pattern:
    """A coat broken open over the third colour. Params: share that is gone; raggedness; streaks that run down."""
    share, ragged, streaks = site.params
    pull = torch.stack([torch.ones_like(share), torch.ones_like(share), 1 - 0.8 * streaks])
    patch = fbm(site.at * pull, site.seed, site.blur, 5, 0.45 + 0.3 * ragged)
    fine = fading(site.blur * 5) * noise(site.at * 7, site.seed + 127)
    gone = _step(patch, 0.65 - 1.3 * share, 0.06 + 0.5 * site.blur)
    near = _step(patch, 0.35 - 1.3 * share, 0.4)
    height = 0.75 - 0.35 * gone + (0.08 + 0.25 * gone) * fine
    return Pattern(
        height.clamp(0, 1), (0.7 * near + 0.25 * fine).clamp(0, 1), gone * (0.85 + 0.3 * fine).clamp(0, 1)
    )


def leafy(site: Site) -> Pattern:
    """Leaves or litter heaped on each other. Params: length of the leaves; depth of the gaps; unlikeness."""
    long_, gaps, unlike = site.params
    turn = noise(site.at * 0.45, site.seed + 131) * 4
    lean = torch.stack([turn, -turn, turn * 0.5])
    pull = torch.stack([1 + 0.5 * long_, 1 - 0.5 * long_, torch.ones_like(long_)])
    upper = cells((site.at + 0.3 * lean) * pull * 1.3, site.seed)
    lower = cells((site.at - 0.3 * lean) * pull.flip(0) * 1.9 + 3.7, site.seed + 7)
    top = 1 - 1.5 * upper.nearest + 0.25 * upper.number
    under = 0.75 - 1.5 * lower.nearest + 0.2 * lower.number
    fine = fading(site.blur * 4) * noise(site.at * pull * 5, site.seed + 133)
    height = torch.maximum(top, under) + 0.12 * fine
    tone = 0.5 + unlike * (torch.where(top > under, upper.number, lower.number) - 0.5) + 0.5 * (height - 0.4)
    tone = tone + 0.3 * fine
    return Pattern(
        height.clamp(0, 1), tone.clamp(0, 1), ((0.15 + 0.5 * gaps - height) * 2.5).clamp(0, 1) * (gaps > 0)
    )


def tufted(site: Site) -> Pattern:
    """Grass, moss, pile or fur: fine upright strands on soft patches. Params: depth; patches; share of other strands."""
    depth, patches, other = site.params
    strand = fading(site.blur * 2.4) * noise(site.at * 4, site.seed + 137)
    finer = fading(site.blur * 5) * noise(site.at * 9 + 2 * strand, site.seed + 139)
    patch = fbm(site.at * 0.6, site.seed + 149, site.blur * 0.6, 2)
    height = _half(0.7 * strand + 0.5 * finer)
    tone = _half(depth * (strand + finer) + 1.5 * patches * patch)
    return Pattern(height, tone, _step(finer + 0.5 * strand, 0.95 - 0.8 * other, 0.2) * (other > 0))


def scaled(site: Site) -> Pattern:
    """Overlapping scales or shingles. Params: pointedness; unlikeness; width of the rims of the third colour."""
    pointed, unlike, rim = site.params
    best = torch.full_like(pointed, -1.0)
    tone, edge = torch.zeros_like(best), torch.ones_like(best)
    for lower in (1, 0):
        row = site.at[1].floor() + lower
        shifted = site.at[0] + 0.5 * torch.remainder(row, 2)
        column = shifted.floor()
        u, v = 2 * (shifted - column - 0.5), site.at[1] - row + 1
        reach = 1 - (1 - pointed) * 0.75 * u * u - pointed * 0.75 * u.abs()
        inside = v < 1.35 * reach
        height = 0.35 + 0.5 * (v / 1.9)
        best = torch.where(inside, height, best)
        tone = torch.where(inside, dice(column, row, site.seed), tone)
        edge = torch.where(inside, 1.35 * reach - v, edge)
    rough = noise(site.at * 4, site.seed + 151) * fading(site.blur * 4)
    rims = (1 - _step(edge, 0.02 + 0.12 * rim, 0.04 + 0.6 * site.blur)) * (rim > 0)
    return Pattern(best.clamp_min(0), (0.5 + unlike * (tone - 0.5) + 0.2 * rough).clamp(0, 1), rims)


def cracked(site: Site) -> Pattern:
    """Asphalt, clay or concrete: grain under a net of cracks. Params: width of the cracks; grain; patches."""
    width, grain, patches = site.params
    bend = 0.3 * fbm(site.at, site.seed + 157, site.blur, 2)
    found = cells(site.at * 0.7 + bend, site.seed)
    edge = found.second - found.nearest
    fine = fading(site.blur * 6) * noise(site.at * 8, site.seed + 163)
    coarse = fading(site.blur * 2) * noise(site.at * 2.5, site.seed + 167)
    crack = (1 - _step(edge, 0.005 + 0.06 * width, 0.02 + 0.7 * site.blur)) * (width > 0)
    tone = _half(grain * (1.2 * fine + 0.4 * coarse) + patches * (found.number - 0.5) + 0.5 * bend)
    return Pattern(((1 - crack) * _half(grain * fine + 0.3 * coarse)).clamp(0, 1), tone, crack)


def studded(site: Site) -> Pattern:
    """Raised studs or holes in a grid. Params: size; holes (above a half) or studs; stagger of the rows."""
    size, holes, stagger = site.params
    row = site.at[1].floor()
    shifted = site.at[0] + 0.5 * stagger * torch.remainder(row, 2)
    u, v = shifted - shifted.floor() - 0.5, site.at[1] - row - 0.5
    away = (u * u + v * v).sqrt()
    inside = fading(0.9 * site.blur) * (1 - _step(away, 0.15 + 0.25 * size, 0.05 + 0.6 * site.blur))
    dirt = fbm(site.at * 0.5, site.seed + 173, site.blur * 0.5, 3)
    hole = holes > 0.5
    height = torch.where(hole, 0.8 - 0.8 * inside, 0.3 + 0.6 * inside * (1 - 1.2 * away * away))
    return Pattern(height, _half(dirt), torch.where(hole, inside, 0.7 * inside))


def swirled(site: Site) -> Pattern:
    """Bands of a twice bent field, as of a painted rug or agate. Params: number of bands; bend; share of the third colour."""
    bands, bend, third = site.params
    warp = fbm(site.at * 0.7, site.seed, site.blur, 2)
    again = fbm(site.at * 0.7 + 1.5 * bend * torch.stack([warp, -warp, warp]), site.seed + 179, site.blur, 3)
    frequency = 1.5 + 4 * bands
    strokes = fading(0.6 * site.blur * frequency) * _wave(frequency * again + 0.4 * site.at[0])
    fine = fading(site.blur * 4) * noise(site.at * 6 + 3 * warp, site.seed + 181)
    accent = _step(again + 0.3 * fine, 0.6 - 0.8 * third, 0.15) * (third > 0)
    return Pattern(_half(0.3 * strokes + 0.5 * fine), _half(0.8 * strokes + 0.5 * fine), accent)


FAMILIES: dict[str, Family] = {
    family.__name__: family
    for family in (
        mottled, rocky, veined, pebbled, bricks, planks, grained, woven, chevron, ribbed, brushed, rusted, leafy,
        tufted, scaled, cracked, studded, swirled,
    )
}  # fmt: skip
WRAPPED = {"bricks", "planks", "woven", "chevron", "ribbed", "brushed", "scaled", "studded"}  # drawn on faces


def _half(values: Tensor) -> Tensor:
    """Values around 0 as values around a half, in [0,1]."""
    return (0.5 + 0.5 * values).clamp(0, 1)


def _step(values: Tensor, edge: Tensor | float, width: Tensor | float) -> Tensor:
    """0 below `edge`, 1 above it, smooth over `width`."""
    share = ((values - edge) / width + 0.5).clamp(0, 1)
    return share * share * (3 - 2 * share)


def _wave(turns: Tensor) -> Tensor:
    """About the sine of `turns`, in [-1,1]."""
    x = 4 * (turns - turns.floor() - 0.5).abs() - 1
    return x * (1.5 - 0.5 * x * x)
