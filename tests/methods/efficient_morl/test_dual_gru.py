"""The DualGRU against torch's own cells."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from objbench.methods.efficient_morl.dual_gru import DualGRU


def dual_of(first: nn.GRUCell, second: nn.GRUCell) -> DualGRU:
    dual = DualGRU(first.hidden_size)
    with torch.no_grad():
        dual.weight_input.copy_(torch.stack([first.weight_ih, second.weight_ih]))
        dual.weight_state.copy_(torch.stack([first.weight_hh, second.weight_hh]))
        dual.bias_input.copy_(torch.stack([first.bias_ih, second.bias_ih]))
        dual.bias_state.copy_(torch.stack([first.bias_hh, second.bias_hh]))
    return dual


def test_it_is_two_gru_cells_that_see_the_same_input():
    torch.manual_seed(0)
    first, second = nn.GRUCell(5, 5), nn.GRUCell(5, 5)
    inputs, state = torch.randn(2, 3, 5), torch.randn(2, 3, 10)
    found = dual_of(first, second)(inputs, state)
    expected = [
        cell(inputs.flatten(0, 1), half.flatten(0, 1)).view(2, 3, 5)
        for cell, half in zip((first, second), state.chunk(2, dim=-1), strict=True)
    ]
    torch.testing.assert_close(found, torch.cat(expected, dim=-1))


def test_each_cell_sees_nothing_of_the_other_ones_state():
    torch.manual_seed(0)
    dual, inputs, state = DualGRU(4), torch.randn(1, 4), torch.randn(1, 8)
    other = torch.cat([state[:, :4], torch.randn(1, 4)], dim=1)
    one, two = dual(inputs, state), dual(inputs, other)
    assert torch.equal(one[:, :4], two[:, :4])
    assert not torch.isclose(one[:, 4:], two[:, 4:]).any()


def test_everything_starts_as_standard_normal():
    torch.manual_seed(0)
    for name, parameter in DualGRU(64).named_parameters():
        tolerance = 4 / parameter.numel() ** 0.5
        assert parameter.mean().item() == pytest.approx(0, abs=tolerance), name
        assert parameter.std().item() == pytest.approx(1, abs=tolerance), name


def test_it_stays_in_float32_under_autocast():
    torch.manual_seed(0)
    dual, inputs, state = DualGRU(4), torch.randn(2, 4), torch.randn(2, 8)
    with torch.autocast("cpu", torch.bfloat16):
        found = dual(inputs.bfloat16(), state)
    torch.testing.assert_close(found, dual(inputs.bfloat16().float(), state))
