"""StructDRAW: what each step sees, its cells by their formulas, its latents."""

from __future__ import annotations

import torch
from torch import nn

from objbench.methods.gnm.struct_draw import ConvLSTM, StructDRAW, normed_perceptron


def small():
    torch.manual_seed(0)
    return StructDRAW(4, (2, 3), latent=2, steps=3, hidden=[5], decoder_hidden=[6])


def test_as_many_parameters_as_published():
    draw = StructDRAW(128, (4, 4), latent=32, steps=4, hidden=[512, 512], decoder_hidden=[512, 1024])
    assert sum(parameter.numel() for parameter in draw.parameters()) == 5_957_376  # published: 5.96 M


def test_steps_cost_no_parameters():
    few, many = (
        StructDRAW(4, (2, 2), latent=2, steps=steps, hidden=[5], decoder_hidden=[6]) for steps in (1, 7)
    )
    sizes = [{name: value.shape for name, value in draw.state_dict().items()} for draw in (few, many)]
    assert sizes[0] == sizes[1]


def test_the_cell_is_an_lstm_at_each_place():
    torch.manual_seed(0)
    ours, theirs = ConvLSTM(3, 4, (2, 5)), nn.LSTMCell(3, 4)
    keep, write, show, candidate = ours.gates.weight.detach().flatten(1).chunk(4)
    biases = ours.gates.bias.detach().chunk(4)
    with torch.no_grad():  # torch has the order input, forget, candidate, output, and a second bias
        stacked = torch.cat([write, keep, candidate, show])
        theirs.weight_ih.copy_(stacked[:, :3])
        theirs.weight_hh.copy_(stacked[:, 3:])
        theirs.bias_ih.copy_(torch.cat([biases[1], biases[0], biases[3], biases[2]]))
        theirs.bias_hh.zero_()
    inputs, state = torch.randn(2, 3, 2, 5), (torch.randn(2, 4, 2, 5), torch.randn(2, 4, 2, 5))
    found = ours(inputs, state)

    def at_places(maps):
        return maps.permute(0, 2, 3, 1).flatten(0, 2)

    expected = theirs(at_places(inputs), tuple(at_places(half) for half in state))
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(at_places(one), other)


def test_a_hidden_layer_activates_before_it_normalises():
    hidden, last = normed_perceptron(3, 5, 2), normed_perceptron(3, 5, 2, linear=False)
    assert [type(layer) for layer in hidden] == [nn.Linear, nn.CELU, nn.LayerNorm, nn.Linear]
    assert [type(layer) for layer in last[3:]] == [nn.Linear, nn.CELU, nn.LayerNorm]


def test_a_prior_sees_the_latents_before_it_and_never_the_image():
    draw, features, noise = small(), torch.randn(1, 4, 2, 3), torch.randn(1, 3, 2)
    with torch.no_grad():
        first, other_image = draw(features, noise), draw(torch.randn(1, 4, 2, 3), noise)
        changed = noise.clone()
        changed[:, 1] += 1
        later = draw(features, changed)
    assert torch.equal(first.prior.mean[:, 0], other_image.prior.mean[:, 0])
    assert torch.equal(first.prior.mean[:, :2], later.prior.mean[:, :2])
    assert not torch.allclose(first.prior.mean[:, 2], later.prior.mean[:, 2])
    assert not torch.allclose(first.posterior.mean[:, 0], other_image.posterior.mean[:, 0])


def test_a_posterior_sees_what_the_canvas_lacks():
    draw, features, noise = small(), torch.randn(1, 4, 2, 3), torch.zeros(1, 3, 2)
    seen, drawn = [], []
    draw.encoder.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    draw.draw.register_forward_hook(lambda _, given, out: drawn.append(out))
    found = draw(features, noise)
    torch.testing.assert_close(seen[0][:, :8], features.repeat(1, 2, 1, 1))  # the canvas is empty
    torch.testing.assert_close(seen[2][:, 4:8], features - drawn[0] - drawn[1])
    torch.testing.assert_close(found.canvas, sum(drawn))


def test_all_is_drawn_from_the_latents_alone():
    """With the latents of a drawing, other features give the same canvas."""
    draw, noise = small(), torch.randn(1, 3, 2)
    one = draw(torch.randn(1, 4, 2, 3), noise)
    latents = iter(one.latents.unbind(1))
    draw.expand.register_forward_pre_hook(lambda _, given: (next(latents),))
    other = draw(torch.randn(1, 4, 2, 3), noise)
    torch.testing.assert_close(other.canvas, one.canvas)
    assert not torch.allclose(other.posterior.mean, one.posterior.mean)
