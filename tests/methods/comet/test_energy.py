"""COMET's energies: the network by its formula, gradients against differences, which steps are differentiated."""

from __future__ import annotations

import pytest
import torch
from torch.nn.functional import avg_pool2d, conv2d, silu

from objbench.methods.comet.energy import ConditionalBlock, Energy

SIDE, LATENT, STEP_SIZE = 6, 3, 40.0


@pytest.fixture
def energy():
    """A small energy in double precision, whose second convolutions are not as good as zero."""
    torch.manual_seed(0)
    network = Energy((SIDE, SIDE), 6, 2, LATENT)
    for block in network.blocks:
        torch.nn.init.normal_(block.second.weight, std=0.1)
    return network.double()


def a_case(images=2, latents=3):
    torch.manual_seed(1)
    return (
        torch.rand(images, 3, SIDE, SIDE, dtype=torch.float64),
        torch.randn(images, latents, LATENT, dtype=torch.float64),
    )


def by_hand(energy, image, latent):
    """The energy of one image (3,H,W) and one latent (Z,)."""
    ramp = torch.arange(SIDE, dtype=torch.float64) / (SIDE - 1)
    grid = torch.stack([ramp[:, None].expand(SIDE, SIDE), ramp[None].expand(SIDE, SIDE)])
    seen = torch.cat([convolved(energy.look, image), convolved(energy.place, grid)])
    maps = avg_pool2d(silu(seen)[None], 3, 2, 1)[0]
    for block in energy.blocks:
        hidden = maps
        for layer, gains in ((block.first, block.first_gains), (block.second, block.second_gains)):
            both = gains.weight @ latent + gains.bias
            gain, bias = both[: len(maps), None, None], both[len(maps) :, None, None]
            hidden = silu(gain * convolved(layer, hidden) + bias)
        maps = avg_pool2d(silu(convolved(block.last, maps + hidden))[None], 3, 2, 1)[0]
    return energy.weigh.weight[0] @ maps.mean((1, 2))


def convolved(layer, maps):
    return conv2d(maps[None], layer.weight, layer.bias, padding=1)[0]


def test_the_energy_of_each_pair_is_that_of_its_formula(energy):
    images, latents = a_case()
    expected = [by_hand(energy, images[i], latents[i, slot]) for i in range(2) for slot in range(3)]
    torch.testing.assert_close(energy(images, latents), torch.stack(expected).view(2, 3))


def test_the_second_convolution_of_a_block_begins_near_zero():
    weights = ConditionalBlock(32, 32, 4).second.weight
    assert weights.std().item() == pytest.approx(1e-5, rel=0.05)


def test_the_gradient_is_the_limit_of_differences_of_the_sum_of_energies(energy):
    images, latents = a_case()
    found, small = energy.gradient(images, latents), 1e-5
    for place in [(0, 0, 0, 0), (0, 2, 3, 4), (1, 1, 5, 5)]:
        change = torch.zeros_like(images)
        change[place] = small
        with torch.no_grad():
            more, less = (energy(images + sign * change, latents).sum() for sign in (1, -1))
        assert found[place].item() == pytest.approx(((more - less) / (2 * small)).item(), rel=1e-6)


def test_a_step_goes_down_the_gradient_and_is_cut_to_the_range_of_images(energy):
    images, latents = a_case()
    gradient = energy.gradient(images, latents)
    size = 0.3 / gradient.abs().mean().item()
    expected = torch.minimum(torch.maximum(images - size * gradient, torch.tensor(0.0)), torch.tensor(1.0))
    assert 0 < ((expected == 0) | (expected == 1)).sum() < expected.numel()
    found = energy.descend(images, latents, 1, size)
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(
        energy.descend(images, latents, 2, size), energy.descend(found, latents, 1, size)
    )


def test_small_steps_lower_the_energy(energy):
    images, latents = a_case()
    with torch.no_grad():
        before, after = (
            energy(energy.descend(images, latents, steps, 0.1), latents).sum(1) for steps in (1, 20)
        )
    assert (after < before).all()


def error(energy, images, latents, steps):
    targets = torch.linspace(0, 1, images.numel(), dtype=torch.float64).view_as(images)
    return (energy.descend(images, latents, steps, STEP_SIZE, learn=True) - targets).square().mean()


@pytest.mark.parametrize("of", ["latents", "weights"])
def test_of_all_steps_the_last_one_is_differentiated(energy, of):
    images, latents = a_case()
    latents.requires_grad_()
    learned = latents if of == "latents" else energy.blocks[0].last.weight
    (found,) = torch.autograd.grad(error(energy, images, latents, 3), learned)
    constant = energy.descend(images, latents, 2, STEP_SIZE)  # the image before the last step
    place, small = (0, 1, 2) if of == "latents" else (1, 2, 0, 1), 1e-5
    limits = []
    for start, steps in ((constant, 1), (images, 3)):
        values = []
        for sign in (1, -1):
            with torch.no_grad():
                learned[place] += sign * small
                values.append(error(energy, start, latents, steps).item())
                learned[place] -= sign * small
        limits.append((values[0] - values[1]) / (2 * small))
    assert found[place].item() == pytest.approx(limits[0], rel=1e-5)
    assert found[place].item() != pytest.approx(limits[1], rel=1e-3)  # through all steps


def test_without_learning_no_graph_is_left(energy):
    images, latents = a_case()
    latents.requires_grad_()
    assert not energy.descend(images, latents, 2, STEP_SIZE).requires_grad
    assert energy.descend(images, latents, 2, STEP_SIZE, learn=True).requires_grad
    assert all(parameter.grad is None for parameter in energy.parameters())


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode, torch.enable_grad])
def test_the_gradient_is_the_same_in_every_mode(energy, mode):
    expected = energy.gradient(*a_case())
    with mode():
        assert torch.equal(energy.gradient(*a_case()), expected)
