"""The networks of MarioNette: shapes, formulas, and what a norm over a single pixel forgets."""

from __future__ import annotations

import math

import pytest
import torch
from helpers.marionette import norm

from objbench.methods.marionette.networks import Choice, Dictionary, Encoder
from objbench.methods.marionette.partial_conv import PartialConv


@pytest.mark.parametrize(("side", "smallest", "halvings"), [(128, 8, 4), (32, 1, 5), (48, 6, 3), (48, 1, 6)])
def test_an_encoder_halves_until_the_grid_and_has_two_convolutions_per_halving(side, smallest, halvings):
    encoder = Encoder(3, side, 8, smallest=smallest, heads=2)
    convolutions = [layer for layer in encoder.blocks if isinstance(layer, PartialConv)]
    assert [layer.stride[0] for layer in convolutions] == [1, 2] * halvings
    assert encoder(torch.rand(2, 3, side, side)).shape == (2, 2, smallest, smallest, 8)


def test_codes_are_normalised_over_their_dimensions_and_differ_between_heads():
    codes = Encoder(3, 8, 16, smallest=2, heads=2)(torch.rand(2, 3, 8, 8))
    torch.testing.assert_close(codes.mean(-1), torch.zeros(2, 2, 2, 2), rtol=0, atol=1e-5)
    torch.testing.assert_close(codes.var(-1, unbiased=False), torch.ones(2, 2, 2, 2), rtol=0, atol=1e-2)
    assert not torch.allclose(codes[:, 0], codes[:, 1], atol=0.1)


def test_a_code_knows_its_place():
    encoder, images = Encoder(3, 16, 8, smallest=4), torch.rand(1, 3, 16, 16)
    images.requires_grad_()
    encoder.blocks = torch.nn.Sequential(
        *(layer for layer in encoder.blocks if isinstance(layer, PartialConv))
    )
    encoder(images)[0, 0, 0, 3, 0].backward()  # row 0, column 3
    touched = images.grad[0].abs().sum(0) > 0
    assert touched[:4, 12:].all()
    assert not touched[-1].any()
    assert not touched[:, 0].any()


@pytest.mark.parametrize(("width", "sees"), [(8, False), (24, True)])
def test_with_one_channel_per_group_a_code_of_a_whole_image_is_the_same_for_all_images(width, sees):
    torch.manual_seed(0)
    codes = Encoder(3, 16, width, smallest=1)(torch.rand(4, 3, 16, 16)).flatten(1)
    assert ((codes - codes[:1]).abs().max() > 0.01) == sees


def test_pictures_are_decoded_from_normalised_codes():
    dictionary = Dictionary(5, 16, (4, 3, 3))
    torch.testing.assert_close(dictionary.codes(), norm(dictionary.latents))
    first, group_norm, relu, last = dictionary.decoder
    assert (first.out_features, group_norm.num_groups, last.out_features) == (128, 8, 36)
    expected = last(relu(group_norm(first(norm(dictionary.latents))))).sigmoid().view(5, 4, 3, 3)
    torch.testing.assert_close(dictionary.pictures(), expected)
    assert ((expected > 0) & (expected < 1)).all()


def test_latents_are_standard_normal_at_first():
    torch.manual_seed(0)
    latents = Dictionary(150, 128, (1, 1, 1)).latents
    assert latents.mean().abs() < 0.02
    assert latents.std().item() == pytest.approx(1, abs=0.02)


def test_a_mixture_is_the_weighted_sum_of_the_pictures():
    dictionary, weights = Dictionary(3, 16, (4, 2, 2)), torch.rand(2, 5, 3)
    pictures = dictionary.pictures()
    expected = sum(weights[..., i, None, None, None] * pictures[i] for i in range(3))
    torch.testing.assert_close(dictionary.mixed(weights), expected)
    with torch.autocast("cpu", torch.bfloat16):
        assert dictionary.mixed(weights).dtype == torch.float32


def test_a_choice_is_a_softmax_of_scaled_products_and_the_same_in_training_and_after():
    choice, codes, entries = Choice(16), norm(torch.randn(2, 5, 16)), norm(torch.randn(7, 16))
    scores = torch.einsum("bad,nd->ban", norm(choice.project(codes)), entries) / math.sqrt(16)
    expected = scores.exp() / scores.exp().sum(-1, keepdim=True)
    for mode in (choice.train(), choice.eval()):
        torch.testing.assert_close(mode(codes, entries), expected)
