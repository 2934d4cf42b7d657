"""What surfaces look like: rubber, metal and the ground. Add a material by adding a class to MATERIALS."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import NamedTuple

import torch
from torch import Tensor

from objbench.data.generate.tracer import ground
from objbench.data.generate.tracer.surface import MIRRORS, Surface
from objbench.data.generate.tracer.trace import Tracer
from objbench.data.generate.tracer.vectors import cross, dot, length, unit
from objbench.random import cos_sin_turns

COLORS = (
    (173, 35, 35), (41, 208, 208), (29, 105, 20), (42, 75, 215),
    (129, 74, 25), (87, 87, 87), (129, 38, 192), (255, 238, 51),
)  # fmt: skip  # by upstream's code from 1, of 255, as linear light


class Material(ABC):
    """How a surface sends light on."""

    @abstractmethod
    def radiance(self, surface: Surface, tracer: Tracer, depth: int) -> Tensor:
        """Linear light (3,M) that leaves the surface `toward` its viewer; `depth` mirrors may still be looked into."""


class Ground(Material):
    """Matte grey, with the light that the objects on it throw back."""

    albedo = (0.7, 0.7, 0.71)
    ambient = (0.0425, 0.0420, 0.0388)

    def radiance(self, surface: Surface, tracer: Tracer, depth: int) -> Tensor:
        albedo = _column(self.albedo, surface.point)
        around = tracer.around(surface)
        matte = tracer.irradiance(surface, tracer.lit(surface, around)) * albedo / math.pi
        return matte + _column(self.ambient, surface.point) + tracer.bleeding(surface, around) * albedo


class Rubber(Material):
    """Matte colour under a faint wide gloss."""

    # Least squares on the rubber of 20 rendered scenes.
    direct = 0.833
    bounce = 0.862
    fill = 0.036
    gloss = 0.021
    roughness = 0.35

    def radiance(self, surface: Surface, tracer: Tracer, depth: int) -> Tensor:
        lit = tracer.lit(surface, tracer.around(surface))
        arriving = tracer.irradiance(surface, lit) / math.pi
        below = 0.5 * (1 - surface.normal[2])
        if depth:
            # One ray towards the ground in front; highlights that it meets by chance would show as specks.
            down = _column((0.0, 0.0, -1.05), surface.point)
            tilted = unit(surface.normal + down + 0.5 * _sphere(surface.phase))
            bounced = tracer.follow(surface, tilted, depth - 1).clamp_max(0.5)
            bounced = tracer.smooth(surface, bounced) if depth == MIRRORS else bounced
        else:
            bounced = torch.full_like(arriving, 0.18)
        matte = self.direct * arriving + self.bounce * below * bounced + self.fill * (1 - below)
        shine = tracer.highlights(surface, lit, brushing(surface, tracer), self.roughness, self.roughness)
        return surface.color * matte + self.gloss * shine


class Lobe(NamedTuple):
    """A part of a glossy reflection, spread by the GGX distribution."""

    share: float
    around: float  # roughness around the upright axis
    along: float  # roughness along it
    rays: int  # mirrored for a point that is seen directly


class Metal(Material):
    """A brushed mirror: a wide lobe, longer along the vertical, and a sharp one."""

    wide = Lobe(share=0.5, around=0.14, along=0.286, rays=2)
    sharp = Lobe(share=0.5, around=0.01, along=0.01, rays=1)
    reflectance = 0.96  # of the world, and of the lights: from the metal of 40 rendered scenes
    gleam = 0.85

    def radiance(self, surface: Surface, tracer: Tracer, depth: int) -> Tensor:
        lit = tracer.lit(surface, tracer.around(surface))
        tangents = brushing(surface, tracer)
        light = torch.zeros_like(surface.point)
        for lobe, follow in ((self.wide, min(depth, 1)), (self.sharp, depth)):
            shine = tracer.highlights(surface, lit, tangents, lobe.around, lobe.along)
            mirrored = self._mirrored(surface, tangents, lobe, tracer, follow)
            if depth == MIRRORS and lobe is self.wide:
                mirrored = tracer.smooth(surface, mirrored)
            light += lobe.share * (self.gleam * shine + self.reflectance * mirrored)
        return surface.color * light

    def _mirrored(
        self, surface: Surface, tangents: tuple[Tensor, Tensor], lobe: Lobe, tracer: Tracer, depth: int
    ) -> Tensor:
        """What a lobe shows of the world without its lights: the mean (3,M) over its rays."""
        rays = lobe.rays if depth else 1
        count = surface.point.shape[1]
        again = torch.arange(count, device=surface.point.device).repeat(rays)
        points = surface.only(again)
        half = _spread(points, tangents, lobe, again, rays)
        mirrored = 2 * dot(half, points.toward) * half - points.toward
        seen = tracer.follow(points, mirrored, depth - 1) if depth else tracer.outlook(mirrored)
        seen = torch.where(dot(mirrored, points.normal) > 0, seen, 0)
        return seen.view(3, rays, count).mean(1)


MATERIALS: tuple[Material, ...] = (Rubber(), Metal())  # upstream's code of a material is its place, from 1
GROUND = Ground()


class ClevrTracer(Tracer):
    """CLEVR's look: objects of rubber and metal on a grey ground."""

    def ground(self, scene: Tensor, origins: Tensor, directions: Tensor, phase: Tensor, depth: int) -> Tensor:
        """The light (3,M) that comes from the ground, or from behind it, along rays (3,M) that no object stops."""
        distance, normal = ground.intersect(origins, directions)
        met = (distance < torch.inf).nonzero().flatten()
        points = origins[:, met] + distance[met] * directions[:, met]
        own = torch.full_like(met, -1)
        surface = Surface(
            scene[met], points, normal[:, met], -directions[:, met], points, own, phase[:, met], own
        )
        light = ground.wall(directions).clone()
        light[:, met] = GROUND.radiance(surface, self, depth)
        return light

    def colors(self, number: Tensor) -> Tensor:
        """The colours (3,M) of the objects `number` (M,), as they light up what is around them."""
        radius = self.objects.radius
        table = torch.tensor(COLORS, dtype=radius.dtype, device=radius.device).T / 255
        return table[:, self.objects.color.flatten()[number] - 1]

    def shade(self, surface: Surface, depth: int) -> Tensor:
        """The light (3,M) that points of objects send to where they are seen from."""
        code = self.objects.material.flatten()[surface.own]
        light = torch.empty_like(surface.point)
        for expected, material in enumerate(MATERIALS, start=1):
            chosen = (code == expected).nonzero().flatten()
            light[:, chosen] = material.radiance(surface.only(chosen), self, depth)
        return light


def brushing(surface: Surface, tracer: Tracer) -> tuple[Tensor, Tensor]:
    """The directions (3,M) around the upright axis of the object, within its surface, and across that."""
    center = tracer.objects.place.flatten(1)[:, surface.own]
    offset = surface.point - center
    around = torch.stack([-offset[1], offset[0], torch.zeros_like(offset[0])])
    around = around - dot(around, surface.normal) * surface.normal
    around = around / length(around).clamp_min(1e-6)
    return around, cross(surface.normal, around)


def _spread(points: Surface, tangents: tuple[Tensor, Tensor], lobe: Lobe, again: Tensor, rays: int) -> Tensor:
    """Half vectors (3,rays*M) spread as the GGX distribution spreads them, cut off at its tail.

    The rays of a point come in opposite pairs, each pair in its own ring: their errors cancel.
    """
    ray = torch.arange(rays, device=again.device).repeat_interleave(len(again) // rays)
    pairs = max(1, rays // 2)
    pair, second = ray % pairs, ray // pairs
    share = (points.phase[0] + pair) / pairs
    slope = (share / (1 - share).clamp_min(0.2)).sqrt()
    cosine, sine = _circle((points.phase[1] + pair.float() / (2 * pairs) + second.float() / 2) % 1)
    across = (
        lobe.around * slope * cosine * tangents[0][:, again]
        + lobe.along * slope * sine * tangents[1][:, again]
    )
    return unit(points.normal + across)


def _sphere(phase: Tensor) -> Tensor:
    """Unit vectors (3,M) from `phase` (2,M), evenly spread as it is."""
    z = 2 * phase[0] - 1
    radius = (1 - z * z).clamp_min(0).sqrt()
    cosine, sine = _circle(phase[1])
    return torch.stack([radius * cosine, radius * sine, z])


def _circle(turns: Tensor) -> tuple[Tensor, Tensor]:
    """Cosine and sine of float32 turns in [0,1), the same bits on every device: they decide what a ray hits."""
    cosine, sine = cos_sin_turns(turns.double())
    return cosine.float(), sine.float()


def _column(values: tuple[float, float, float], like: Tensor) -> Tensor:
    return torch.tensor(values, dtype=like.dtype, device=like.device)[:, None]
