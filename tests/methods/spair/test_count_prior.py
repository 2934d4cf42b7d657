"""The count prior against an enumeration of all patterns of presence, and against updates cell by cell."""

from __future__ import annotations

from itertools import product
from math import comb

import pytest
import torch

from objbench.methods.spair.count_prior import PROBABILITY_MIN, CountPrior


def patterns(cells):
    return torch.tensor(list(product([0.0, 1.0], repeat=cells)))


def probabilities(cells, rho, presence):
    return torch.sigmoid(CountPrior(cells)(presence, torch.tensor(rho)).double())


@pytest.mark.parametrize("rho", [0.3, 0.99, 1.0])
def test_the_product_over_cells_is_the_probability_of_the_pattern(rho):
    cells = 6
    presence = patterns(cells)
    p = probabilities(cells, rho, presence)
    found = torch.where(presence == 1, p, 1 - p).prod(1)
    norm = sum(rho**count for count in range(cells + 1))
    expected = [rho ** int(n) / norm / comb(cells, int(n)) for n in presence.sum(1)]
    torch.testing.assert_close(found, torch.tensor(expected).double(), atol=2e-6, rtol=1e-4)
    assert found.sum().item() == pytest.approx(1, abs=1e-4)


def test_each_cell_has_the_conditional_probability_of_the_enumeration():
    cells, rho = 5, 0.6
    presence = patterns(cells)
    weight = torch.tensor([rho ** int(n) / comb(cells, int(n)) for n in presence.sum(1)]).double()
    found = probabilities(cells, rho, presence)
    for i in range(cells):
        for row, pattern in enumerate(presence):
            same = (presence[:, :i] == pattern[:i]).all(1)
            expected = weight[same & (presence[:, i] == 1)].sum() / weight[same].sum()
            assert found[row, i].item() == pytest.approx(expected.item(), rel=1e-4, abs=2e-6)


def test_it_is_the_published_update_cell_by_cell():
    cells, rho = 16, 0.5
    torch.manual_seed(0)
    presence = (torch.rand(20, cells) < 0.4).double()
    count = torch.arange(cells + 1).double()
    p_count = ((1 - rho) * rho**count).expand(20, -1)
    p_count, seen = p_count / p_count.sum(1, keepdim=True), torch.zeros(20, 1).double()
    expected = []
    for i in range(cells):
        given = ((count - seen) / (cells - i)).clamp(0, 1)
        expected.append((p_count * given).sum(1))
        z = presence[:, i, None]
        p_count = p_count * (z * given + (1 - z) * (1 - given))
        p_count, seen = p_count / p_count.sum(1, keepdim=True), seen + z
    found = probabilities(cells, rho, presence.float())
    limits = PROBABILITY_MIN, 1 - PROBABILITY_MIN
    torch.testing.assert_close(found, torch.stack(expected, 1).clamp(*limits), rtol=1e-3, atol=1e-6)


def test_a_small_rho_expects_no_objects_and_a_flat_one_half_of_the_cells():
    empty = torch.zeros(1, 16)
    assert probabilities(16, 1e-4, empty)[0, 0].item() == pytest.approx(1e-4 / 16, rel=0.01)
    assert probabilities(16, 1.0, empty)[0, 0].item() == pytest.approx(0.5, rel=1e-5)


def test_presences_without_end_stay_finite_under_a_small_rho():
    for presence in (torch.ones(1, 16), torch.zeros(1, 16)):
        assert CountPrior(16)(presence, torch.tensor(1e-4)).isfinite().all()


def test_presences_are_rounded_and_have_no_gradient():
    soft = torch.tensor([[0.6, 0.4, 0.9]], requires_grad=True)
    found = CountPrior(3)(soft, torch.tensor(0.5))
    assert torch.equal(found, CountPrior(3)(torch.tensor([[1.0, 0.0, 1.0]]), torch.tensor(0.5)))
    assert not found.requires_grad
