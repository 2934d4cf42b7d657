"""The cells of SPAIR*: wavefronts against the sequential form, what a cell sees, where its box may be."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from objbench.methods.parts.spatial_transformer import extract
from objbench.methods.spair.cells import CellByCell, wavefronts

GRIDS = [(4, 4), (3, 3), (2, 5), (1, 3), (5, 1)]


def cells(grid=(4, 4), what=3):
    torch.manual_seed(0)
    rows, columns = grid
    part = CellByCell(
        6, grid, side=(1 / columns, 1 / rows), anchor=(0.5, 0.375), glimpse=4, what=what, hidden=[8, 8],
        look_hidden=[9, 7], passed=5,
    ).double()  # fmt: skip
    torch.nn.init.normal_(part.empty)
    return part


def inputs(part, grid, batch=2):
    torch.manual_seed(1)
    count = grid[0] * grid[1]
    shapes = (3, 16, 20), (6, *grid), (count, part.noise)
    return [torch.randn(batch, *shape).double() for shape in shapes]


def one_after_another(part, grid, images, features, noise, hard):
    """The model as it is described: cells in raster order, each with its neighbours in a dictionary."""
    rows, columns = grid
    what, seen, found = part.what, {}, []
    empty = part.empty.expand(len(images), -1)
    for row in range(rows):
        for column in range(columns):
            z = noise[:, row * columns + column]
            around = [(row - 1, column - 1), (row - 1, column), (row - 1, column + 1), (row, column - 1)]
            base = torch.cat(
                [features[:, :, row, column], *(seen.get(place, empty) for place in around), empty], 1
            )
            out = part.where_net(base)
            mean, raw, passed = out[:, :4].float(), out[:, 4:8].float(), out[:, 8:].relu()
            where = mean + (F.softplus(raw) + 1e-5) * z[:, :4]
            squashed = where.clamp(-10, 10).sigmoid()
            w, h, x, y = squashed.unbind(1)
            x, y = 2 * x - 0.5, 2 * y - 0.5
            box = torch.stack(
                [0.5 * w, 0.375 * h, 2 * (column + x) / columns - 1, 2 * (row + y) / rows - 1], 1
            )
            local = torch.stack([w, h, x, y], 1)
            glimpse = extract(images, box[:, None], (4, 4)).flatten(1)
            out = part.what_net(torch.cat([passed, glimpse, local], 1)).float()
            look = out[:, :what] + (F.softplus(out[:, what:]) + 1e-5) * z[:, 4 : 4 + what]
            out = part.depth_net(torch.cat([base, local, look, passed], 1))
            depth = out[:, :1].float() + (F.softplus(out[:, 1:2].float()) + 1e-5) * z[:, 4 + what, None]
            depth, passed = depth.clamp(-10, 10).sigmoid(), out[:, 2:].relu()
            logit = part.presence_net(torch.cat([base, local, look, depth, passed], 1)).float()
            uniform = torch.distributions.Normal(0.0, 1.0).cdf(z[:, 5 + what, None])
            presence = torch.sigmoid((logit + uniform.log() - (1 - uniform).log()) / 0.8)
            presence = presence.round() if hard else presence
            seen[row, column] = torch.cat([where, look, depth, presence], 1)
            found.append((box, look, depth, logit[:, 0], presence[:, 0]))
    return [torch.stack(part, 1) for part in zip(*found, strict=True)]


@pytest.mark.parametrize("hard", [False, True])
@pytest.mark.parametrize("grid", GRIDS)
def test_wavefronts_give_what_one_cell_after_another_gives(grid, hard):
    part = cells(grid)
    images, features, noise = inputs(part, grid)
    found = part(images, features, noise, 0.8, hard=hard)
    expected = one_after_another(part, grid, images, features, noise, hard)
    for one, other in zip(
        (found.where, found.what, found.depth, found.logits, found.presence), expected, strict=True
    ):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-6, check_dtype=False)


@pytest.mark.parametrize("grid", GRIDS)
def test_a_wavefront_comes_after_all_neighbours_that_its_cells_see(grid):
    rows, columns = grid
    fronts = wavefronts(*grid)
    assert sorted(cell for front in fronts for cell in front) == list(range(rows * columns))
    time = {divmod(cell, columns): t for t, front in enumerate(fronts) for cell in front}
    for (row, column), t in time.items():
        for before in ((row - 1, column - 1), (row - 1, column), (row - 1, column + 1), (row, column - 1)):
            assert time.get(before, -1) < t


def test_four_by_four_cells_take_ten_rounds():
    assert len(wavefronts(4, 4)) == 10


def test_a_cell_sees_those_before_it_and_not_those_after_it():
    part, grid = cells(), (4, 4)
    images, features, noise = inputs(part, grid)
    before = part(images, features, noise, 1.0, hard=False)
    features[:, :, 1, 2] += 1  # cell 6
    after = part(images, features, noise, 1.0, hard=False)
    changed = (before.logits != after.logits).any(0)
    assert not changed[:6].any()
    assert changed[[6, 7, 9, 10, 11]].all()  # itself, east, south-west, south, south-east


def test_width_comes_before_height_and_x_before_y():
    part, grid = cells(), (4, 4)
    last = part.where_net[-1]
    torch.nn.init.zeros_(last.weight)
    with torch.no_grad():
        last.bias.copy_(torch.tensor([20.0, -20, 20, -20, -100, -100, -100, -100, *[0] * 5]))
    images, features, noise = inputs(part, grid)
    where = part(images, features, noise, 1.0, hard=False).where[0]
    ends = torch.sigmoid(torch.tensor([10.0, -10.0])).double()
    torch.testing.assert_close(where[:, 0], (0.5 * ends[0]).expand(16))
    torch.testing.assert_close(where[:, 1], (0.375 * ends[1]).expand(16))
    # from the corner of the cell, 1.5 cells to the right and half a cell up
    torch.testing.assert_close(where[5, 2:], torch.tensor([0.25, -0.75]).double(), atol=1e-4, rtol=0)


def test_extreme_outputs_stay_finite():
    part, grid = cells(), (4, 4)
    for net in (part.where_net, part.what_net, part.depth_net, part.presence_net):
        torch.nn.init.constant_(net[-1].bias, -1e4)
    found = part(*inputs(part, grid), 1.0, hard=False)
    for values in (found.where, found.depth, found.presence, found.where_posterior.kl_to_standard()):
        assert values.isfinite().all()
    assert (found.depth > 0).all()


def test_what_moves_by_a_cell_is_found_a_cell_further():
    grid = (4, 4)
    part = cells(grid)
    images, features, noise = inputs(part, grid)
    images[:, :, 12:] = images[:, :, :, 15:] = 0  # a cell is 4x5 pixels: nothing leaves the image
    with torch.no_grad():
        for net in (part.where_net, part.depth_net, part.presence_net):
            net[0].weight[:, 6 : 6 + 5 * part.noise] = (
                0  # neighbours are not seen: at the border there are none
            )
        moved = [
            images.roll((4, 5), (2, 3)),
            features.roll((1, 1), (2, 3)),
            noise.unflatten(1, grid).roll((1, 1), (1, 2)).flatten(1, 2),
        ]
        before, after = (part(*given, 1.0, hard=False) for given in ([images, features, noise], moved))
    step = before.where.new_tensor([0, 0, 2 / 4, 2 / 4])
    for name in ("where", "what", "depth", "logits", "presence"):
        old, new = (getattr(found, name).unflatten(1, grid) for found in (before, after))
        expected = old[:, :-1, :-1] + (step if name == "where" else 0)
        torch.testing.assert_close(new[:, 1:, 1:], expected, atol=1e-6, rtol=1e-6)
