"""The drawn sprites against dSprites' own frames, real Multi-dSprites scenes and the outlines' formulas."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from helpers.paths import FIXTURES

from objbench.data.generate.multi_dsprites import sprites as geometry
from objbench.data.generate.multi_dsprites.sprites import ELLIPSE, HEART, SQUARE, Sprites, cover

FRAMES = FIXTURES / "dsprites_frames" / "dsprites_gif_320.npz"
SWEEP = (0, 1, 2, 3, 4, 5, 5, 4, 3, 2, 1, 0, 0, 1, 2, 3, 4, 5)

# The 19 sprites of 16 real scenes (colored on colored) that no other sprite touches: shape, the place of scale,
# orientation, y and x on dSprites' lattice, then area and bounding box (top, bottom, left, right) in the picture.
REAL = (
    (1, 1, 0, 14, 30, 132, (25, 35, 41, 52)),
    (2, 1, 36, 6, 17, 103, (17, 26, 26, 40)),
    (3, 5, 24, 20, 30, 226, (30, 47, 41, 57)),
    (3, 2, 22, 4, 22, 112, (14, 27, 33, 45)),
    (3, 2, 19, 18, 16, 108, (29, 40, 26, 38)),
    (2, 1, 35, 0, 2, 107, (10, 21, 11, 24)),
    (2, 1, 27, 24, 1, 105, (33, 47, 12, 21)),
    (2, 1, 12, 23, 29, 107, (32, 46, 41, 50)),
    (3, 1, 33, 21, 16, 81, (31, 41, 28, 38)),
    (2, 5, 16, 14, 18, 290, (21, 39, 23, 45)),
    (1, 1, 6, 29, 14, 133, (38, 53, 23, 37)),
    (2, 5, 10, 14, 0, 287, (18, 42, 9, 22)),
    (3, 4, 13, 7, 16, 181, (17, 32, 23, 39)),
    (2, 2, 12, 14, 23, 141, (22, 38, 34, 44)),
    (3, 1, 6, 1, 10, 81, (10, 20, 20, 30)),
    (2, 4, 17, 27, 1, 237, (36, 50, 6, 27)),
    (2, 3, 36, 23, 29, 183, (33, 46, 37, 54)),
    (1, 1, 13, 5, 31, 132, (14, 28, 40, 54)),
    (2, 2, 2, 29, 17, 141, (40, 51, 25, 41)),
)


def pixels(sprites: Sprites) -> np.ndarray:
    """The covered pixels of each sprite, bool (S,64,64)."""
    return (cover(sprites)[..., None] >> torch.arange(64) & 1).bool().numpy()


def on_lattice(latents: list[tuple[int, int, int, int, int]]) -> Sprites:
    """Sprites from (shape, scale, orientation, y, x), the last four as places on dSprites' lattice."""
    shape, scale, turn, y, x = torch.tensor(latents).unbind(1)
    return Sprites(shape, x.double() / 31, y.double() / 31, (5 + scale).double() / 10, turn.double() / 39)


def animated(shape: int) -> Sprites:
    """The sprites of the animation's frames: every latent swept by itself, positions only for the heart."""
    latents = [(shape, scale, 0, 0, 0) for scale in SWEEP]
    latents += [(shape, 5, turn, 0, 0) for turn in range(40)]
    if shape == HEART:
        latents += [(shape, 5, 0, place, 0) for place in range(32)]
        latents += [(shape, 5, 0, 31, place) for place in range(32)]
        latents += [(shape, 5, 0, place, 31) for place in reversed(range(32))]
        latents += [(shape, 5, 0, 0, place) for place in reversed(range(32))]
    return on_lattice(latents + [(shape, scale, 0, 0, 0) for scale in reversed(range(6))])


def anywhere(shape: int, count: int) -> Sprites:
    """Random sprites of one shape."""
    numbers = torch.rand(4, count, dtype=torch.float64, generator=torch.Generator().manual_seed(shape))
    shapes = torch.full((count,), shape)
    return Sprites(shapes, numbers[0], numbers[1], 0.5 + numbers[2] / 2, numbers[3])


@pytest.mark.parametrize(
    ("shape", "first", "total", "wrong", "exact"),
    [(HEART, 0, 40_858, 22, 178), (ELLIPSE, 192, 15_664, 8, 60), (SQUARE, 256, 20_488, 8, 62)],
)
def test_the_frames_of_dsprites_are_drawn(shape: int, first: int, total: int, wrong: int, exact: int) -> None:
    drawn = pixels(animated(shape))
    with np.load(FRAMES) as file:
        real = file["frames"][first : first + len(drawn)] == 1
    assert real.sum() == total
    different = (drawn != real).sum(axis=(1, 2))
    assert different.sum() == wrong
    assert (different == 0).sum() == exact
    assert ((drawn & real).sum((1, 2)) / (drawn | real).sum((1, 2))).min() > 0.989


def test_real_sprites_are_drawn() -> None:
    drawn = pixels(on_lattice([sprite[:5] for sprite in REAL]))
    found = []
    for covered in drawn:
        rows, columns = np.nonzero(covered)
        found.append((len(rows), (rows.min(), rows.max(), columns.min(), columns.max())))
    exact = [drawn == real[5:] for drawn, real in zip(found, REAL, strict=True)]
    assert exact.count(False) == 3
    assert max(abs(area - real[5]) for (area, _), real in zip(found, REAL, strict=True)) == 1


def local(sprites: Sprites) -> tuple[np.ndarray, np.ndarray]:
    """Every pixel centre in the frame of each sprite at scale 1, upright: rightwards and upwards, (S,64,64)."""
    _, x, y, scale, turns = (values.numpy()[:, None, None] for values in sprites)
    right = np.arange(64) - 15.5 - 32 * x
    up = 15.5 + 32 * y - np.arange(64)[:, None]
    cosine, sine = np.cos(2 * np.pi * turns), np.sin(2 * np.pi * turns)
    return (right * cosine + up * sine) / scale, (up * cosine - right * sine) / scale


def test_squares_and_ellipses_are_the_pixels_within_their_outline() -> None:
    square, ellipse = anywhere(SQUARE, 300), anywhere(ELLIPSE, 300)
    u, v = local(square)
    assert np.array_equal(pixels(square), np.maximum(abs(u), abs(v)) <= geometry.SQUARE_HALF)
    u, v = local(ellipse)
    a, b = geometry.ELLIPSE_HALVES
    assert np.array_equal(pixels(ellipse), (u / a) ** 2 + (v / b) ** 2 <= 1)


def test_hearts_are_the_pixels_within_their_curve() -> None:
    heart = anywhere(HEART, 300)
    u, v = local(heart)
    (across, upright), rise = geometry.HEART_STRETCH, geometry.HEART_RISE
    t = np.arcsin(np.cbrt(np.minimum(abs(u) / (16 * across), 1)))
    top, bottom = (
        rise + upright * (13 * np.cos(t) - 5 * np.cos(2 * t) - 2 * np.cos(3 * t) - np.cos(4 * t))
        for t in (t, np.pi - t)
    )
    exact = (abs(u) <= 16 * across) & (bottom <= v) & (v <= top)
    assert (pixels(heart) != exact).sum() < 0.2 * len(exact)  # pixels between the curve and its polygon


@pytest.mark.parametrize("shape", [SQUARE, ELLIPSE, HEART])
@pytest.mark.parametrize(("x", "y"), [(0.0, 0.0), (0.0, 1.0), (1.0, 0.0), (1.0, 1.0)])
def test_the_largest_sprites_stay_within_the_frame(shape: int, x: float, y: float) -> None:
    turns = torch.arange(360).double() / 360
    shapes = torch.full((360,), shape)
    drawn = pixels(Sprites(shapes, *(torch.full_like(turns, value) for value in (x, y, 1.0)), turns))
    assert not drawn[:, [0, -1]].any()
    assert not drawn[:, :, [0, -1]].any()
    assert np.ptp(drawn.sum(axis=(1, 2))) < 40  # none is cut: turning changes the area little


def test_an_edge_through_pixel_centres_belongs_to_the_square() -> None:
    # At y = 7.1 / 32 and scale 1 the upper edge lies on row 13 exactly, and the sides are vertical.
    on_edge = Sprites(
        torch.tensor([SQUARE]),
        *(torch.tensor([value], dtype=torch.float64) for value in (0.5, 7.1 / 32, 1.0, 0.0)),
    )
    rows, columns = np.nonzero(pixels(on_edge)[0])
    assert (rows.min(), rows.max()) == (13, 32)
    assert (columns.min(), columns.max()) == (22, 41)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("shape", [SQUARE, ELLIPSE, HEART])
def test_the_device_changes_no_pixel(shape: int) -> None:
    sprites = anywhere(shape, 5000)
    assert torch.equal(cover(Sprites(*(values.cuda() for values in sprites))).cpu(), cover(sprites))
