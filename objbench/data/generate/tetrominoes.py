"""Tetrominoes: three pieces on black, distributed as in DeepMind's set (Kabra et al., Multi-Object Datasets, 2019).

Read off the released records: 19 shapes, each a piece in one orientation; cells of 5x5 pixels that all carry one
bevel, multiplied by one of six colours. A proposal draws for each of the three pieces a shape, a place anywhere
inside the frame and a colour, all uniform; proposals with an overlap are thrown away whole. (Upstream 49.67 % of the
scenes hold a Z or S piece: placing a colliding piece again without drawing its shape anew would give 50.9 %.)
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from itertools import combinations
from typing import NamedTuple

import torch
from torch import Tensor

from objbench.data.generate.generator import Generator
from objbench.data.generate.tensors import SceneTensors, with_background
from objbench.errors import RequestError
from objbench.random import MASK32, below, philox, seed_from, split_seed

SIDE, CELL, PIECES = 35, 5, 3
_REACH = 4 * CELL  # two pieces whose corners are this far apart cannot touch a common pixel
_PROPOSALS = 2048  # drawn at once, at least

# Cell patterns, rows from top to bottom; the shape id is the place in this list, from 1. Ids 1, 4 and 8 are known
# by elimination only: none of the records at hand shows them.
SHAPES = (
    "####", "#/#/#/#",
    "###/#..", "#../###", "..#/###", "###/..#", "##/.#/.#", ".#/.#/##", "##/#./#.", "#./#./##",
    "##./.##", ".##/##.", ".#/##/#.", "#./##/.#",
    ".#./###", "###/.#.", ".#/##/.#", "#./##/#.",
    "##/##",
)  # fmt: skip
BEVEL = (
    (191, 255, 255, 255, 223),
    (127, 159, 159, 159, 191),
    (127, 159, 159, 159, 191),
    (127, 159, 159, 159, 191),
    (95, 63, 63, 63, 127),
)
COLORS = ((1, 0, 0), (0, 1, 0), (0, 0, 1), (1, 1, 0), (1, 0, 1), (0, 1, 1))
# Along which (rows, columns) stripes change: horizontal, vertical and both diagonals; and how wide the first colour is.
DIRECTIONS = ((1, 0), (0, 1), (1, 1), (1, -1))
FIRST_STRIPE = 2  # of the CELL pixels after which stripes repeat


class Pieces(NamedTuple):
    """The pieces of N scenes, int64 (N,P): shape ids 1..19, row and column of the bounding box, colour (N,P,3)."""

    shape: Tensor
    row: Tensor
    column: Tensor
    color: Tensor  # RGB bits


class Stripes(NamedTuple):
    """The stripes of the E entities of N scenes, background first."""

    colors: Tensor  # RGB bits (N,E,2,3): of the first FIRST_STRIPE pixels and of the others
    direction: Tensor  # int64 (N,E): index into DIRECTIONS
    phase: Tensor  # int64 (N,E), 0 to CELL - 1


class _Tables(NamedTuple):
    """What a shape id (0 unused) stands for: the look-up tables on one device."""

    extent: Tensor  # int64 (20,2): height and width in pixels
    pixels: Tensor  # int64 (20,100): offsets into a flattened image
    bevel: Tensor  # int32 (100,): their values
    colors: Tensor  # int64 (6,3)
    collision: Tensor  # bool (20,20,41,41): whether shape b, so far down and right of shape a, overlaps it


@cache
def _tables(device: torch.device) -> _Tables:
    grids = [[[mark == "#" for mark in row] for row in shape.split("/")] for shape in ("....", *SHAPES)]
    cells = torch.full((len(grids), 4, 2), 2 * _REACH)  # shape 0 is out of reach
    for i, grid in enumerate(grids[1:], start=1):
        cells[i] = torch.tensor(grid).nonzero() * CELL
    extent = torch.tensor([(len(grid), len(grid[0])) for grid in grids]) * CELL
    inside = torch.arange(CELL)
    offsets = (inside[:, None] * SIDE + inside).flatten()
    pixels = (cells[..., 0] * SIDE + cells[..., 1])[..., None] + offsets  # (20,4,25)
    bevel = torch.tensor(BEVEL, dtype=torch.int32).flatten().repeat(4)
    tables = _Tables(extent, pixels.flatten(1), bevel, torch.tensor(COLORS), _collision(cells))
    return _Tables(*(table.to(device) for table in tables))


def _collision(cells: Tensor) -> Tensor:
    """The collision table of shapes with cells (S,4,2): bool (S,S,41,41), offsets from -20 to 20."""
    apart = cells[:, None, :, None] - cells[None, :, None, :]  # (S,S,4,4,2), in pixels
    offset = torch.arange(-_REACH, _REACH + 1)
    near = (offset - apart[..., None]).abs() < CELL  # (S,S,4,4,2,41)
    down, right = near.flatten(2, 3).float().unbind(3)  # (S,S,16,41) each
    return torch.einsum("abcy,abcx->abyx", down, right) > 0


@dataclass(frozen=True)
class Tetrominoes(Generator):
    """Scenes of three pieces.

    Factors as upstream stores them, float32, entity axis 4 with the background in row 0: x is the row and y the
    column of the bounding box, shape the id, color RGB bits, visibility 1 for all.

    Attributes:
        grid: Positions are multiples of this many pixels (every one still inside the frame).
        striped: Pieces and background are striped in two of the six colours instead of bevelled and black. Factors of
            all entities, the background too, are then color and second_color, RGB bits; direction, 0 to 3, an index
            into DIRECTIONS; and phase, 0 to 4: `paint`. Entities may happen to be striped alike.
    """

    version = 1
    grid: int = 1
    striped: bool = False

    def __post_init__(self) -> None:
        if self.grid not in range(1, 2 * CELL + 1):
            raise RequestError(
                f"the option 'grid' of tetrominoes is {self.grid}; it must be 1 to {2 * CELL} pixels"
            )

    def make(
        self, split: str, start: int, stop: int, seed: int, device: torch.device | str | None = None
    ) -> SceneTensors:
        """The scenes [start, stop) of the stream that (split, seed, grid) names."""
        index = torch.arange(start, stop, device=device or "cpu")
        pieces = draw(index, self.stream_key(split, seed), self.grid)
        images, masks = render(pieces)
        per_entity = {"x": pieces.row, "y": pieces.column, "shape": pieces.shape, "color": pieces.color}
        factors = {name: with_background(values.float()) for name, values in per_entity.items()}
        if self.striped:
            stripes = draw_stripes(index, self.stream_key(split, seed, "stripes"))
            images = paint(stripes, masks)
            first, second = stripes.colors.float().unbind(2)
            direction, phase = stripes.direction.float(), stripes.phase.float()
            factors |= {"color": first, "second_color": second, "direction": direction, "phase": phase}
        factors["visibility"] = torch.ones(len(index), PIECES + 1, dtype=torch.float32, device=index.device)
        return SceneTensors(index, images, masks, factors)

    def stream_key(self, split: str, seed: int, *what: str) -> tuple[int, int]:
        """The Philox key of a stream of scenes, or of one part of them, such as their stripes."""
        return split_seed(
            seed_from(
                "tetrominoes", "grid", self.grid, "version", self.version, "seed", seed, "split", split, *what
            )
        )


def draw(index: Tensor, key: tuple[int, int], grid: int) -> Pieces:
    """The pieces of the scenes `index` int64 (N,): for each the first proposal without overlap."""
    pieces = propose(index, torch.zeros_like(index), key, grid)
    pending = overlapping(pieces).nonzero().flatten()
    tried = 1
    while len(pending):
        # Several proposals at once for the last few scenes: the first good one is the same, the passes are fewer.
        ahead = max(1, _PROPOSALS // len(pending))
        scene = pending.repeat_interleave(ahead)
        attempt = torch.arange(tried, tried + ahead, device=index.device).repeat(len(pending))
        proposed = propose(index[scene], attempt, key, grid)
        good = ~overlapping(proposed).view(-1, ahead)
        found, first = good.max(dim=1)
        chosen = (torch.arange(len(pending), device=index.device) * ahead + first)[found]
        for values, new in zip(pieces, proposed, strict=True):
            values[pending[found]] = new[chosen]
        pending = pending[~found]
        tried += ahead
    return pieces


def propose(index: Tensor, attempt: Tensor, key: tuple[int, int], grid: int) -> Pieces:
    """Proposal `attempt` int64 (N,) for the scenes `index`: four random words (shape, row, column, colour) a piece."""
    tables = _tables(index.device)
    for_shape, for_row, for_column, for_color = _words(index, attempt, PIECES, key)
    shape = 1 + below(for_shape, len(SHAPES))
    height, width = tables.extent[shape].unbind(-1)
    row = below(for_row, (SIDE - height) // grid + 1) * grid
    column = below(for_column, (SIDE - width) // grid + 1) * grid
    return Pieces(shape, row, column, tables.colors[below(for_color, len(COLORS))])


def _words(index: Tensor, attempt: Tensor, things: int, key: tuple[int, int]) -> tuple[Tensor, ...]:
    """Four random words for each of the `things` of a scene, in an attempt: four int64 (N,things)."""
    thing = torch.arange(things, device=index.device)
    counter = [word[:, None].expand(-1, things) for word in (index & MASK32, index >> 32, attempt)]
    return philox(torch.stack([*counter, thing.expand(len(index), -1)], -1), key).unbind(-1)


def overlapping(pieces: Pieces) -> Tensor:
    """Which scenes have two pieces with a common pixel: bool (N,)."""
    collision = _tables(pieces.shape.device).collision
    overlap = torch.zeros(len(pieces.shape), dtype=torch.bool, device=pieces.shape.device)
    for i, j in combinations(range(pieces.shape.shape[1]), 2):
        down = (pieces.row[:, j] - pieces.row[:, i]).clamp(-_REACH, _REACH) + _REACH
        right = (pieces.column[:, j] - pieces.column[:, i]).clamp(-_REACH, _REACH) + _REACH
        overlap |= collision[pieces.shape[:, i], pieces.shape[:, j], down, right]
    return overlap


def render(pieces: Pieces) -> tuple[Tensor, Tensor]:
    """Images uint8 (N,35,35,3) and masks uint8 (N,35,35) of `pieces`, which must not overlap.

    Piece p (0-based) has the mask value p + 1.
    """
    tables = _tables(pieces.shape.device)
    count, per_scene = pieces.shape.shape
    device = pieces.shape.device
    corner = pieces.row * SIDE + pieces.column + torch.arange(count, device=device)[:, None] * SIDE**2
    pixels = corner[..., None] + tables.pixels[pieces.shape]  # (N,P,100)
    # Red, green, blue and mask value as the bytes of one word: a single scatter writes image and mask.
    bits = pieces.color.int()
    tint = bits[..., 0] | bits[..., 1] << 8 | bits[..., 2] << 16  # (N,P)
    entity = torch.arange(1, per_scene + 1, dtype=torch.int32, device=device) << 24
    words = tint[..., None] * tables.bevel + entity[:, None]  # (N,P,100)
    canvas = torch.zeros(count * SIDE**2, dtype=torch.int32, device=device)
    canvas.scatter_(0, pixels.flatten(), words.flatten())
    planes = canvas.view(torch.uint8).view(count, SIDE, SIDE, 4)
    return planes[..., :3].contiguous(), planes[..., 3].contiguous()


def draw_stripes(index: Tensor, key: tuple[int, int]) -> Stripes:
    """The stripes of the scenes `index` int64 (N,): for each entity four random words, all choices equally likely."""
    for_first, for_second, for_direction, for_phase = _words(index, torch.zeros_like(index), PIECES + 1, key)
    first = below(for_first, len(COLORS))
    second = (first + 1 + below(for_second, len(COLORS) - 1)) % len(COLORS)
    colors = _tables(index.device).colors[torch.stack([first, second], dim=-1)]
    return Stripes(colors, below(for_direction, len(DIRECTIONS)), below(for_phase, CELL))


def paint(stripes: Stripes, masks: Tensor) -> Tensor:
    """Images uint8 (N,35,35,3) of striped entities that the masks uint8 (N,35,35) place.

    A pixel has the first colour if its row (direction 0), its column (1), their sum (2) or their difference (3), plus the
    phase, has a remainder below FIRST_STRIPE when divided by CELL: on a grid of 5 pixels all cells of an entity look the same.
    """
    device = masks.device
    inside, side = torch.arange(CELL, device=device), torch.arange(SIDE, device=device)
    directions = torch.tensor(DIRECTIONS, device=device)
    along = directions[:, :1, None] * inside[:, None] + directions[:, 1:, None] * inside  # (4,CELL,CELL)
    place = (along[stripes.direction] + stripes.phase[..., None, None]) % CELL  # (N,E,CELL,CELL)
    # A cell of each entity, red, green and blue as the bytes of one word; then a single look-up for each pixel.
    bits = stripes.colors.int() * 255
    first, second = (bits[..., 0] | bits[..., 1] << 8 | bits[..., 2] << 16)[..., None, None].unbind(2)
    cells = torch.where(place < FIRST_STRIPE, first, second)  # int32 (N,E,CELL,CELL)
    entity = torch.arange(cells.shape[0], device=device)[:, None, None] * cells.shape[1] + masks
    pixel = (entity * CELL + side[:, None] % CELL) * CELL + side % CELL  # (N,H,W)
    return cells.flatten()[pixel].view(torch.uint8).view(*masks.shape, 4)[..., :3].contiguous()
