"""The distribution of CLEVR's scenes (Johnson et al., 2017): objects, their places, the camera and the lamps.

Everything is float64 in single operations that IEEE 754 fixes, so a scene is accepted or thrown away alike on every
device. A scene's number of objects, camera and lamps are drawn once; its objects are proposed again and again, as in
upstream's generator, until all can be placed and every one shows at least 200 pixels of the 320x240 frame.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from objbench.data.generate.tracer.camera import HEIGHT, WIDTH, Camera
from objbench.data.generate.tracer.objects import Objects
from objbench.data.generate.tracer.vectors import divided
from objbench.data.generate.tracer.visibility import label_map
from objbench.random import MASK32, below, cos_sin_turns, philox, uniform64

FEWEST, MOST = 3, 10
REACH = 3.0  # x and y of a centre
MIN_DISTANCE = 0.25  # free space between the bounding circles of two objects
MARGIN = 0.4  # of two centres along each of the directions
RETRIES = 50
CAMERA = (7.48113, -6.50764, 5.34367)
CAMERA_JITTER = 0.5
LAMPS = ((6.447, -2.905, 4.258), (-4.671, -4.014, 3.011), (-1.169, 2.646, 5.816))  # key, fill, back
LAMP_JITTER = 1.0
# Of the camera before its jitter: the axes along which objects must keep their margin.
RIGHT = (0.6563112735748291, 0.7544902563095093)
BEHIND = (-0.754490315914154, 0.6563112735748291)

# The last word of a counter says what the numbers are for: the place tried, or one of these.
_KIND, _TURN = 64, 65
_CAMERA, _LAMPS, _COUNT = 0, 1, 5


class SceneDistribution(NamedTuple):
    """What differs between the sets that are drawn like CLEVR: the kinds of objects, and what a rejection draws anew."""

    objects: type[Objects]
    radii: tuple[float, ...]  # by the code of the size, from 1
    shapes: int
    materials: int
    colors: int
    min_pixels: int  # of every object in the frame of 320x240
    narrowed: tuple[int, ...] = ()  # codes of the shapes whose radius is divided by sqrt(2)
    whole: bool = False  # a rejection draws camera and lamps anew too
    alike: bool = False  # one material and one colour for all objects of a scene


CLEVR = SceneDistribution(Objects, radii=(0.7, 0.35), shapes=3, materials=2, colors=8, min_pixels=200)


class World(NamedTuple):
    """The scenes: objects, cameras, the places of the three lamps (3,N,3), and the masks uint8 (N,240,320)."""

    objects: Objects
    camera: Camera
    lamps: Tensor
    masks: Tensor


class Found(NamedTuple):
    """The world of N scenes, and the index (N,) of the accepted proposal of each."""

    world: World
    attempt: Tensor


def find(
    distribution: SceneDistribution, index: Tensor, key: tuple[int, int], most: int, ahead: int = 1
) -> Found:
    """The first good proposal for each of the scenes `index` of a distribution's stream.

    Args:
        distribution: Of the set.
        index: Places in the stream, int64 (N,).
        key: The stream's Philox key.
        most: The largest number of objects, at most 10; the smallest is three.
        ahead: Proposals are tried for at least this many scenes at once. This changes the speed only.
    """
    count = counts(index, key, most)
    once = torch.full_like(index, MASK32)  # of camera and lamps, where they are drawn once
    objects = distribution.objects.none(len(index), MOST, index.device)
    attempts = torch.zeros_like(index)
    masks = torch.zeros(len(index), HEIGHT, WIDTH, dtype=torch.uint8, device=index.device)
    pending = torch.arange(len(index), device=index.device)
    tried = 0
    while len(pending):
        width = max(1, ahead // len(pending))
        scene = pending.repeat_interleave(width)
        attempt = torch.arange(tried, tried + width, device=index.device).repeat(len(pending))
        proposed, placed = propose(index[scene], attempt, count[scene], key, distribution)
        seen = placed.nonzero().flatten()
        drawn_with = (attempt if distribution.whole else once[scene])[seen]
        drawn = label_map(proposed.only(seen), cameras(index[scene[seen]], drawn_with, key))
        shown = (visible_pixels(drawn) >= distribution.min_pixels) | (proposed.shape[seen] == 0)
        rank = torch.full_like(scene, -1)  # of a good proposal among those drawn
        good = shown.all(1).nonzero().flatten()
        rank[seen[good]] = good
        found, first = (rank.view(-1, width) >= 0).max(dim=1)
        chosen = (torch.arange(len(pending), device=index.device) * width + first)[found]
        objects.put(pending[found], proposed.only(chosen))
        masks[pending[found]] = drawn[rank[chosen]]
        attempts[pending[found]] = attempt[chosen]
        pending = pending[~found]
        tried += width
    drawn_with = attempts if distribution.whole else once
    world = World(objects, cameras(index, drawn_with, key), _lamps(index, drawn_with, key), masks)
    return Found(world, attempts)


def cameras(index: Tensor, drawn_with: Tensor, key: tuple[int, int]) -> Camera:
    """The jittered cameras of the scenes `index`, drawn with the proposals `drawn_with` (N,)."""
    jitter = CAMERA_JITTER * (2 * uniform64(words_of(index, drawn_with, _CAMERA, key)[..., :3].T) - 1)
    return Camera.at(torch.tensor(CAMERA, dtype=torch.float64, device=index.device)[:, None] + jitter)


def counts(index: Tensor, key: tuple[int, int], most: int) -> Tensor:
    """The numbers of objects (N,) of the scenes `index`: uniform from three to `most`."""
    return FEWEST + below(words_of(index, MASK32, _COUNT, key)[..., 0], most - FEWEST + 1)


def propose(
    index: Tensor,
    attempt: Tensor,
    count: Tensor,
    key: tuple[int, int],
    distribution: SceneDistribution = CLEVR,
) -> tuple[Objects, Tensor]:
    """Proposal `attempt` (N,) of `count` (N,) objects for the scenes `index`, and whether all objects found a place."""
    place = torch.arange(MOST, device=index.device)
    kinds = words_of(index[:, None], attempt[:, None], _KIND, key, place)  # (N,MOST,4)
    present = place < count[:, None]
    if distribution.alike:
        kinds[..., 2:] = kinds[:, :1, 2:]
    ranges = (len(distribution.radii), distribution.shapes, distribution.materials, distribution.colors)
    size, shape, material, color = (
        torch.where(present, 1 + below(kinds[..., i], n), 0) for i, n in enumerate(ranges)
    )
    radius = torch.tensor((1.0, *distribution.radii), dtype=torch.float64, device=index.device)[size]
    for code in distribution.narrowed:
        radius = torch.where(shape == code, divided(radius, math.sqrt(2)), radius)
    turns = 360 * uniform64(words_of(index[:, None], attempt[:, None], _TURN, key, place)[..., 0])
    rotation = torch.where(present, turns, 0)
    whole = divided(rotation, 2 * math.pi)
    cosine, sine = cos_sin_turns(whole - whole.floor())
    x, y, good = _places(index, attempt, radius, present, key)
    z = torch.where(present, radius, 0)
    return (
        distribution.objects(
            torch.stack([x, y, z]), cosine, sine, radius, rotation, shape, material, color, size
        ),
        good,
    )


def _places(
    index: Tensor, attempt: Tensor, radius: Tensor, present: Tensor, key: tuple[int, int]
) -> tuple[Tensor, Tensor, Tensor]:
    """x and y (N,MOST) of the objects, each the first of 50 tries that keeps clear of the ones before."""
    tries = torch.arange(RETRIES, device=index.device)
    x, y = torch.zeros_like(radius), torch.zeros_like(radius)
    good = torch.ones_like(present[:, 0])
    for k in range(MOST):
        words = words_of(index[:, None], attempt[:, None], tries, key, k)  # (N,RETRIES,4)
        at = REACH * (2 * uniform64(words[..., :2]) - 1)
        free = torch.ones_like(words[..., 0], dtype=torch.bool)
        for j in range(k):
            dx, dy = at[..., 0] - x[:, j, None], at[..., 1] - y[:, j, None]
            apart = (dx * dx + dy * dy).sqrt() - radius[:, k, None] - radius[:, j, None]
            across = (dx * RIGHT[0] + dy * RIGHT[1]).abs()
            along = (dx * BEHIND[0] + dy * BEHIND[1]).abs()
            free &= (apart >= MIN_DISTANCE) & (across >= MARGIN) & (along >= MARGIN)
        found, first = free.max(dim=1)
        chosen = at.gather(1, first[:, None, None].expand(-1, 1, 2))[:, 0]
        x[:, k] = torch.where(present[:, k], chosen[:, 0], 0)
        y[:, k] = torch.where(present[:, k], chosen[:, 1], 0)
        good &= found | ~present[:, k]
    return x, y, good


def visible_pixels(masks: Tensor) -> Tensor:
    """The pixels of each object: int64 (N,MOST) from label maps (N,H,W)."""
    scene = torch.arange(len(masks), device=masks.device)[:, None] * (MOST + 1)
    counts = torch.zeros(len(masks) * (MOST + 1), dtype=torch.int64, device=masks.device)
    where = (scene + masks.flatten(1)).flatten()
    counts.scatter_add_(0, where, torch.ones_like(where))
    return counts.view(len(masks), MOST + 1)[:, 1:]


def _lamps(index: Tensor, drawn_with: Tensor, key: tuple[int, int]) -> Tensor:
    """The places (3,N,3) of key, fill and back lamp, drawn with the proposals `drawn_with` (N,)."""
    words = torch.stack([words_of(index, drawn_with, _LAMPS + i, key) for i in range(3)], dim=1)  # (N,3,4)
    jitter = LAMP_JITTER * (2 * uniform64(words[..., :3]) - 1)
    places = torch.tensor(LAMPS, dtype=torch.float64, device=index.device) + jitter
    return places.permute(2, 0, 1).contiguous()


def words_of(
    index: Tensor, attempt: Tensor | int, purpose: Tensor | int, key: tuple[int, int], item: Tensor | int = 0
) -> Tensor:
    """Random words (...,4) for a scene, a proposal, a purpose below 256 and an object, broadcast."""
    item = torch.as_tensor(item, device=index.device)
    last = torch.as_tensor(purpose, device=index.device) + 256 * item
    attempt = torch.as_tensor(attempt, device=index.device)
    shape = (index | attempt | last).shape
    parts = [part.expand(shape) for part in (index & MASK32, index >> 32, attempt, last)]
    return philox(torch.stack(parts, dim=-1), key)
