"""The dVAE: shapes, each token from its own square, initial values."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from objbench.methods.slate.dvae import DiscreteVAE, one_hot


@pytest.mark.parametrize(("upscales", "size"), [([2, 2], (4, 3)), ([5], (2, 1)), ([2, 4], (2, 1))])
def test_a_token_stands_for_a_square_of_the_product_of_the_upscales(upscales, size):
    side = 4 if upscales == [2, 2] else 5 if upscales == [5] else 8
    dvae = DiscreteVAE(7, 6, upscales)
    images = torch.rand(2, 3, size[0] * side, size[1] * side)
    logits = dvae.encode(images)
    assert logits.shape == (2, 7, *size)
    torch.testing.assert_close(logits.exp().sum(1), torch.ones(2, *size))
    assert dvae.decode(logits.exp()).shape == images.shape


def test_tokens_see_other_squares_through_the_norm_alone():
    dvae = DiscreteVAE(7, 6, [2, 2])
    for module in dvae.modules():
        for name, child in module.named_children():
            if isinstance(child, nn.GroupNorm):
                setattr(module, name, nn.Identity())
    images = torch.rand(1, 3, 8, 8)
    changed = images.clone()
    changed[..., :4, 4:] += 1
    differs = (dvae.encode(changed) - dvae.encode(images)).abs().amax(1)[0] > 1e-6
    assert differs.tolist() == [[False, True], [False, False]]


def test_blocks_begin_with_kaiming_s_values_and_plain_layers_with_glorot_s():
    torch.manual_seed(0)
    dvae = DiscreteVAE(256, 64, [2, 2])
    convolutions = [module for module in dvae.modules() if isinstance(module, nn.Conv2d)]
    plain = [module for module in convolutions if module.bias is not None]
    assert [(module.in_channels, module.out_channels) for module in plain] == [(64, 256), (64, 3)]
    for module in convolutions:
        fan_in = module.weight[0].numel()
        bound = (6 / fan_in) ** 0.5 if module.bias is None else (6 / (fan_in + module.out_channels)) ** 0.5
        assert 0.95 * bound < float(module.weight.detach().abs().max()) <= bound
    assert all(not module.bias.any() for module in plain)
    assert len(convolutions) == 8 + 1 + 2 * 4 + 1


def test_one_hot_tokens():
    assert one_hot(torch.tensor([[[2, 0]]]), 3).tolist() == [[[[0.0, 1.0]], [[0.0, 0.0]], [[1.0, 0.0]]]]
