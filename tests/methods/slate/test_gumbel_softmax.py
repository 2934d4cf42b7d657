"""Samples of categories against the probabilities that they should have."""

from __future__ import annotations

import math

import torch

from objbench.methods.slate.gumbel_softmax import gumbel, relaxed_one_hot, sampled

LOGITS = torch.tensor([0.5, 0.2, 0.3]).log()


def test_gumbel_numbers_have_mean_and_variance_of_the_distribution():
    torch.manual_seed(0)
    found = gumbel((100_000,), torch.zeros((), dtype=torch.float64))
    assert found.dtype == torch.float64
    assert abs(float(found.mean()) - 0.577216) < 0.015  # Euler's constant; a deviation of 0.004
    assert abs(float(found.var()) - math.pi**2 / 6) < 0.05


def test_an_exponential_number_of_zero_makes_no_infinite_one(monkeypatch):
    monkeypatch.setattr(torch.Tensor, "exponential_", torch.Tensor.zero_)
    assert gumbel((2,), torch.zeros(())).isfinite().all()


def test_hard_samples_have_the_probabilities_of_the_logits():
    torch.manual_seed(0)
    logits = LOGITS[None, :, None].expand(1, 3, 50_000)
    shares = torch.bincount(sampled(logits, gumbel(logits.shape, logits)).flatten()) / 50_000
    torch.testing.assert_close(shares, LOGITS.exp(), rtol=0, atol=0.01)


def test_the_relaxed_sample_is_the_softmax_of_logits_and_noise_over_the_temperature():
    noise = torch.tensor([1.0, -1.0, 0.5])
    found = relaxed_one_hot(LOGITS[None], noise[None], 0.5)[0]
    weights = [(p * math.exp(n)) ** 2 for p, n in zip((0.5, 0.2, 0.3), noise.tolist(), strict=True)]
    torch.testing.assert_close(found, torch.tensor(weights) / sum(weights))


def test_a_low_temperature_makes_the_relaxed_sample_the_hard_one():
    torch.manual_seed(0)
    logits = torch.randn(4, 6, 5)
    noise = gumbel(logits.shape, logits)
    found = relaxed_one_hot(logits, noise, torch.tensor(1e-3))
    hot = torch.nn.functional.one_hot(sampled(logits, noise), 6).mT.float()
    torch.testing.assert_close(found, hot, rtol=0, atol=1e-3)
    assert float(relaxed_one_hot(logits, noise, 1e3).std()) < 1e-3
