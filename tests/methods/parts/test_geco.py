"""Both forms of GECO against arithmetic by hand: what they weigh, which way they move, and how fast."""

from __future__ import annotations

import math

import pytest
import torch

from objbench.methods.base import Progress
from objbench.methods.parts.geco import AdditiveGECO, Constraint, MultiplicativeGECO, likelihood_floor
from objbench.methods.parts.mixture import per_channel


def at(step: int) -> Progress:
    return Progress("train", step, 100, 0, 330)


def test_likelihood_floor_is_the_error_of_a_perfect_reconstruction():
    image = torch.rand(1, 3, 4, 5)
    log_masks = torch.rand(1, 2, 1, 4, 5).log_softmax(1)
    for normalised in (True, False):
        error = -per_channel(
            image, image[:, None].expand(1, 2, -1, -1, -1), log_masks, 0.7, normalised=normalised
        )
        assert error.item() / image.numel() == pytest.approx(
            likelihood_floor(0.7, normalised=normalised), abs=1e-6
        )


def test_multiplicative_loss_weighs_the_kl_and_nothing_else():
    geco = MultiplicativeGECO(10.0, 0.1, beta=0.25)
    error, kl = torch.tensor(3.0, requires_grad=True), torch.tensor(8.0, requires_grad=True)
    loss = geco.loss(error, kl)
    loss.backward()
    assert loss.item() == 5.0
    assert (error.grad.item(), kl.grad.item()) == (1.0, 0.25)


@pytest.mark.parametrize(
    ("error", "exponent"),
    [(12.0, -0.2), (9.0, 10 * 0.1)],  # above the goal of 10 beta shrinks, below it grows ten times as fast
)
def test_multiplicative_weight_moves_against_the_error(error, exponent):
    geco = MultiplicativeGECO(10.0, 0.1, beta=2.0)
    geco.update(torch.tensor(error), at(0))
    assert geco.beta.item() == pytest.approx(2 * math.exp(exponent))


def test_multiplicative_average_begins_with_the_first_error_and_follows_slowly():
    geco = MultiplicativeGECO(10.0, 0.1, beta=1.0)
    geco.update(torch.tensor(10.0), at(0))
    assert (geco.average.item(), geco.beta.item()) == (10.0, 1.0)
    geco.update(torch.tensor(110.0), at(1))
    assert geco.average.item() == pytest.approx(11.0)
    assert geco.beta.item() == pytest.approx(math.exp(-0.1))


@pytest.mark.parametrize(
    ("bounds", "error", "bound"),
    [
        ({}, 1e6, 1e-10),
        ({}, -1e6, 1e10),
        ({"least": 1e-5, "most": 1e3}, 1e6, 1e-5),
        ({"least": 1e-5, "most": 1e3}, -1e6, 1e3),
    ],
)
def test_multiplicative_weight_stays_in_bounds(bounds, error, bound):
    geco = MultiplicativeGECO(0.0, 1.0, beta=1.0, **bounds)
    geco.update(torch.tensor(error), at(0))
    assert geco.beta.item() == pytest.approx(bound)


def test_a_constraint_counts_its_goal_for_all_channels_and_slows_with_the_pixels():
    settings = {"sigma": 0.7, "goal": 0.5655, "rate": 1e-5, "beta": 1.0}
    geco = Constraint.model_validate(settings).geco(128**2, least=1e-5)
    assert geco.goal == 0.5655 * 3 * 128 * 128
    assert geco.rate == pytest.approx(2.5e-6)
    assert (geco.beta.item(), geco.least, geco.most) == (1.0, 1e-5, 1e10)


@pytest.mark.parametrize(("goal", "said"), [(0.563, 0), (0.562, 1)])
def test_a_constraint_warns_of_a_goal_below_the_error_of_a_perfect_reconstruction(goal, said, caplog):
    Constraint.model_validate({"sigma": 0.7, "goal": goal, "rate": 1e-5, "beta": 1.0}).warn()
    assert len(caplog.messages) == said
    assert all("a perfect reconstruction has an error of 0.5623" in message for message in caplog.messages)


def test_additive_loss_is_the_plain_bound_before_the_start():
    geco = AdditiveGECO(-10.0, 0.1, start=2)
    assert geco.loss(torch.tensor(3.0), torch.tensor(8.0), at(1)).item() == 11.0
    geco.update(torch.tensor(3.0), at(1))
    assert geco.multiplier.item() == pytest.approx(0.55)
    assert geco.average.item() == -13.0


def test_additive_loss_takes_its_value_from_the_average_and_its_gradient_from_the_batch():
    geco = AdditiveGECO(-10.0, 0.1, start=0)
    geco.average.fill_(-4.0)
    weight = math.log1p(math.exp(0.55))
    error, kl = torch.tensor(3.0, requires_grad=True), torch.tensor(8.0, requires_grad=True)
    loss = geco.loss(error, kl, at(0))
    loss.backward()
    assert loss.item() == pytest.approx(8 + weight * 4)
    assert error.grad.item() == pytest.approx(weight)
    assert kl.grad.item() == 1.0


@pytest.mark.parametrize(
    ("error", "multiplier"),
    [
        (-8.0, 2.0 + 0.1 * 2),
        (-11.0, 2.0 - 5 * 0.1 * 1),
    ],  # goal -10: above it grows, below it sinks 5 times as fast
)
def test_additive_multiplier_moves_with_the_error(error, multiplier):
    geco = AdditiveGECO(-10.0, 0.1, start=0, recovery=5.0)
    geco.multiplier.fill_(2.0)
    geco.average.fill_(-10.0 - error)
    geco.update(torch.tensor(error), at(1))
    assert geco.multiplier.item() == pytest.approx(multiplier)


def test_additive_multiplier_never_falls_below_the_least():
    geco = AdditiveGECO(-10.0, 1.0, start=0)
    geco.average.fill_(100.0)
    geco.update(torch.tensor(-110.0), at(1))
    assert geco.multiplier.item() == pytest.approx(0.55)


def test_additive_average_begins_with_the_slack_of_the_start_and_the_multiplier_moves_after_it():
    geco = AdditiveGECO(0.0, 0.1, start=1)
    geco.update(torch.tensor(50.0), at(0))
    geco.update(torch.tensor(7.0), at(1))
    assert geco.average.item() == -7.0
    assert geco.multiplier.item() == pytest.approx(0.55)
    geco.update(torch.tensor(107.0), at(2))
    assert geco.average.item() == pytest.approx(-8.0)
    assert geco.multiplier.item() == pytest.approx(0.55 + 0.8)


@pytest.mark.parametrize("geco", [MultiplicativeGECO(1.0, 0.1, beta=1.0), AdditiveGECO(1.0, 0.1, start=0)])
def test_all_state_is_saved_and_changed_in_place(geco):
    storage = {name: value.data_ptr() for name, value in geco.state_dict().items()}
    before = {name: value.clone() for name, value in geco.state_dict().items()}
    geco.update(torch.tensor(5.0), at(0))
    geco.update(torch.tensor(6.0), at(1))
    assert all(value.data_ptr() == storage[name] for name, value in geco.state_dict().items())
    assert all(value != before[name] for name, value in geco.state_dict().items())
