"""Residual networks: sizes, shortcuts, first weights."""

from __future__ import annotations

import pytest
import torch

from objbench.methods.dti_sprites.resnets import Block, resnet


@pytest.mark.parametrize(
    ("name", "count", "shape"),
    [
        ("resnet32", 463_504, (2, 64, 9, 9)),  # 0.46 M as in the paper, less the last layer's 650
        ("resnet8", 74_640, (2, 64, 9, 9)),
        ("resnet18", 11_176_512, (2, 512, 2, 2)),  # 11.69 M as in the paper, less the last layer's 513,000
    ],
)
def test_parameters_and_shapes(name, count, shape):
    network, channels = resnet(name)
    assert sum(parameter.numel() for parameter in network.parameters()) == count
    assert network(torch.rand(2, 3, 35, 35)).shape == shape
    assert channels == shape[1]


def test_a_small_network_has_its_number_of_weighted_layers():
    for name, layers in (("resnet8", 8), ("resnet32", 32)):
        found = sum(isinstance(module, torch.nn.Conv2d) for module in resnet(name)[0].modules())
        assert found == layers - 1  # and the linear layer that is left out


def zero_residual(block):
    torch.nn.init.zeros_(block.residual[-1].weight)
    return block.eval()


def test_a_shortcut_takes_every_second_pixel_and_fills_up_with_zeros():
    maps = torch.rand(1, 4, 5, 6)
    found = zero_residual(Block(4, 8, 2, projected=False))(maps)
    expected = torch.zeros(1, 8, 3, 3)
    expected[:, 2:6] = maps[:, :, ::2, ::2]
    assert torch.equal(found, expected)


def test_a_projected_shortcut_is_a_convolution_and_only_where_the_shape_changes():
    maps = torch.rand(1, 4, 6, 6)
    block = zero_residual(Block(4, 8, 2, projected=True))
    convolution = block.projection[0]
    assert convolution.kernel_size == (1, 1)
    expected = torch.einsum("oi,bihw->bohw", convolution.weight[:, :, 0, 0], maps[:, :, ::2, ::2])
    torch.testing.assert_close(block(maps), expected.relu(), rtol=1e-4, atol=1e-4)
    same = zero_residual(Block(4, 4, 1, projected=True))
    assert same.projection is None
    assert torch.equal(same(maps), maps)


def test_first_weights_have_the_variance_of_their_fan():
    torch.manual_seed(0)
    for name, fan in (("resnet32", "in"), ("resnet18", "out")):
        network, _ = resnet(name)
        convolution = next(
            m
            for m in network.modules()
            if isinstance(m, torch.nn.Conv2d) and m.stride == (2, 2) and m.in_channels > 3
        )
        connections = 9 * (convolution.in_channels if fan == "in" else convolution.out_channels)
        assert convolution.weight.var().item() == pytest.approx(2 / connections, rel=0.1)


def test_an_unknown_network_is_refused():
    with pytest.raises(ValueError, match="resnet50 is none of resnet8, resnet32, resnet18"):
        resnet("resnet50")
