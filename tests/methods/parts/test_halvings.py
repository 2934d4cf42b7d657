"""Halving convolutions: what they leave of a map, and their layers."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from objbench.methods.parts.halvings import halvings, places


@pytest.mark.parametrize(("size", "left"), [((35, 35), 9), ((64, 64), 16), ((48, 20), 6), ((1, 1), 1)])
def test_features_are_channels_times_places(size, left):
    stack = nn.Sequential(*halvings(4, [2, 3, 5, 6], nn.ELU))
    assert places(size, 4) == left
    assert stack(torch.rand(2, 4, *size)).shape == (2, 6 * left)


@pytest.mark.parametrize(
    ("norm", "kinds"),
    [
        (None, [nn.Conv2d, nn.ReLU, nn.Conv2d, nn.ReLU, nn.Flatten]),
        (
            nn.BatchNorm2d,
            [nn.Conv2d, nn.BatchNorm2d, nn.ReLU, nn.Conv2d, nn.BatchNorm2d, nn.ReLU, nn.Flatten],
        ),
    ],
)
def test_a_norm_stands_before_each_activation(norm, kinds):
    assert [type(layer) for layer in halvings(3, [4, 8], nn.ReLU, norm)] == kinds
