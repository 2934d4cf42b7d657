"""Renewed sprites: which, what is copied with them, and that nothing is shared afterwards."""

from __future__ import annotations

import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.optim import Adam

from objbench.methods.dti_sprites.reassignment import renew, renew_colours, renewal


def test_sprites_below_a_share_of_the_most_used_one_are_renewed():
    usage = torch.tensor([3.0, 100.0, 4.9, 5.1, 9000.0])  # threshold 0.2 / 4 of 100 is 5
    found = renewal(usage, 0.2, has_empty=True)
    assert found.source.tolist() == [1, 1, 1, 3]
    assert found.noisy.tolist() == [True, True, True, False]


def test_without_an_empty_sprite_shares_are_of_all_choices():
    usage = torch.tensor([3.0, 60.0, 37.0, 0.0])
    assert renewal(usage, 0.2, has_empty=False).source.tolist() == [1, 1, 2]  # 0.2 / 3 of 100 is 6.7
    assert renewal(torch.tensor([6.7, 56.3, 37.0, 0.0]), 0.2, has_empty=False).source.tolist() == [0, 1, 2]


def test_nothing_happens_if_all_are_used_or_nothing_was_chosen():
    for counts in ([50.0, 50.0, 0.0], [0.0, 0.0, 7.0]):
        found = renewal(torch.tensor(counts), 0.2, has_empty=True)
        assert found.source.tolist() == [0, 1]
        assert not found.noisy.any()


def trained(shape):
    """A parameter after a step of Adam with gradients of its own."""
    torch.manual_seed(0)
    parameter = nn.Parameter(torch.randn(shape))
    optimizer = Adam([parameter], 0.1)
    parameter.grad = torch.randn(shape)
    optimizer.step()
    return parameter, optimizer


def test_parameters_and_moments_are_copied_between_sprites_in_place():
    parameter, optimizer = trained((2, 3, 4))
    state = optimizer.state[parameter]
    tensors = {"value": parameter.data, **{name: state[name] for name in ("exp_avg", "exp_avg_sq")}}
    before = {name: tensor.clone() for name, tensor in tensors.items()}
    renew(parameter, torch.tensor([2, 1, 2]), 1, [Adam([nn.Parameter(torch.ones(1))]), optimizer])
    for name, tensor in tensors.items():
        assert torch.equal(tensor, before[name][:, [2, 1, 2]]), name
    assert parameter.data is not None
    assert parameter.data_ptr() == tensors["value"].data_ptr()
    assert state["exp_avg"] is tensors["exp_avg"]
    assert state["step"] == 1


def test_moments_of_two_sprites_part_again():
    parameter, optimizer = trained((3, 4))
    renew(parameter, torch.tensor([2, 1, 2]), 0, [optimizer])
    parameter.grad = torch.zeros(3, 4)
    parameter.grad[0] = 1
    optimizer.step()
    moments = optimizer.state[parameter]["exp_avg"]
    assert not torch.equal(moments[0], moments[2])


def test_a_parameter_without_moments_yet_is_copied_all_the_same():
    parameter = nn.Parameter(torch.arange(3.0))
    renew(parameter, torch.tensor([1, 1, 2]), 0, [Adam([parameter])])
    assert parameter.tolist() == [1, 1, 2]


def test_colours_of_the_copies_and_of_their_source_get_noise_and_others_none():
    torch.manual_seed(0)
    colours = nn.Parameter(torch.rand(4, 3, 20, 20))
    before = colours.detach().clone()
    renew_colours(colours, renewal(torch.tensor([1.0, 100, 50, 1, 0]), 0.2, has_empty=True), 1e-2)
    expected = before[[1, 1, 2, 1]]
    difference = (colours - expected).detach()
    assert torch.equal(colours[2], before[2])
    for sprite in (0, 1, 3):
        assert 0.9e-2 < difference[sprite].std().item() < 1.1e-2
    assert not torch.equal(difference[0], difference[3])


def test_a_renewal_reads_no_numbers_from_the_device():
    with FakeTensorMode():
        colours = nn.Parameter(torch.rand(4, 3, 5, 5))
        found = renewal(torch.rand(5), 0.2, has_empty=True)
        renew_colours(colours, found, 1e-4)
        renew(colours, found.source, 0, [])
    assert found.source.shape == (4,)
