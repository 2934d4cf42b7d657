"""Relaxed presence: its distribution, its limits, its divergence against torch.distributions."""

from __future__ import annotations

import pytest
import torch
from torch.distributions import Bernoulli, kl_divergence

from objbench.methods.parts.presence import bernoulli_kl, bounded_logits, relaxed_bernoulli


def test_logits_are_within_8_8_and_steepest_at_zero():
    raw = torch.tensor([-50.0, 0.0, 50.0], requires_grad=True)
    logits = bounded_logits(raw)
    logits.sum().backward()
    torch.testing.assert_close(logits, torch.tensor([-8.8, 0.0, 8.8]))
    torch.testing.assert_close(raw.grad, torch.tensor([0.0, 8.8, 0.0]))


def test_a_sample_is_above_one_half_with_the_probability_of_presence():
    torch.manual_seed(0)
    noise = torch.randn(200_000)
    for probability in (0.1, 0.5, 0.8):
        logits = torch.logit(torch.tensor(probability)).expand(len(noise))
        assert (relaxed_bernoulli(logits, noise, 0.7) > 0.5).float().mean().item() == pytest.approx(
            probability, abs=0.005
        )


def test_the_noise_is_logistic():
    noise = torch.tensor([0.0, 1.0, -2.0]).double()
    uniform = torch.distributions.Normal(0.0, 1.0).cdf(noise)
    expected = torch.sigmoid((1.5 + uniform.log() - (1 - uniform).log()) / 2.5)
    torch.testing.assert_close(relaxed_bernoulli(torch.full((3,), 1.5).double(), noise, 2.5), expected)


def test_presence_is_soft_at_a_high_temperature_even_where_an_object_is_surely_absent():
    absent = torch.tensor([-8.8])
    assert relaxed_bernoulli(absent, torch.zeros(1), 2.5).item() == pytest.approx(0.0287, abs=1e-3)
    assert relaxed_bernoulli(absent, torch.zeros(1), 0.5).item() < 1e-7


def test_hard_samples_are_zero_or_one_with_the_gradient_of_the_soft_ones():
    torch.manual_seed(0)
    noise, logits = torch.randn(50), torch.randn(50, requires_grad=True)
    hard = relaxed_bernoulli(logits, noise, 1.0, hard=True)
    soft = relaxed_bernoulli(logits, noise, 1.0)
    torch.testing.assert_close(hard, (soft > 0.5).float())
    (of_hard,) = torch.autograd.grad(hard.sum(), logits)
    (of_soft,) = torch.autograd.grad(soft.sum(), logits)
    assert torch.equal(of_hard, of_soft)
    assert of_soft.abs().min() > 0


@pytest.mark.parametrize("value", [-6.66, 6.66])
def test_the_largest_noise_of_the_generator_is_finite(value):
    assert relaxed_bernoulli(torch.zeros(1), torch.tensor([value]), 0.1).isfinite().all()


def test_the_divergence_is_that_of_bernoulli_variables():
    posterior, prior = torch.randn(40).double() * 3, torch.randn(40).double() * 3
    expected = kl_divergence(Bernoulli(logits=posterior), Bernoulli(logits=prior))
    torch.testing.assert_close(bernoulli_kl(posterior, prior), expected)


def test_the_divergence_from_a_prior_of_one_in_ten():
    prior = torch.logit(torch.tensor(0.1))
    expected = 0.5 * torch.tensor([0.5 / 0.1, 0.5 / 0.9]).log().sum()
    torch.testing.assert_close(bernoulli_kl(torch.zeros(()), prior), expected)


@pytest.mark.parametrize("logit", [-200.0, -30.0, 30.0, 200.0])
def test_certain_presence_has_a_finite_divergence_and_gradient(logit):
    logits = torch.tensor(logit, requires_grad=True)
    found = bernoulli_kl(logits, torch.tensor(2.0))
    (gradient,) = torch.autograd.grad(found, logits)
    present = torch.sigmoid(torch.tensor(2.0))
    torch.testing.assert_close(found, -(present if logit > 0 else 1 - present).log())
    assert gradient.isfinite()


def test_bfloat16_logits_are_computed_in_float32():
    logits = torch.tensor([0.5, -3.0]).bfloat16()
    assert bernoulli_kl(logits, torch.zeros(2)).dtype == torch.float32
    assert relaxed_bernoulli(logits, torch.zeros(2), 1.0).dtype == torch.float32
