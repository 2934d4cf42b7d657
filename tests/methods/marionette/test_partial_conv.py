"""Partial convolution against its definition with a mask of known pixels."""

from __future__ import annotations

import pytest
import torch
from torch.nn.functional import conv2d, pad

from objbench.methods.marionette.partial_conv import PartialConv


def by_definition(layer, images):
    """Pad by hand, and divide by the share of known pixels under the kernel."""
    known = pad(torch.ones(1, 1, *images.shape[2:], dtype=images.dtype), (1, 1, 1, 1))
    padded = pad(images, (1, 1, 1, 1))
    height, width = (-(-length // layer.stride[0]) for length in images.shape[2:])
    found = images.new_empty(len(images), layer.out_channels, height, width)
    for y in range(height):
        for x in range(width):
            top, left = y * layer.stride[0], x * layer.stride[0]
            part = (..., slice(top, top + 3), slice(left, left + 3))
            response = torch.einsum("bcij,dcij->bd", padded[part], layer.weight)
            found[..., y, x] = response * 9 / known[part].sum() + layer.bias
    return found


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("size", [(6, 8), (5, 7), (2, 2), (1, 1), (1, 4)])
def test_the_response_is_divided_by_the_share_of_known_pixels(size, stride):
    torch.manual_seed(0)
    layer = PartialConv(3, 4, size, stride).double()
    images = torch.rand(2, 3, *size, dtype=torch.float64)
    torch.testing.assert_close(layer(images), by_definition(layer, images))


def test_in_the_middle_it_is_a_plain_convolution():
    layer, images = PartialConv(3, 4, (6, 6)), torch.rand(2, 3, 6, 6)
    plain = conv2d(images, layer.weight, layer.bias)
    torch.testing.assert_close(layer(images)[..., 1:-1, 1:-1], plain)


def test_with_equal_weights_the_border_of_a_plain_image_is_not_darker():
    layer = PartialConv(1, 1, (4, 6))
    with torch.no_grad():
        layer.weight.fill_(1.0)
        layer.bias.fill_(0.5)
    torch.testing.assert_close(layer(torch.full((1, 1, 4, 6), 2.0)), torch.full((1, 1, 4, 6), 18.5))


def test_in_bfloat16_it_stays_bfloat16():
    layer, images = PartialConv(3, 4, (6, 6)), torch.rand(2, 3, 6, 6)
    with torch.autocast("cpu", torch.bfloat16):
        found = layer(images)
    assert found.dtype == torch.bfloat16
    torch.testing.assert_close(found.float(), layer(images), rtol=0.02, atol=0.02)
