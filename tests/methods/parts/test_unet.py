"""The U-Net: sizes, skips, padding."""

from __future__ import annotations

import pytest
import torch

from objbench.errors import RequestError
from objbench.methods.parts.unet import UNet, demand_pixels, group_norm, instance_norm


@pytest.mark.parametrize("size", [(64, 64), (35, 35), (40, 24), (33, 47)])
def test_maps_have_the_size_of_the_images(size):
    assert UNet(size, 4, 1, [4, 4, 8, 8], instance_norm)(torch.rand(2, 4, *size)).shape == (2, 1, *size)


def test_without_a_head_the_finest_features_come_out():
    features = UNet((16, 16), 3, None, [8, 16, 16], group_norm)(torch.rand(1, 3, 16, 16))
    assert features.shape == (1, 8, 16, 16)
    assert (features >= 0).all()


def test_odd_sizes_are_those_of_the_image_with_its_last_row_and_column_repeated():
    torch.manual_seed(0)
    odd = UNet((6, 7), 3, 1, [4, 4, 4], instance_norm)
    even = UNet((8, 8), 3, 1, [4, 4, 4], instance_norm)
    even.load_state_dict(odd.state_dict())
    images = torch.rand(2, 3, 6, 7)
    repeated = torch.cat([images, images[:, :, :, -1:]], dim=3)
    repeated = torch.cat([repeated, *2 * [repeated[:, :, -1:]]], dim=2)
    torch.testing.assert_close(odd(images), even(repeated)[:, :, :6, :7])


def test_the_way_up_mirrors_the_way_down():
    net = UNet((64, 64), 3, None, [8, 16, 24], group_norm)
    widths = [[(block[0].in_channels, block[0].out_channels) for block in way] for way in (net.down, net.up)]
    assert widths == [[(3, 8), (8, 16), (16, 24)], [(16, 8), (32, 8), (48, 16)]]


def test_skips_carry_what_the_middle_loses():
    """With a bottleneck that says nothing, an image still gets through, at the finest scale."""
    torch.manual_seed(0)
    net = UNet((16, 16), 3, 1, [4, 4], instance_norm)
    for parameter in net.middle.parameters():
        parameter.data.zero_()
    one, two = net(torch.rand(1, 3, 16, 16)), net(torch.rand(1, 3, 16, 16))
    assert (one - two).abs().max() > 0.1


def test_the_middle_carries_news_over_the_whole_image():
    """A changed corner is heard of in the other one, which convolutions alone would not reach."""
    torch.manual_seed(0)
    net = UNet((64, 64), 1, 1, [8, 8], group_norm)
    net.middle[-3].bias.data.fill_(1)  # all units in use
    image = torch.rand(1, 1, 64, 64)
    image.requires_grad_()
    net(image)[0, 0, -1, -1].backward()
    assert image.grad[0, 0, 0, 0] != 0


@pytest.mark.parametrize(("norm", "width"), [(instance_norm, 4), (group_norm, 8)])
def test_too_many_scales_are_refused(norm, width):
    message = r"model.some: expected fewer scales \(a U-Net of 4 leaves a single pixel of images of 8x8.*\), found \["
    with pytest.raises(RequestError, match=message):
        demand_pixels("model.some", [width] * 4, (8, 8), norm)
    demand_pixels("model.some", [width] * 3, (8, 8), norm)


def test_a_single_pixel_of_many_channels_per_group_will_do():
    demand_pixels("model.some", [8, 16], (2, 2), group_norm)
    torch.manual_seed(0)
    net = UNet((2, 2), 1, 1, [8, 16], group_norm)
    one, two = net(torch.rand(2, 1, 2, 2))
    assert not torch.equal(one, two)
