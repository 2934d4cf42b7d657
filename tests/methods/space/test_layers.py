"""SPACE's settings of layers: what they say, and lists that do not fit together."""

from __future__ import annotations

import pytest
import torch

from objbench.errors import RequestError
from objbench.methods.parts.conv_stack import Layer, conv_stack
from objbench.methods.space.layers import Convolutions, Upscalings, convolutions, side_after, upscalings


def test_a_stage_is_a_wide_convolution_a_pixel_shuffle_and_a_convolution():
    settings = Upscalings(channels=[8, 4, 6], upscales=[2, 4], groups=[4, 2, 3])
    assert upscalings("model.decoder", settings) == [
        Layer(8, 1, groups=4),
        Layer(4, 1, upscale=2, groups=2),
        Layer(4, 3, groups=2),
        Layer(6, 1, upscale=4, groups=3),
        Layer(6, 3, groups=3),
    ]


@pytest.mark.parametrize("side", [9, 16, 35])
def test_the_side_after_convolutions_is_that_of_their_output(side):
    settings = Convolutions(channels=[4, 4, 4], kernels=[4, 3, 4], strides=[2, 1, 1], groups=[1, 1, 1])
    layers = convolutions("model.encoder", settings)
    layers[-1] = layers[-1]._replace(padding=0)
    assert conv_stack(3, layers)(torch.zeros(1, 3, side, side)).shape[2] == side_after(side, layers)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"kernels": [3]}, r"model\.encoder\.kernels: expected 2 numbers, to fit its channels, found \[3\]"),
        ({"strides": [1, 1, 1]}, r"model\.encoder\.strides: expected 2 numbers"),
        ({"groups": [4]}, r"model\.encoder\.groups: expected 2 numbers"),
        ({"groups": [4, 3]}, r"model\.encoder\.groups: expected divisors of the channels \[8, 4\]"),
    ],
)
def test_convolutions_that_do_not_fit_together_are_refused(change, message):
    lists = {"channels": [8, 4], "kernels": [3, 3], "strides": [1, 1], "groups": [4, 2]}
    with pytest.raises(RequestError, match=message):
        convolutions("model.encoder", Convolutions(**lists | change))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"upscales": [2, 2]}, r"model\.decoder\.upscales: expected 1 number, to fit its channels"),
        ({"groups": [5, 2]}, r"model\.decoder\.groups: expected divisors"),
    ],
)
def test_upscalings_that_do_not_fit_together_are_refused(change, message):
    with pytest.raises(RequestError, match=message):
        upscalings(
            "model.decoder", Upscalings(**{"channels": [8, 4], "upscales": [2], "groups": [4, 2]} | change)
        )
