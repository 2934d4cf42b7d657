"""COMET's encoder: the size of its map, and its looks by their formula."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn.functional import avg_pool2d, conv2d, silu

from objbench.methods.comet.encoder import RecurrentEncoder, ResidualBlock, halving


@pytest.mark.parametrize(("side", "places"), [(64, 16), (35, 9)])
def test_four_blocks_leave_as_many_places_as_in_the_published_code(side, places):
    encoder = RecurrentEncoder(2, 4, 3)
    maps = encoder.blocks(encoder.first(torch.rand(1, 3, side, side)))
    assert maps[0, 0].numel() == places


def test_the_pool_is_a_mean_of_nine_places_of_which_those_beyond_the_border_are_zero():
    maps = torch.arange(1.0, 10.0).view(1, 1, 3, 3)
    expected = torch.tensor([[1 + 2 + 4 + 5, 2 + 3 + 5 + 6], [4 + 5 + 7 + 8, 5 + 6 + 8 + 9]]) / 9
    torch.testing.assert_close(halving()(maps)[0, 0], expected)


def test_a_block_by_its_formula():
    block, maps = ResidualBlock(4), torch.randn(2, 4, 6, 5)

    def convolved(layer, x):
        return silu(conv2d(x, layer.weight, layer.bias, padding=1))

    inner = convolved(block.second, convolved(block.first, maps))
    expected = avg_pool2d(convolved(block.last, inner + maps), 3, 2, 1)
    torch.testing.assert_close(block(maps), expected)


def test_latents_are_those_of_an_lstm_that_looks_at_the_places_by_its_cell_state():
    torch.manual_seed(0)
    encoder, images = RecurrentEncoder(4, 1, 3), torch.rand(2, 3, 6, 6)
    places = encoder.blocks(encoder.first(images).clamp(min=0)).flatten(2).transpose(1, 2)
    first, _, second = encoder.score
    found = encoder(images, 3)
    for image in range(2):
        hidden = state = torch.zeros(1, 4)
        for step in range(3):
            pairs = torch.stack([torch.cat([state[0], place]) for place in places[image]])
            scores = second.weight @ (first.weight @ pairs.T + first.bias[:, None]).relu()
            weighted = (scores.exp() / scores.exp().sum()) @ pairs
            hidden, state = lstm_step(encoder.cell, encoder.seen(weighted), hidden, state)
            torch.testing.assert_close(found[image, step], encoder.latent(hidden)[0])


def lstm_step(cell: nn.LSTMCell, inputs, hidden, state):
    """One step of an LSTM: input, forget, cell and output gates."""
    raw = inputs @ cell.weight_ih.T + cell.bias_ih + hidden @ cell.weight_hh.T + cell.bias_hh
    enter, keep, new, out = raw.chunk(4, dim=1)
    state = keep.sigmoid() * state + enter.sigmoid() * new.tanh()
    return out.sigmoid() * state.tanh(), state


def test_more_looks_do_not_change_those_before():
    torch.manual_seed(0)
    encoder, images = RecurrentEncoder(4, 1, 3), torch.rand(2, 3, 6, 6)
    torch.testing.assert_close(encoder(images, 5)[:, :2], encoder(images, 2))
