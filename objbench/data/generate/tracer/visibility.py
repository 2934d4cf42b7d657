"""What the camera sees: the object in front at the centre of every sample of a window of the frame."""

from __future__ import annotations

from itertools import product
from typing import NamedTuple

import torch
from torch import Tensor

from objbench.data.generate.tracer.camera import HEIGHT, WIDTH, Camera
from objbench.data.generate.tracer.objects import Objects
from objbench.data.generate.tracer.vectors import turn


class Window(NamedTuple):
    """A part of the 320x240 frame, in pixels, and how finely it is sampled: `samples` to a pixel's side."""

    top: int
    left: int
    height: int
    width: int
    samples: int = 1


FRAME = Window(0, 0, HEIGHT, WIDTH)


class Hits(NamedTuple):
    """What the samples of a window of N scenes see, each (N, rows, columns)."""

    number: Tensor  # the object's number, -1 where there is none
    distance: Tensor  # along the ray, infinity where there is none


def first_hits(objects: Objects, camera: Camera, window: Window) -> Hits:
    """The nearest object for every sample; an object is tried only inside its rectangle on the screen."""
    rows, columns = window.height * window.samples, window.width * window.samples
    number, row, column = _candidates(objects, camera, window)
    scene = number // objects.shape.shape[1]
    directions = camera.directions(
        scene,
        window.left + (column.to(camera.place.dtype) + 0.5) / window.samples,
        window.top + (row.to(camera.place.dtype) + 0.5) / window.samples,
    )
    at = objects.intersect(number, camera.place[:, scene], directions)
    sample = (scene * rows + row) * columns + column
    return nearest(number, at, sample, (len(objects.shape), rows, columns))


def nearest(number: Tensor, at: Tensor, sample: Tensor, shape: tuple[int, ...]) -> Hits:
    """The nearest of the hits `at` (M,) of objects `number` (M,) at each place `sample` (M,) of an array."""
    size = torch.Size(shape).numel()
    closest = torch.full((size,), torch.inf, dtype=at.dtype, device=at.device)
    closest.scatter_reduce_(0, sample, at, "amin")
    wins = ((at == closest[sample]) & (at < torch.inf)).nonzero().flatten()
    winner = torch.full((size,), -1, device=at.device)
    # amax: should two objects ever be equally near, the later one is seen, on every device.
    winner.scatter_reduce_(0, sample[wins], number[wins], "amax")
    return Hits(winner.view(shape), closest.view(shape))


def label_map(objects: Objects, camera: Camera) -> Tensor:
    """The un-anti-aliased label map uint8 (N,240,320): 0 the background, then 1 + the place of the object."""
    number = first_hits(objects, camera, FRAME).number
    return torch.where(number < 0, 0, 1 + number % objects.shape.shape[1]).to(torch.uint8)


def _candidates(objects: Objects, camera: Camera, window: Window) -> tuple[Tensor, Tensor, Tensor]:
    """Object number, row and column of all samples inside the screen rectangles of the objects."""
    dtype, device = camera.place.dtype, camera.place.device
    corners = torch.tensor(list(product((-1, 1), repeat=3)), dtype=dtype, device=device).T  # (3,8)
    corners = corners[:, None, None] * objects.extents()[..., None]
    corners = turn(corners, objects.cosine[..., None], objects.sine[..., None]) + objects.place[..., None]
    column, row, _ = camera.project(corners)  # (N,O,8)
    present = objects.shape > 0

    def extent(at: Tensor, start: int, size: int) -> tuple[Tensor, Tensor]:
        at = (at - start) * window.samples
        low = at.amin(-1).floor().long().clamp(0, size)
        high = at.amax(-1).ceil().long().clamp(0, size)
        return low.flatten(), torch.where(present, high - low, 0).flatten()

    left, width = extent(column, window.left, window.width * window.samples)
    top, height = extent(row, window.top, window.height * window.samples)
    count = width * height
    number = torch.repeat_interleave(count)
    first = count.cumsum(0) - count
    inside = torch.arange(len(number), device=device) - first[number]
    down = inside // width[number]
    return number, top[number] + down, left[number] + inside - down * width[number]
