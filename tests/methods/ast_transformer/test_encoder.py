"""The encoder of AST: soft-argmax against its formula, layers as published, what an object's latent holds."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from objbench.methods.ast_transformer.encoder import Latents, ObjectEncoder, ResidualUNet


def encoder(scales=2, side=8, objects=3, what=5):
    torch.manual_seed(0)
    return ObjectEncoder(side, objects, Latents(scales, what), [4, 6, 8], (16, 4, 24, 0.1, 2), (1.3, 24.0))


class Same(nn.Module):
    """In place of a layer: its input."""

    def forward(self, x):
        return x


def without_transformer(**sizes):
    """An encoder whose latents are what was pooled."""
    found = encoder(**sizes).eval()
    found.enter = found.transformer = found.leave = Same()
    return found


def give(model, maps):
    """Let the U-Net give these maps."""
    model.features.register_forward_hook(lambda *_: maps)


def test_an_object_is_where_its_attention_is_and_has_what_is_there():
    model = without_transformer()
    features = torch.randn(2, 8, 8, 8)
    attention = torch.full((2, 3, 8, 8), -50.0)
    places = [(0, 7), (7, 0), (2, 5)]  # rows and columns
    for k, (y, x) in enumerate(places):
        attention[:, k, y, x] = 50.0
    give(model, torch.cat([attention, features], 1))
    found = model(torch.rand(2, 3, 8, 8))
    expected = torch.tensor([[2 * x / 7 - 1, 2 * y / 7 - 1] for y, x in places])
    torch.testing.assert_close(found.where[..., 2:], expected.expand(2, 3, 2))
    there = torch.stack([features[:, :, y, x] for y, x in places], 1)  # (B,K,F): two scales, activation, look
    torch.testing.assert_close(found.activation, there[..., 2])
    torch.testing.assert_close(found.what, there[..., 3:])
    torch.testing.assert_close(1 / found.where[..., :2], 1.3 + 22.7 * there[..., :2].sigmoid())
    torch.testing.assert_close(found.attention.sum((2, 3)), torch.ones(2, 3))


def test_pooling_is_the_sum_of_the_product_of_every_map_with_every_feature():
    model = without_transformer()
    maps = torch.randn(2, 3 + 8, 8, 8)
    give(model, maps)
    found = model(torch.rand(2, 3, 8, 8))
    attention = maps[:, :3].flatten(2).softmax(2).view(2, 3, 1, 8, 8)
    pooled = (attention * maps[:, None, 3:]).sum((3, 4))
    torch.testing.assert_close(found.what, pooled[..., 3:], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("scales", [1, 2])
def test_activation_has_a_place_of_its_own_beside_the_look_whatever_the_number_of_scales(scales):
    model = without_transformer(scales=scales)
    maps = torch.zeros(1, 3 + scales + 1 + 5, 8, 8)
    maps[:, 3 + scales] = 7.0
    give(model, maps)
    found = model(torch.rand(1, 3, 8, 8))
    torch.testing.assert_close(found.activation, torch.full((1, 3), 7.0))
    assert (found.what == 0).all()
    sizes = found.where[..., :2]
    torch.testing.assert_close(sizes, torch.full((1, 3, 2), 1 / (1.3 + 22.7 / 2)))


def test_boxes_of_one_scale_are_square_and_those_of_two_are_not():
    images = torch.rand(2, 3, 8, 8)
    square, wide = (encoder(scales).eval()(images).where[..., :2] for scales in (1, 2))
    assert torch.equal(square[..., 0], square[..., 1])
    assert not torch.allclose(wide[..., 0], wide[..., 1])


def test_places_are_clamped_to_the_image():
    model = encoder().eval()
    nn.init.zeros_(model.leave.weight)
    with torch.no_grad():
        model.leave.bias[:2] = torch.tensor([3.0, -3.0])
    centre = model(torch.rand(1, 3, 8, 8)).where[..., 2:]
    torch.testing.assert_close(centre, torch.tensor([1.0, -1.0]).expand(1, 3, 2))


def test_the_transformer_replaces_the_latents():
    model = encoder().eval()
    nn.init.zeros_(model.leave.weight)
    nn.init.zeros_(model.leave.bias)
    found = model(torch.rand(1, 3, 8, 8))
    assert (found.what == 0).all()  # not added to what was pooled
    assert (found.activation == 0).all()


def test_soft_argmax_is_float32_in_bfloat16():
    model = without_transformer()
    give(model, torch.zeros(1, 11, 8, 8).index_fill(1, torch.tensor([0]), 0.0))
    with torch.autocast("cpu", torch.bfloat16):
        found = model(torch.rand(1, 3, 8, 8))
    assert {part.dtype for part in found} == {torch.float32}
    sharp = torch.zeros(1, 11, 8, 8)
    sharp[0, 0, 1, 2], sharp[0, 0, 1, 3] = 9.0, 8.5
    other = without_transformer()
    give(other, sharp)
    exact = other(torch.rand(1, 3, 8, 8)).where
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(other(torch.rand(1, 3, 8, 8)).where, exact)


def test_unet_counts_the_parameters_of_its_layers_as_published():
    with torch.device("meta"):
        model = ResidualUNet([80, 128, 192, 256, 256, 256], 10 + 35)
    assert sum(p.numel() for p in model.parameters()) == 22_258_456  # 22 M


def test_unet_halves_with_4x4_convolutions_and_the_last_has_no_bias():
    model = ResidualUNet([4, 6, 8], 5)
    assert [block[0].stride for block in model.down] == [(2, 2), (2, 2)]
    assert [block[0].bias for block in model.down] == [None, None]
    assert [block[1].stride for block in model.up] == [(2, 2), (2, 2)]
    assert model.last[-1].bias is None
    assert model(torch.rand(2, 3, 16, 16)).shape == (2, 5, 16, 16)


def test_every_scale_reaches_the_maps():
    torch.manual_seed(0)
    model = ResidualUNet([4, 6, 8], 5)
    model(torch.rand(2, 3, 16, 16)).square().sum().backward()
    assert all(p.grad is not None for p in model.parameters())
