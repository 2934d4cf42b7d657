"""The boxes of SPAIR*: one for each cell of a grid, inferred cell by cell, each given those before it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from objbench.methods.parts.gaussian import Gaussian, plain_softplus
from objbench.methods.parts.perceptron import perceptron
from objbench.methods.parts.presence import relaxed_bernoulli
from objbench.methods.parts.spatial_transformer import cell_centres, extract

NEIGHBOURS = ((-1, -1), (-1, 0), (-1, 1), (0, -1))  # (row, column) of those that a cell sees, relative to it
LIMIT = 10.0  # of what a sigmoid makes sizes, places and depths of


class Objects(NamedTuple):
    """The objects of N cells, row by row, as samples and the distributions that they are samples of; all float32."""

    where_posterior: Gaussian  # (B,N,4), width, height, x, y, before they are squashed
    what_posterior: Gaussian  # (B,N,Z)
    depth_posterior: Gaussian  # (B,N,1), before it is squashed
    logits: Tensor  # (B,N), of presence
    where: Tensor  # (B,N,4), boxes (sx, sy, tx, ty)
    what: Tensor  # (B,N,Z)
    depth: Tensor  # (B,N,1), in (0,1), smaller is nearer
    presence: Tensor  # (B,N), in [0,1]


def wavefronts(rows: int, columns: int) -> list[list[int]]:
    """The cells that can be inferred at once, by their number in the grid: those of equal 2 row + column.

    All neighbours that a cell sees stand in earlier ones.

    >>> wavefronts(2, 3)
    [[0], [1], [2, 3], [4], [5]]
    """
    fronts: list[list[int]] = [[] for _ in range(2 * rows + columns - 2)]
    for cell in range(rows * columns):
        fronts[2 * (cell // columns) + cell % columns].append(cell)
    return [front for front in fronts if front]


class CellByCell(nn.Module):
    """Infers where, what, depth and presence of the object of each cell.

    A cell sees its features, and what was sampled for the neighbours before it: north-west, north, north-east and west.
    Where there is no neighbour it sees a learned vector, and it sees that vector once more in the place of an earlier
    object of the same cell, as there is one object per cell. The cells of a wavefront are inferred at once.

    Args:
        features: F, channels of the features.
        cells: (rows, columns).
        side: (width, height) of a cell as a fraction of the image's.
        anchor: (width, height) of the largest box as a fraction of the image's.
        glimpse: side of a glimpse in pixels.
        what: Z, dimensions of the look of an object.
        hidden: widths of the networks of where, depth and presence.
        look_hidden: widths of the network of what.
        passed: numbers that the network of where passes on to the next ones, besides what it is for.
    """

    def __init__(
        self,
        features: int,
        cells: tuple[int, int],
        *,
        side: tuple[float, float],
        anchor: tuple[float, float],
        glimpse: int,
        what: int,
        hidden: Sequence[int],
        look_hidden: Sequence[int],
        passed: int,
    ) -> None:
        super().__init__()
        self.what, self.glimpse = what, glimpse
        self.noise = 4 + what + 1 + 1  # normal numbers for a cell
        self.fronts = [len(front) for front in wavefronts(*cells)]
        order = [cell for front in wavefronts(*cells) for cell in front]
        self.neighbours = [_neighbours(cell, cells, order) for cell in order]
        self.order: Tensor  # (N,): the cells by wavefront
        self.back: Tensor  # (N,): where each cell is in that order
        self.middle: Tensor  # (N,2): (x, y) of the cells in that order, from -1 to 1
        self.reach: Tensor  # (2,): half the range of x and y
        self.anchor: Tensor  # (2,)
        middle = cell_centres(torch.zeros(1, len(order), 2), cells, side)[0]
        for name, values in {
            "order": torch.tensor(order),
            "back": torch.tensor(order).argsort(),
            "middle": middle[order],
            "reach": 2 * torch.tensor(side),
            "anchor": torch.tensor(anchor),
        }.items():
            self.register_buffer(name, values, persistent=False)
        self.empty = nn.Parameter(torch.zeros(self.noise))  # as long as what is seen of a neighbour
        base = features + self.noise * (len(NEIGHBOURS) + 1)
        self.where_net = perceptron(base, *hidden, 2 * 4 + passed)
        self.what_net = perceptron(passed + 3 * glimpse**2 + 4, *look_hidden, 2 * what)
        self.depth_net = perceptron(base + 4 + what + passed, *hidden, 2 + passed)
        self.presence_net = perceptron(base + 4 + what + 1 + passed, *hidden, 1)

    def forward(
        self, images: Tensor, features: Tensor, noise: Tensor, temperature: float, *, hard: bool
    ) -> Objects:
        """The objects of images (B,3,H,W).

        Args:
            images: (B,3,H,W).
            features: (B,F,rows,columns).
            noise: standard normal (B,N,`self.noise`), for where (4), what (Z), depth and presence.
            temperature: of the relaxed presence.
            hard: whether presence is rounded to 0 or 1.
        """
        batch = len(images)
        by_front = torch.split(features.flatten(2).mT.index_select(1, self.order), self.fronts, dim=1)
        noises = torch.split(noise.index_select(1, self.order), self.fronts, dim=1)
        middles = torch.split(self.middle, self.fronts)
        empty = self.empty.expand(batch, -1)
        seen: list[Tensor] = []  # (B,Z+6), of the cells before
        found: list[tuple[Tensor, ...]] = []
        for own, drawn, middle in zip(by_front, noises, middles, strict=True):
            start = len(seen)
            contexts = [
                torch.cat([*(empty if i is None else seen[i] for i in self.neighbours[cell]), empty], dim=1)
                for cell in range(start, start + own.shape[1])
            ]
            base = torch.cat([own, torch.stack(contexts, dim=1)], dim=2)
            raw, representation = self._infer(images, base, drawn, middle, temperature, hard)
            found.append(raw)
            seen += representation.unbind(1)
        parts = [torch.cat(part, dim=1).index_select(1, self.back) for part in zip(*found, strict=True)]
        where_raw, what_raw, depth_raw, logits, where, what, depth, presence = parts
        return Objects(
            where_posterior=Gaussian.of(where_raw, plain_softplus),
            what_posterior=Gaussian.of(what_raw, plain_softplus),
            depth_posterior=Gaussian.of(depth_raw, plain_softplus),
            logits=logits.squeeze(2),
            where=where,
            what=what,
            depth=depth,
            presence=presence.squeeze(2),
        )

    def _infer(
        self, images: Tensor, base: Tensor, noise: Tensor, middle: Tensor, temperature: float, hard: bool
    ) -> tuple[tuple[Tensor, ...], Tensor]:
        """Some cells (B,n,*): outputs of the networks and samples, and what later cells see of them."""
        where_noise, what_noise, depth_noise, presence_noise = torch.split(noise, [4, self.what, 1, 1], dim=2)
        outputs = self.where_net(base)
        where_raw, passed = outputs[..., :8], outputs[..., 8:].relu()
        where = Gaussian.of(where_raw, plain_softplus).sample(where_noise)
        local, box = self._box(where, middle)
        glimpses = extract(images, box, (self.glimpse, self.glimpse)).flatten(2)
        what_raw = self.what_net(torch.cat([passed, glimpses, local], dim=2))
        what = Gaussian.of(what_raw, plain_softplus).sample(what_noise)
        outputs = self.depth_net(torch.cat([base, local, what, passed], dim=2))
        depth_raw, passed = outputs[..., :2], outputs[..., 2:].relu()
        depth = _squash(Gaussian.of(depth_raw, plain_softplus).sample(depth_noise))
        logits = self.presence_net(torch.cat([base, local, what, depth, passed], dim=2)).float()
        presence = relaxed_bernoulli(logits, presence_noise, temperature, hard=hard)
        raw = where_raw, what_raw, depth_raw, logits, box, what, depth, presence
        return raw, torch.cat([where, what, depth, presence], dim=2)

    def _box(self, where: Tensor, middle: Tensor) -> tuple[Tensor, Tensor]:
        """What networks see of a box (B,n,4), in units of anchor and cell, and the box (sx, sy, tx, ty)."""
        squashed = _squash(where)
        size, place = squashed[..., :2], 2 * squashed[..., 2:] - 0.5  # the place from the corner of the cell
        box = torch.cat([size * self.anchor, middle + (place - 0.5) * self.reach], dim=-1)
        return torch.cat([size, place], dim=-1), box


def _squash(values: Tensor) -> Tensor:
    return values.clamp(-LIMIT, LIMIT).sigmoid()


def _neighbours(cell: int, cells: tuple[int, int], order: list[int]) -> list[int | None]:
    """Where the neighbours of a cell stand in `order`; None outside of the grid."""
    rows, columns = cells
    row, column = divmod(cell, columns)
    places = [(row + down, column + right) for down, right in NEIGHBOURS]
    inside = [0 <= y < rows and 0 <= x < columns for y, x in places]
    return [order.index(y * columns + x) if ok else None for (y, x), ok in zip(places, inside, strict=True)]
