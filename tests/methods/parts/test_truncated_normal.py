"""Normal numbers within two deviations, against scipy's law of them."""

from __future__ import annotations

import torch
from scipy.stats import kstest, truncnorm

from objbench.methods.parts.truncated_normal import truncated_normal_


def test_the_law_is_that_of_a_normal_one_cut_at_two_deviations():
    torch.manual_seed(0)
    weight = torch.empty(20_000)
    assert truncated_normal_(weight, 0.25) is weight
    assert weight.abs().max() <= 1
    assert kstest(weight.double().numpy(), truncnorm(-2, 2, scale=0.5).cdf).pvalue > 0.01
