"""The mixture likelihoods against torch.distributions and by hand."""

from __future__ import annotations

import math

import pytest
import torch
from torch.distributions import (
    AffineTransform,
    Categorical,
    MixtureSameFamily,
    Normal,
    SigmoidTransform,
    TransformedDistribution,
    Uniform,
)

from objbench.methods.parts import mixture

B, K, H, W = 2, 3, 4, 5
SIGMA = torch.tensor([0.09, 0.11, 0.3])


@pytest.fixture
def scene():
    torch.manual_seed(0)
    log_masks = torch.randn(B, K, 1, H, W).log_softmax(1)
    return torch.rand(B, 3, H, W), torch.rand(B, K, 3, H, W), log_masks


def test_per_channel_is_a_mixture_of_normals_in_every_channel(scene):
    images, means, log_masks = scene
    weights = Categorical(logits=log_masks.expand(-1, -1, 3, -1, -1).movedim(1, -1))
    components = Normal(means.movedim(1, -1), SIGMA)
    expected = MixtureSameFamily(weights, components).log_prob(images).sum((1, 2, 3))
    torch.testing.assert_close(mixture.per_channel(*scene, SIGMA, normalised=True), expected)


def test_composed_is_one_normal_around_the_composed_image(scene):
    images, means, log_masks = scene
    expected = Normal((log_masks.exp() * means).sum(1), 0.3).log_prob(images).sum((1, 2, 3))
    torch.testing.assert_close(mixture.composed(*scene, 0.3, normalised=True), expected)


@pytest.mark.parametrize("form", [mixture.per_channel, mixture.composed])
def test_equal_components_are_one_plain_normal(scene, form):
    images, means, log_masks = scene
    same = means[:, :1].expand_as(means)
    expected = Normal(means[:, 0], 0.7).log_prob(images).sum((1, 2, 3))
    torch.testing.assert_close(form(images, same, log_masks, 0.7, normalised=True), expected)


@pytest.mark.parametrize("form", [mixture.per_channel, mixture.composed])
def test_normalising_takes_off_half_log_two_pi_per_value(scene, form):
    gap = form(*scene, 0.1, normalised=False) - form(*scene, 0.1, normalised=True)
    torch.testing.assert_close(gap, torch.full((B,), 3 * H * W * 0.5 * math.log(2 * math.pi)))


def test_a_perfect_image_has_the_floor_that_goals_are_measured_from():
    image = torch.rand(1, 3, 2, 2)
    likelihood = mixture.per_channel(image, image[:, None], torch.zeros(1, 1, 1, 2, 2), 0.7, normalised=True)
    assert -likelihood.item() / 12 == pytest.approx(0.5623, abs=5e-5)


def test_masks_of_zero_leave_the_gradient_finite(scene):
    images, means, _ = scene
    means.requires_grad_()
    log_masks = torch.full((B, K, 1, H, W), -1e4)
    log_masks[:, 0] = 0
    mixture.per_channel(images, means, log_masks, SIGMA, normalised=True).sum().backward()
    assert means.grad.isfinite().all()
    assert (means.grad[:, 1:] == 0).all()


def test_logistic_density():
    values, means = torch.linspace(-1, 2, 7), torch.tensor(0.4)
    standard = TransformedDistribution(
        Uniform(torch.tensor(0.0).double(), torch.tensor(1.0).double()), [SigmoidTransform().inv]
    )
    law = TransformedDistribution(standard, AffineTransform(means.double(), 0.3))
    expected = law.log_prob(values.double()).float()
    torch.testing.assert_close(mixture.logistic(values, means, 0.3), expected)


def test_logistic_density_does_not_overflow_far_from_the_mean():
    density = mixture.logistic(torch.tensor([-30.0, 30.0]), torch.tensor(0.0), 0.03)
    torch.testing.assert_close(density, torch.full((2,), -1000 - math.log(0.03)))


def test_bfloat16_inputs_are_computed_in_float32(scene):
    low = [part.bfloat16() for part in scene]
    found = mixture.per_channel(*low, 0.1, normalised=True)
    expected = mixture.per_channel(*(part.float() for part in low), 0.1, normalised=True)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, expected)
