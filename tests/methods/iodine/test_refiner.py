"""IODINE's densities of pixels, and the share that each slot has in them, against torch's distributions."""

from __future__ import annotations

import math

import pytest
import torch

from objbench.methods.iodine.refiner import Likelihood


@pytest.mark.parametrize("distribution", ["logistic", "gaussian"])
def test_mixture_of_pixels_against_torch_distributions(distribution):
    torch.manual_seed(0)
    images, means, masks = (
        torch.rand(2, 3, 4, 5),
        torch.rand(2, 6, 3, 4, 5),
        torch.rand(2, 6, 4, 5).softmax(1),
    )
    density = Likelihood(distribution, 0.1, "pixel").densities(images, means)
    if distribution == "gaussian":
        base = torch.distributions.Normal(means.permute(0, 3, 4, 1, 2), 0.1)
        density = density - 3 * 0.5 * math.log(2 * math.pi)  # the constant that is left out
    else:
        uniform = torch.distributions.Uniform(torch.tensor(0.0), torch.tensor(1.0))
        chain = [
            torch.distributions.SigmoidTransform().inv,
            torch.distributions.AffineTransform(means.permute(0, 3, 4, 1, 2), 0.1),
        ]
        base = torch.distributions.TransformedDistribution(uniform.expand((2, 4, 5, 6, 3)), chain)
    expected = torch.distributions.MixtureSameFamily(
        torch.distributions.Categorical(masks.permute(0, 2, 3, 1)), torch.distributions.Independent(base, 1)
    ).log_prob(images.permute(0, 2, 3, 1))
    found = (density + masks.log()[:, :, None]).logsumexp(1).squeeze(1)
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("mixing", ["pixel", "channel"])
def test_no_slot_has_a_share_in_pixels_that_none_explains(mixing):
    images = torch.full((1, 3, 1, 2), 0.5)
    means = torch.tensor([0.5, 0.45]).view(1, 2, 1, 1, 1).expand(1, 2, 3, 1, 2).clone()
    means[..., 1] = 3.0
    likelihood = Likelihood("gaussian", 0.1, mixing)
    densities = torch.distributions.Normal(means, 0.1).log_prob(images[:, None]).sum(2, keepdim=True).exp()
    shares = likelihood.shares(likelihood.densities(images, means))
    torch.testing.assert_close(shares, densities / (densities.sum(1, keepdim=True) + 1e-6))
    assert shares[..., 0].sum().item() == pytest.approx(1)
    assert not shares[..., 1].any()
