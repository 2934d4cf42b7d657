"""Diagonal Gaussians against torch.distributions, and the parameterisations by their definitions."""

from __future__ import annotations

import math

import pytest
import torch
from torch.distributions import Normal, kl_divergence

from objbench.methods.parts import gaussian
from objbench.methods.parts.gaussian import Gaussian, plain_softplus

LN2 = math.log(2)


@pytest.fixture
def pair():
    torch.manual_seed(0)
    return [Gaussian(torch.randn(2, 3, 4), torch.rand(2, 3, 4) + 0.1) for _ in range(2)]


def as_torch(law):
    return Normal(law.mean, law.deviation)


def test_divergences_and_density(pair):
    one, two = pair
    unit = Normal(torch.zeros(4), torch.ones(4))
    torch.testing.assert_close(one.kl_to_standard(), kl_divergence(as_torch(one), unit).sum(-1))
    torch.testing.assert_close(one.kl_to(two), kl_divergence(as_torch(one), as_torch(two)).sum(-1))
    torch.testing.assert_close(one.log_density(two.mean), as_torch(one).log_prob(two.mean).sum(-1))


def test_a_law_does_not_diverge_from_itself(pair):
    torch.testing.assert_close(pair[0].kl_to(pair[0]), torch.zeros(2, 3))


def test_samples_are_affine_in_the_noise(pair):
    law = pair[0]
    assert torch.equal(law.sample(torch.zeros(2, 3, 4)), law.mean)
    torch.testing.assert_close(law.sample(torch.ones(2, 3, 4)) - law.mean, law.deviation)


@pytest.mark.parametrize(
    ("deviation", "raw", "sigma"),
    [
        (gaussian.exp_deviation, LN2, 2.0),
        (gaussian.softplus_variance, 0.0, math.sqrt(LN2)),  # 0.693 is the variance of IODINE's own prior
        (gaussian.softplus_deviation, -0.5, LN2),
        (gaussian.sigmoid_deviation, -4.0, 0.5001),
    ],
)
def test_parameterisations(deviation, raw, sigma):
    law = Gaussian.of(torch.tensor([[3.0, raw]]), deviation)
    assert law.mean.item() == 3
    assert law.deviation.item() == pytest.approx(sigma)


def test_a_floor_keeps_the_variance_up_and_its_gradient_finite():
    raw = torch.tensor([-200.0], requires_grad=True)
    sigma = gaussian.softplus_variance(raw, floor=1e-5)
    sigma.backward()
    assert sigma.item() == pytest.approx(math.sqrt(1e-5))
    assert raw.grad.isfinite().all()


def test_bfloat16_outputs_make_float32_laws():
    law = Gaussian.of(torch.zeros(2, 8, dtype=torch.bfloat16), gaussian.exp_deviation)
    assert (law.mean.dtype, law.deviation.dtype) == (torch.float32, torch.float32)


def test_a_plain_softplus_never_has_a_variance_of_zero():
    raw = torch.tensor([-200.0, 0.0, 3.0])
    found = plain_softplus(raw)
    torch.testing.assert_close(found, torch.nn.functional.softplus(raw) + 1e-5)
    assert (found.square() > 0).all()


def test_laws_are_stacked_in_their_order():
    laws = [Gaussian(torch.randn(2, 3), torch.rand(2, 3)) for _ in range(4)]
    found = Gaussian.stack(laws)
    for index, law in enumerate(laws):
        assert torch.equal(found.mean[:, index], law.mean)
        assert torch.equal(found.deviation[:, index], law.deviation)


def test_estimates_of_a_divergence_have_it_as_their_mean():
    torch.manual_seed(0)
    law, other = (Gaussian(torch.randn(3), torch.rand(3) + 0.5) for _ in range(2))
    estimates = law.kl_estimate(other, law.sample(torch.randn(100_000, 3)))
    assert estimates.shape == (100_000,)
    assert estimates.mean().item() == pytest.approx(law.kl_to(other).item(), rel=0.02)


def test_a_squashed_law_keeps_to_its_ranges():
    raw = torch.tensor([[-1e3, 0.0, 0.5, 1e3, -1e3, -4.0, 0.0, 1e3]])
    law = gaussian.squashed(raw)
    torch.testing.assert_close(law.mean, torch.tensor([[-1.0, 0.0, math.tanh(0.5), 1.0]]))
    first = 1 / (1 + math.exp(-4))
    torch.testing.assert_close(law.deviation, torch.tensor([[1e-4, 0.5001, first + 1e-4, 1.0001]]))
