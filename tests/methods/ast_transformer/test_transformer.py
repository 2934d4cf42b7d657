"""The transformer encoder: equal to torch's in value, gradient and initial values, with attention in float32."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from objbench.methods.ast_transformer.transformer import TransformerLayer, transformer_encoder

NAMES = {
    "attend_in.weight": "self_attn.in_proj_weight",
    "attend_in.bias": "self_attn.in_proj_bias",
    "attend_out": "self_attn.out_proj",
    "mlp_in": "linear1",
    "mlp_out": "linear2",
    "attend_norm": "norm1",
    "mlp_norm": "norm2",
}


def renamed(state):
    """A state of ours under the names of torch's layer."""
    found = {}
    for name, value in state.items():
        start = next(key for key in NAMES if name.startswith(key))
        found[NAMES[start] + name.removeprefix(start)] = value
    return found


def test_it_computes_what_torch_computes():
    torch.manual_seed(0)
    ours = TransformerLayer(16, 4, 24, 0.0)
    for parameter in ours.parameters():
        nn.init.normal_(parameter)
    theirs = nn.TransformerEncoderLayer(16, 4, 24, 0.0, batch_first=True)
    theirs.load_state_dict(renamed(ours.state_dict()))
    tokens = torch.randn(3, 5, 16)
    one, two = tokens.clone().requires_grad_(), tokens.clone().requires_grad_()
    found, expected = ours(one), theirs(two)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
    found[..., 0].sum().backward()
    expected[..., 0].sum().backward()
    torch.testing.assert_close(one.grad, two.grad, rtol=1e-3, atol=1e-5)


def test_initial_values_have_torchs_spread_and_are_the_same_in_all_layers():
    torch.manual_seed(0)
    layers = transformer_encoder(64, 4, 96, 0.1, 3)
    theirs = nn.TransformerEncoderLayer(64, 4, 96, 0.1, batch_first=True).state_dict()
    for name, value in renamed(layers[0].state_dict()).items():
        assert value.std().item() == pytest.approx(theirs[name].std().item(), rel=0.15), name
    states = [layer.state_dict() for layer in layers]
    assert all(torch.equal(states[0][name], state[name]) for state in states for name in state)
    assert len({id(parameter) for parameter in layers.parameters()}) == 3 * 12


def test_it_drops_in_training_alone():
    torch.manual_seed(0)
    layer, tokens = TransformerLayer(16, 4, 24, 0.5), torch.randn(2, 5, 16)
    assert not torch.equal(layer(tokens), layer(tokens))
    layer.eval()
    assert torch.equal(layer(tokens), layer(tokens))


def test_tokens_have_no_order():
    layer, tokens = TransformerLayer(16, 4, 24, 0.1).eval(), torch.randn(2, 5, 16)
    order = torch.tensor([3, 0, 4, 1, 2])
    torch.testing.assert_close(layer(tokens[:, order]), layer(tokens)[:, order])
