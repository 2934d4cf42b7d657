"""The latents of GNM's cells: the head that posterior and prior share, boxes, and what the fixed priors weigh."""

from __future__ import annotations

import math

import pytest
import torch
from torch.distributions import Bernoulli, Normal, kl_divergence

from objbench.methods.gnm.latents import CellHead, Cells, FixedPriors, boxes_of
from objbench.methods.parts.gaussian import Gaussian

BETA = torch.tensor(10.0)
EXPECTED = torch.tensor(0.1)


def cells(batch=2, count=3, what=5):
    def normal(size):
        return Gaussian(torch.randn(batch, count, size), torch.rand(batch, count, size) + 0.1)

    return Cells(torch.randn(batch, count), normal(4), normal(1), normal(what))


def test_the_head_reads_each_place_by_itself_row_by_row():
    torch.manual_seed(0)
    head, features = CellHead(8, 5), torch.randn(2, 8, 2, 3)
    found = head(features)
    assert found.what.mean.shape == (2, 6, 5)
    # one group over a map normalises all its places together, so places may change places, not values
    turned = head(features.flip(3))
    order = torch.tensor([2, 1, 0, 5, 4, 3])
    torch.testing.assert_close(turned.presence, found.presence[:, order])
    torch.testing.assert_close(turned.where.deviation, found.where.deviation[:, order])


def test_logits_are_bounded_and_boxes_begin_with_a_quarter_of_the_side():
    head = CellHead(8, 5)
    found = head(100 * torch.randn(4, 8, 4, 4))
    assert found.presence.abs().max().item() <= 8.8
    with torch.no_grad():
        head.presence.weight.fill_(1e4)
        assert head(torch.randn(4, 8, 4, 4)).presence.abs().max().item() == pytest.approx(8.8)
    assert found.where.mean[..., 0].mean().item() == pytest.approx(-1, abs=0.05)
    assert found.where.mean[..., 1:].abs().max().item() < 0.2


def test_a_box_is_size_times_ratio_around_its_cell_with_x_first():
    where = torch.zeros(1, 4, 4)  # 2x2 cells
    where[0, 1, 1] = math.log(4)  # the cell above on the right: four times as high as wide
    where[0, 2, 2:] = torch.tensor([50.0, -50.0])  # below on the left, shifted one cell to the right and up
    found = boxes_of(where, (2, 2))
    torch.testing.assert_close(found[0, 0], torch.tensor([0.5, 0.5, -0.5, -0.5]))
    torch.testing.assert_close(found[0, 1], torch.tensor([0.25, 1.0, 0.5, -0.5]))
    torch.testing.assert_close(found[0, 2], torch.tensor([0.5, 0.5, 0.5, -0.5]))


def test_the_divergence_between_posterior_and_learned_prior_is_that_of_all_latents():
    posterior, prior = cells(), cells()
    expected = kl_divergence(Bernoulli(logits=posterior.presence), Bernoulli(logits=prior.presence)).sum(1)
    for mine, theirs in zip(posterior[1:], prior[1:], strict=True):
        expected = expected + kl_divergence(
            Normal(mine.mean, mine.deviation), Normal(theirs.mean, theirs.deviation)
        ).sum((1, 2))
    torch.testing.assert_close(posterior.kl_to(prior), expected)
    torch.testing.assert_close(posterior.kl_to(posterior), torch.zeros(2))


def by_hand(found, presence):
    """The divergence from the fixed priors, latent by latent."""

    def normal(part, mean, scale):
        return kl_divergence(Normal(part.mean, part.deviation), Normal(mean, scale)).sum(2)

    box = normal(found.where, torch.tensor([-1.5, 0, 0, 0]), torch.tensor([0.1, 0.3, 1, 1]))
    seen = 10 * box + normal(found.depth, 0.0, 1.0) + normal(found.what, 0.0, 1.0)
    plain = kl_divergence(Bernoulli(logits=found.presence), Bernoulli(probs=EXPECTED))
    return (plain + presence * seen).sum(1)


def test_fixed_priors_weigh_where_depth_and_what_by_presence_and_presence_by_nothing():
    priors, found, presence = FixedPriors(-1.5, 0.1), cells(), torch.rand(2, 3)
    torch.testing.assert_close(priors.kl(found, presence, EXPECTED, BETA), by_hand(found, presence))


def test_absent_objects_still_weigh_a_little():
    priors, found = FixedPriors(-1.5, 0.1), cells()
    absent = priors.kl(found, torch.zeros(2, 3), EXPECTED, BETA)
    torch.testing.assert_close(absent, by_hand(found, torch.full((2, 3), 1e-5)))


def test_what_is_improbable_is_pushed_out_of_presence():
    priors, found = FixedPriors(-1.5, 0.1), cells()
    presence = torch.full((2, 3), 0.5, requires_grad=True)
    priors.kl(found, presence, EXPECTED, BETA).sum().backward()
    assert (presence.grad > 0).all()
