"""The spatial broadcast decoder in the forms that the methods use, and against convolutions written out."""

from __future__ import annotations

from functools import partial

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from objbench.methods.parts.broadcast import Conv, SpatialBroadcastDecoder, grid_size
from objbench.methods.parts.position import coordinate_grid, soft_position_grid

FORMS = {
    "monet": ([Conv(8, 3, padding=0)] * 4 + [Conv(4, 1)], (64, 64), (72, 72)),
    "emorl iodine": ([Conv(8, 3, padding=0)] * 4 + [Conv(4, 3, padding=0)], (64, 64), (74, 74)),
    "emorl small": ([Conv(8, 5, padding=1)] * 3 + [Conv(4, 3)], (35, 35), (41, 41)),
    "iodine": ([Conv(8, 3)] * 4 + [Conv(4, 3)], (35, 35), (35, 35)),
    "slot attention": ([Conv(8, 5, 2)] * 4 + [Conv(8, 5), Conv(4, 3)], (128, 128), (8, 8)),
    "genesis-v2, not divisible": ([Conv(8, 5, 2)] * 4 + [Conv(4, 1)], (35, 50), (3, 4)),
    "not square": ([Conv(8, 3, padding=0), Conv(4, 5, 3)], (12, 30), (6, 12)),
}


@pytest.mark.parametrize("form", FORMS)
def test_layers_decide_the_grid_and_end_at_the_image(form):
    layers, size, grid = FORMS[form]
    assert grid_size(size, layers) == grid
    decoder = SpatialBroadcastDecoder(6, size, layers)
    assert decoder(torch.randn(2, 6)).shape == (2, 4, *size)


@pytest.mark.parametrize("stride", [2, 3, 4, 5])
def test_a_transposed_layer_makes_maps_exactly_stride_times_as_large(stride):
    assert Conv(4, 5, stride).build(3)(torch.zeros(1, 3, 8, 7)).shape == (1, 4, 8 * stride, 7 * stride)


def test_where_the_kernel_is_the_stride_each_place_paints_its_own_square():
    layer = Conv(1, 5, 5).build(1)
    with torch.no_grad():
        layer.weight.fill_(1)
        layer.bias.zero_()
    painted = layer(torch.eye(3)[None, None])
    assert torch.equal(painted[0, 0], torch.eye(3).repeat_interleave(5, 0).repeat_interleave(5, 1))


def test_the_published_transposed_layer_has_padding_two_and_output_padding_one():
    layer = Conv(4, 5, 2).build(3)
    assert (layer.padding, layer.output_padding) == ((2, 2), (1, 1))


def test_valid_form_with_coordinates_is_two_plain_convolutions():
    layers = [Conv(5, 3, padding=0), Conv(4, 1)]
    decoder = SpatialBroadcastDecoder(3, (6, 7), layers, planes=coordinate_grid, activation=nn.ELU)
    first, _, second = decoder.layers
    z = torch.randn(2, 3)
    maps = torch.cat([z[:, :, None, None].expand(2, 3, 8, 9), coordinate_grid(8, 9).expand(2, 2, 8, 9)], 1)
    hidden = F.elu(F.conv2d(maps, first.weight, first.bias))
    torch.testing.assert_close(decoder(z), F.conv2d(hidden, second.weight, second.bias))


def test_without_planes_a_soft_position_embedding_is_added():
    decoder = SpatialBroadcastDecoder(3, (4, 5), [Conv(4, 1)])
    z = torch.randn(2, 3)
    maps = z[:, None, None] + decoder.position.projection(soft_position_grid(4, 5))  # B,H,W,Z
    (layer,) = decoder.layers
    torch.testing.assert_close(
        decoder(z), F.conv2d(maps.movedim(-1, 1), layer.weight, layer.bias), rtol=1e-4, atol=1e-5
    )


def test_group_norm_stands_before_each_activation_and_not_after_the_last_layer():
    decoder = SpatialBroadcastDecoder(
        3, (8, 8), [Conv(6, 5, 2), Conv(6, 5, 2), Conv(4, 1)], norm=partial(nn.GroupNorm, 2)
    )
    kinds = [type(layer) for layer in decoder.layers]
    hidden = [nn.ConvTranspose2d, nn.GroupNorm, nn.ReLU]
    assert kinds == [*hidden, *hidden, nn.Conv2d]


def test_the_planes_are_no_part_of_the_weights():
    decoder = SpatialBroadcastDecoder(3, (8, 8), [Conv(4, 1)], planes=coordinate_grid)
    assert set(decoder.state_dict()) == {"layers.0.weight", "layers.0.bias"}
