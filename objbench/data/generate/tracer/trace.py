"""The batched ray tracer: the linear light of every pixel of a window of the frame, for N scenes at once."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from objbench.data.generate.tracer.camera import Camera
from objbench.data.generate.tracer.light import Arriving, Light, Neighbours, visible
from objbench.data.generate.tracer.objects import Objects
from objbench.data.generate.tracer.surface import MIRRORS, Surface
from objbench.data.generate.tracer.vectors import dot, unit
from objbench.data.generate.tracer.visibility import Hits, Window, first_hits, nearest


class Lit(NamedTuple):
    """One light at the points of a surface: how it arrives, and how much (3,M) of it past the objects."""

    light: Light
    arriving: Arriving
    power: Tensor


class Tracer(ABC):
    """N scenes: their objects, and their lights. A set's look is a subclass: its ground, its shading, its colours."""

    again = 0.08  # the light that an object gets back from the ground
    kept = 0.04  # and the light of its surroundings that it keeps from the ground

    def __init__(self, objects: Objects, lights: list[Light], camera: Camera, window: Window) -> None:
        self.objects = objects
        self.lights = lights
        self.camera = camera
        self.window = window

    def picture(self) -> Tensor:
        """Linear light (N,3,height,width); every pixel is the mean of its samples."""
        camera, window = self.camera, self.window
        hits = first_hits(self.objects, camera, window)
        n = len(hits.number)
        s = window.samples
        free = (hits.number < 0).view(n, window.height, s, window.width, s).float().mean((2, 4))
        picture = (self.backdrop(free) * free).contiguous()
        number, scene, row, column, share, at, directions = self._pixels(hits)
        points = camera.place[:, scene] + at * directions
        framed = (scene * (window.height + 2) + row + 1) * (window.width + 2) + column + 1
        surface = self.surface(number, points, directions, _phase(row, column), framed)
        light = self.shade(surface, MIRRORS) * share
        pixel = (scene * window.height + row) * window.width + column
        flat = picture.view(3, -1)
        for channel in range(3):
            flat[channel].index_add_(0, pixel, light[channel])
        return picture.permute(1, 0, 2, 3)

    def backdrop(self, free: Tensor) -> Tensor:
        """The ground (3,N,height,width) where the share `free` (N,height,width) of a pixel is not zero.

        It is smooth, so it is traced at two points for three pixels and drawn out between them.
        """
        camera, window = self.camera, self.window
        rows, columns = window.height * 2 // 3, window.width * 2 // 3
        # A pixel lies between points at most one place away from the cell that holds it.
        needed = F.max_pool2d(F.adaptive_max_pool2d(free, (rows, columns)), 3, 1, 1) > 0
        scene, row, column = needed.nonzero().unbind(1)
        directions = camera.directions(
            scene, window.left + (column.float() + 0.5) * 1.5, window.top + (row.float() + 0.5) * 1.5
        )
        light = torch.zeros(3, *needed.shape, dtype=torch.float32, device=free.device)
        light[:, scene, row, column] = self.ground(
            scene, camera.place[:, scene], directions, _phase(row, column), MIRRORS
        )
        return F.interpolate(light, size=(window.height, window.width), mode="bilinear")

    def _pixels(self, hits: Hits) -> tuple[Tensor, ...]:
        """Every object in every pixel once: number, scene, row, column, share of the pixel, ray and how far it goes.

        The ray is that of the object's first sample, or of the pixel's centre where all samples agree: outlines are
        convex, so it meets the object too.
        """
        camera, window = self.camera, self.window
        n, s = len(hits.number), window.samples
        shape = (n, window.height, s, window.width, s)
        number = hits.number.view(shape).permute(0, 1, 3, 2, 4).flatten(3)  # (n,h,w,s*s)
        distance = hits.distance.view(shape).permute(0, 1, 3, 2, 4).flatten(3)
        covered = (number >= 0).any(3).nonzero()
        scene, row, column = covered.unbind(1)
        number, distance = number[scene, row, column], distance[scene, row, column]  # (P,s*s)
        same = number[:, :, None] == number[:, None, :]
        earlier = torch.ones_like(same[0]).tril(-1)
        leads = (number >= 0) & ~(same & earlier).any(2)
        pixel, sample = leads.nonzero().unbind(1)
        count = same[pixel, sample].sum(1)
        number, at = number[pixel, sample], distance[pixel, sample]
        scene, row, column = scene[pixel], row[pixel], column[pixel]
        whole = count == s * s
        x = torch.where(whole, 0.5, ((sample % s).float() + 0.5) / s)
        y = torch.where(whole, 0.5, ((sample // s).float() + 0.5) / s)
        directions = camera.directions(scene, window.left + column + x, window.top + row + y)
        centered = self.objects.intersect(number, camera.place[:, scene], directions)
        at = torch.where(centered < torch.inf, centered, at)
        return number, scene, row, column, count.float() / s**2, at, directions

    def follow(self, surface: Surface, directions: Tensor, depth: int) -> Tensor:
        """The light (3,M) that comes to a surface from `directions` (3,M); only its own object is not seen."""
        origins, scene = surface.point, surface.scene
        ray, place = self.around(surface).met(directions)
        number = scene[ray] * self.objects.shape.shape[1] + place
        at = self.objects.intersect(number, origins[:, ray], directions[:, ray])
        hits = nearest(number, at, ray, (len(scene),))
        light = torch.empty_like(directions)
        missed, met = (hits.number < 0).nonzero().flatten(), (hits.number >= 0).nonzero().flatten()
        light[:, missed] = self.ground(
            scene[missed], origins[:, missed], directions[:, missed], surface.phase[:, missed], depth
        )
        points = origins[:, met] + hits.distance[met] * directions[:, met]
        light[:, met] = self.shade(
            self.surface(
                hits.number[met], points, directions[:, met], surface.phase[:, met], surface.pixel[met]
            ),
            depth,
        )
        return light

    def surface(
        self, number: Tensor, points: Tensor, directions: Tensor, phase: Tensor, pixel: Tensor
    ) -> Surface:
        """The points (3,M) where rays meet the objects `number` (M,)."""
        color = self.colors(number)
        scene = number // self.objects.shape.shape[1]
        return Surface(
            scene, points, self.objects.normals(number, points), -directions, color, number, phase, pixel
        )

    @abstractmethod
    def ground(self, scene: Tensor, origins: Tensor, directions: Tensor, phase: Tensor, depth: int) -> Tensor:
        """The light (3,M) that comes from the ground, or from behind it, along rays (3,M) that no object stops."""

    @abstractmethod
    def shade(self, surface: Surface, depth: int) -> Tensor:
        """The light (3,M) that points of objects send to where they are seen from."""

    @abstractmethod
    def colors(self, number: Tensor) -> Tensor:
        """The colours (3,M) of the objects `number` (M,), as they light up what is around them."""

    def smooth(self, surface: Surface, values: Tensor) -> Tensor:
        """Values (3,M) of points seen directly, averaged over the 3x3 pixels around each that show the same face.

        Nine neighbours have the nine phases, so the mean is of nine times as many rays.
        """
        stride = self.window.width + 2
        size = len(self.camera.place[0]) * (self.window.height + 2) * stride
        count = surface.point.shape[1]
        position = torch.full((size,), -1, device=values.device)
        position.scatter_reduce_(0, surface.pixel, torch.arange(count, device=values.device), "amax")
        total, weight = values.clone(), torch.ones_like(values[0])
        for step in (-stride - 1, -stride, -stride + 1, -1, 1, stride - 1, stride, stride + 1):
            other = position[surface.pixel + step]
            alike = (other >= 0) & (surface.own[other] == surface.own)
            alike &= dot(surface.normal[:, other], surface.normal) > 0.95
            total += torch.where(alike, values[:, other], 0)
            weight += alike
        return total / weight

    def around(self, surface: Surface) -> Neighbours:
        """The other objects as the points of `surface` see them."""
        return Neighbours.of(self.objects, surface.scene, surface.point, surface.own)

    def lit(self, surface: Surface, around: Neighbours) -> list[Lit]:
        """The lights as they reach `surface` past the objects around it."""
        found = []
        for light in self.lights:
            arriving = light.arriving(surface.scene, surface.point)
            share = visible(light, arriving, surface.scene, surface.point, around, self.objects)
            color = torch.tensor(light.power, dtype=share.dtype, device=share.device)[:, None]
            found.append(Lit(light, arriving, color * (arriving.strength * share)))
        return found

    def irradiance(self, surface: Surface, lit: list[Lit]) -> Tensor:
        """The light (3,M) that falls straight on a surface."""
        total = torch.zeros_like(surface.point)
        for _, arriving, power in lit:
            total += power * dot(arriving.direction, surface.normal).clamp_min(0)
        return total

    def highlights(
        self,
        surface: Surface,
        lit: list[Lit],
        tangents: tuple[Tensor, Tensor],
        around: Tensor | float,
        along: Tensor | float,
    ) -> Tensor:
        """The lights mirrored (3,M) by a GGX surface (Walter et al., 2007) of these roughnesses."""
        total = torch.zeros_like(surface.point)
        seen = dot(surface.toward, surface.normal).clamp_min(1e-3)
        for light, arriving, power in lit:
            half = unit(arriving.direction + surface.toward)
            # A light that is not a point widens the highlight: half vectors turn by half its angle.
            spread = 0.35 * light.half / arriving.distance
            a, b = (around**2 + spread**2).sqrt(), (along**2 + spread**2).sqrt()
            up = dot(half, surface.normal)
            x, y = dot(half, tangents[0]) / a, dot(half, tangents[1]) / b
            density = 1 / (math.pi * a * b * (x * x + y * y + up * up) ** 2)
            falling = dot(arriving.direction, surface.normal)
            rough = (a * b).clamp_max(1)
            masking = 0.5 / _smith(seen, falling.clamp_min(1e-3), rough)
            total += power * torch.where(falling > 0, density * masking * falling.clamp_min(0), 0)
        return total

    def bleeding(self, surface: Surface, around: Neighbours) -> Tensor:
        """The light (3,M) that objects throw onto the ground near them, less the light they keep from it.

        An object is taken as a wall of its height and width, of one colour, lit as its middle is on this side.
        """
        objects, scene = self.objects, surface.scene
        x, y, _ = around.center
        near = (x * x + y * y < 16 * around.bound * around.bound) & (around.bound > 0)
        point, item = near.nonzero().unbind(1)
        offset = -torch.stack([x[point, item], y[point, item]])
        number = scene[point] * objects.shape.shape[1] + item
        radius = objects.radius.flatten()[number]
        aside = (offset[0] * offset[0] + offset[1] * offset[1]).sqrt()
        gap = (aside / radius - 1).clamp_min(0)
        share = 0.5 * (1 - gap / (gap * gap + 4).sqrt()) * _angle(1 / (1 + gap))
        outward = offset / aside.clamp_min(1e-6)
        color = self.colors(number)
        received = torch.zeros_like(color)
        for light in self.lights:
            arriving = light.arriving(scene[point], objects.place.flatten(1)[:, number])
            facing = (arriving.direction[0] * outward[0] + arriving.direction[1] * outward[1]).clamp_min(0)
            power = torch.tensor(light.power, dtype=radius.dtype, device=radius.device)[:, None]
            received += power * (arriving.strength * facing)
        thrown = color * (0.8 * received / math.pi + self.again) - self.kept
        total = torch.zeros_like(surface.point)
        for channel in range(3):
            total[channel].index_add_(0, point, share * thrown[channel])
        return total

    def outlook(self, directions: Tensor) -> Tensor:
        """What a mirror that is not followed shows: the lit ground below, darkness above."""
        return torch.where(directions[2] < 0, 0.18, 0.05).to(directions.dtype).expand_as(directions)


def _angle(sine: Tensor) -> Tensor:
    """The angle with this sine in [0,1] as a share of a right angle, to 1e-4 (Abramowitz and Stegun 4.4.45)."""
    series = 1.5707288 + sine * (-0.2121144 + sine * (0.0742610 - 0.0187293 * sine))
    return 1 - (2 / math.pi) * (1 - sine).sqrt() * series


def _smith(a: Tensor, b: Tensor, alpha: Tensor) -> Tensor:
    """The denominator of Smith's joint masking for GGX, for the cosines a and b."""
    square = alpha * alpha
    return a * (square + (1 - square) * b * b).sqrt() + b * (square + (1 - square) * a * a).sqrt()


def _phase(row: Tensor, column: Tensor) -> Tensor:
    """Two numbers in [0,1) for each pixel, each nine values evenly spread over every 3x3 pixels.

    The final reduction averages over about as many, so what they vary leaves little grain.
    """
    a, b = (row + column) % 3, (row + 2 * column) % 3
    return (torch.stack([3 * a + b, 3 * b + a]).float() + 0.5) / 9
