"""The tracer of ClevrTex: textured objects on a textured ground, under CLEVR's lamps of other strengths."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from objbench.data.generate.clevrtex.materials import table
from objbench.data.generate.clevrtex.sampling import Textures
from objbench.data.generate.clevrtex.texture import BOX, DRUM, GLOBE, SurfacePoints, TexturedSurface, textured
from objbench.data.generate.tracer import ground
from objbench.data.generate.tracer.camera import FOCAL, Camera
from objbench.data.generate.tracer.light import POWERS, Light, lights_of
from objbench.data.generate.tracer.objects import Objects
from objbench.data.generate.tracer.surface import MIRRORS, Surface
from objbench.data.generate.tracer.trace import Lit, Tracer
from objbench.data.generate.tracer.vectors import cross, dot, length, turn, unit
from objbench.data.generate.tracer.visibility import Window

# In proportion to CLEVR's lamps (100, 30, 50, sun .45), which POWERS is fitted to: 500, 200, 350, sun .85.
_STRONGER = (5.0, 20 / 3, 7.0, 17 / 9)
_NEUTRAL = 0.8  # of the lamps' colours is not seen in renders
_GROUND_SCALE = 0.17  # a radius of the ground's texture in units of the scene: upstream's ground has scale 2
_AROUND = 0.12  # the light that comes from nowhere
_CUTS = {"Sphere": GLOBE, "Cylinder": DRUM, "Cone": DRUM, "Torus": DRUM, "Teapot": DRUM}  # else BOX
_GLASSY = 0.4  # rougher metals show no images
_WIDE = 0.25  # roughness of metal's second lobe


def lamps_of(lamps: Tensor) -> list[Light]:
    """The lights of N scenes with the three lamps at `lamps` (3,N,3)."""
    powers = []
    for factor, power in zip(_STRONGER, POWERS, strict=True):
        red, green, blue = (factor * (value + _NEUTRAL * (sum(power) / 3 - value)) for value in power)
        powers.append((red, green, blue))
    return lights_of(lamps, powers)


class TexturedTracer(Tracer):
    """N scenes with the textures `textures`."""

    again, kept = 0.5, 0.12

    def __init__(
        self, objects: Objects, lights: list[Light], camera: Camera, window: Window, textures: Textures
    ) -> None:
        super().__init__(objects, lights, camera, window)
        self.textures = textures
        self.glow = torch.zeros(3, len(objects.shape), dtype=torch.float32, device=objects.shape.device)

    def backdrop(self, free: Tensor) -> Tensor:
        """The ground (3,N,height,width) where the share `free` (N,height,width) of a pixel is not zero."""
        window = self.window
        scene, row, column = (free > 0).nonzero().unbind(1)
        directions = self.camera.directions(
            scene, window.left + column.float() + 0.5, window.top + row.float() + 0.5
        )
        phase = torch.zeros(2, len(scene), dtype=torch.float32, device=free.device)
        light = self.ground(scene, self.camera.place[:, scene], directions, phase, MIRRORS)
        picture = torch.zeros(3, *free.shape, dtype=torch.float32, device=free.device)
        picture[:, scene, row, column] = light
        # Objects stand on ground as light as what is seen of it.
        self.glow = picture.sum((2, 3)) / (free > 0).sum((1, 2)).clamp_min(1)
        return picture

    def ground(self, scene: Tensor, origins: Tensor, directions: Tensor, phase: Tensor, depth: int) -> Tensor:
        """The light (3,M) that comes from the ground, or from behind it, along rays (3,M) that no object stops."""
        distance, normal = ground.intersect(origins, directions)
        met = (distance < torch.inf).nonzero().flatten()
        scene, directions, normal = scene[met], directions[:, met], normal[:, met]
        points = origins[:, met] + distance[met] * directions
        own = torch.full_like(scene, -1)
        surface = Surface(scene, points, normal, -directions, points, own, phase[:, met], own)
        across, along = (step * _GROUND_SCALE for step in self._steps(surface))
        places = SurfacePoints(
            scene * self.textures.material.shape[1],
            points * _GROUND_SCALE,
            normal,
            across,
            along,
            torch.full_like(scene, BOX),
        )
        light = torch.zeros_like(origins)
        seen = textured(self.textures, places, depth == MIRRORS)
        around = self.around(surface)
        thrown = self.bleeding(surface, around) if depth == MIRRORS else 0.0
        light[:, met] = self._sent(surface, seen, self.lit(surface, around), thrown, depth)
        return light

    def shade(self, surface: Surface, depth: int) -> Tensor:
        """The light (3,M) that points of objects send to where they are seen from."""
        objects, number = self.objects, surface.own
        cosine, sine = objects.cosine.flatten()[number], objects.sine.flatten()[number]
        radius = objects.radius.flatten()[number]
        at, _ = objects.local(number, surface.point, surface.toward)
        cuts = torch.tensor(
            [_CUTS.get(type(shape).__name__, BOX) for shape in objects.shapes], device=at.device
        )
        across, along = (turn(step, cosine, -sine) / radius for step in self._steps(surface))
        places = SurfacePoints(
            surface.scene + number + 1,  # one more entity than objects for each scene before, and the ground
            at,
            turn(surface.normal, cosine, -sine),
            across,
            along,
            cuts[objects.shape.flatten()[number] - 1],
        )
        seen = textured(self.textures, places, depth == MIRRORS)
        seen = seen._replace(normal=turn(seen.normal, cosine, sine))
        below = (0.6 - 0.4 * seen.normal[2]) * self.glow[:, surface.scene]
        return self._sent(surface, seen, self.lit(surface, self.around(surface)), below, depth)

    def colors(self, number: Tensor) -> Tensor:
        """The colours (3,M) of the objects `number` (M,), as they light up what is around them."""
        known = table(number.device)
        entity = number // self.objects.shape.shape[1] + number + 1
        code = self.textures.material.flatten()[entity] - 1
        mean = (known.colors[0, :, code] + known.colors[1, :, code]) / 2
        own = self.textures.color.flatten(1)[:, entity]
        return mean + known.tint[code] * (own - mean)

    def _sent(
        self, surface: Surface, seen: TexturedSurface, lit: list[Lit], thrown: Tensor | float, depth: int
    ) -> Tensor:
        """The light (3,M) that a textured surface sends on: of the lamps, of what is around, and mirrored."""
        bumped = surface._replace(normal=seen.normal)
        # Bumps catch no light on the side of an object that is turned away from it.
        gated = [
            one._replace(
                power=one.power * (6 * dot(one.arriving.direction, surface.normal) + 0.2).clamp(0, 1)
            )
            for one in lit
        ]
        around = (_AROUND * (0.6 + 0.4 * seen.normal[2]) + thrown).clamp_min(0) * seen.open
        matte = self.irradiance(bumped, gated) / math.pi * (0.5 + 0.5 * seen.open) + around
        facing = dot(surface.toward, seen.normal).clamp(0.02, 1)
        mirror = 0.04 + seen.metal * (seen.color - 0.04)
        graze = (1 - facing) ** 5 * (1 - seen.rough) ** 2
        mirror = mirror + (1 - mirror) * graze
        alpha = (seen.rough * seen.rough).clamp_min(0.02)
        tangents = _tangents(seen.normal)
        shine = self.highlights(bumped, gated, tangents, alpha, alpha)
        # Metal has a second, wide lobe, as CLEVR's has.
        wide = self.highlights(bumped, gated, tangents, alpha.clamp_min(_WIDE), alpha.clamp_min(_WIDE))
        shine = shine + 0.5 * seen.metal * (wide - shine)
        image = self._image(bumped, seen, depth)
        return seen.color * (1 - seen.metal) * matte + mirror * (shine + image * seen.open)

    def _image(self, surface: Surface, seen: TexturedSurface, depth: int) -> Tensor:
        """What the surface mirrors (3,M) of the world without its lamps: followed where it can be made out."""
        facing = dot(surface.toward, surface.normal)
        away = 2 * facing * surface.normal - surface.toward
        low = (0.5 - 1.5 * away[2]).clamp(0, 1)
        image = _AROUND + low * (0.8 * self.glow[:, surface.scene] - _AROUND)
        if depth:
            chosen = ((seen.rough < _GLASSY) & (seen.metal > 0.5)).nonzero().flatten()
            followed = self.follow(surface.only(chosen), away[:, chosen], 0)
            image[:, chosen] = followed.clamp_max(4)
        return image

    def _steps(self, surface: Surface) -> tuple[Tensor, Tensor]:
        """How far (3,M) the surface goes on within a pixel, beside and above, in units of the scene."""
        away = length(self.camera.place[:, surface.scene] - surface.point) / FOCAL
        facing = dot(surface.toward, surface.normal).abs().clamp_min(0.15)
        across = unit(cross(surface.normal, surface.toward) + 1e-4)
        return away * across, away / facing * cross(surface.normal, across)


def _tangents(normal: Tensor) -> tuple[Tensor, Tensor]:
    """Two directions (3,M) across unit normals (3,M) and each other."""
    steep = (normal[2].abs() > 0.9).to(normal.dtype)
    first = unit(cross(torch.stack([steep, torch.zeros_like(steep), 1 - steep]), normal))
    return first, cross(normal, first)
