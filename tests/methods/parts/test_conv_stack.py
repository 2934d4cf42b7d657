"""Convolution stacks in the forms that SPACE and GNM use, and against layers written out."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from objbench.methods.parts.conv_stack import Layer, conv_stack


def test_activation_comes_before_the_norm():
    conv, celu, norm = conv_stack(3, [Layer(8, 3, 2, groups=4)])
    assert (conv.padding, conv.stride) == ((1, 1), (2, 2))
    x = torch.randn(2, 3, 8, 8)
    expected = F.group_norm(F.celu(F.conv2d(x, conv.weight, conv.bias, 2, 1)), 4, norm.weight, norm.bias)
    torch.testing.assert_close(nn.Sequential(conv, celu, norm)(x), expected)


def test_a_linear_output_ends_with_the_convolution():
    kinds = [type(layer) for layer in conv_stack(3, [Layer(8), Layer(4, 1, upscale=2)], linear_output=True)]
    assert kinds == [nn.Conv2d, nn.CELU, nn.GroupNorm, nn.Conv2d, nn.PixelShuffle]


def test_upscaling_puts_four_channels_into_a_square():
    conv, shuffle = conv_stack(1, [Layer(1, 1, upscale=2)], linear_output=True)
    assert conv.out_channels == 4
    assert shuffle(torch.tensor([1.0, 2, 3, 4]).view(1, 4, 1, 1)).tolist() == [[[[1, 2], [3, 4]]]]


def test_the_image_encoder_of_space_makes_eight_by_eight_of_128():
    layers = [Layer(16, 4, 2, groups=4), Layer(32, 4, 2, groups=8), Layer(64, 4, 2, groups=8)]
    layers += [Layer(128, 3, 1, groups=16), Layer(256, 3, 2, groups=32), Layer(128, 1, groups=16)]
    assert conv_stack(3, layers)(torch.zeros(1, 3, 128, 128)).shape == (1, 128, 8, 8)


def test_a_valid_convolution_makes_one_place_of_four_by_four():
    assert conv_stack(3, [Layer(8, 4, groups=4, padding=0)])(torch.zeros(1, 3, 4, 4)).shape == (1, 8, 1, 1)


def test_the_image_encoder_of_gnm_makes_four_by_four_of_128():
    widths, kernels, strides = (16, 16, 32, 32, 64, 64, 128, 128, 128), (4, 3) * 4 + (4,), (2, 1) * 4 + (2,)
    layers = [Layer(*numbers) for numbers in zip(widths, kernels, strides, strict=True)]
    assert conv_stack(3, layers)(torch.zeros(1, 3, 128, 128)).shape == (1, 128, 4, 4)


def test_the_background_decoder_of_gnm_makes_128_of_four():
    factors, widths, kernels = (4, 2, 4, 2, 2, 1)[1:], (64, 32, 16, 8, 3), (1, 1, 1, 1, 3)
    layers = [Layer(128, 1, upscale=4)]
    layers += [Layer(w, k, upscale=u) for w, k, u in zip(widths, kernels, factors, strict=True)]
    assert conv_stack(10, layers, linear_output=True)(torch.zeros(1, 10, 1, 1)).shape == (1, 3, 128, 128)
