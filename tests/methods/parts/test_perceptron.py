"""Perceptrons: an activation between the layers, and none after the last."""

from __future__ import annotations

import torch
from torch import nn

from objbench.methods.parts.perceptron import perceptron


def test_an_activation_stands_between_the_layers():
    assert [type(layer) for layer in perceptron(3, 5, 2)] == [nn.Linear, nn.ReLU, nn.Linear]
    smooth = perceptron(3, 5, 4, 2, activation=nn.ELU)
    assert [type(layer) for layer in smooth] == [nn.Linear, nn.ELU, nn.Linear, nn.ELU, nn.Linear]
    assert smooth(torch.rand(7, 3)).shape == (7, 2)
    assert [type(layer) for layer in perceptron(3, 2)] == [nn.Linear]
