import pytest
import torch

from objbench.methods.parts.background_start import begin_background


@pytest.mark.parametrize(("start", "colour"), [("median", [0.01, 0.3, 0.99]), ("grey", [0.5, 0.5, 0.5])])
def test_a_background_begins_with_grey_or_with_the_median_colour_whatever_its_latents(start, colour):
    last = torch.nn.Conv2d(4, 3, 1)
    images = torch.tensor([0.0, 0.3, 1.0]).view(1, 3, 1, 1).repeat(3, 1, 5, 5)
    images[:, :, :2] = 0.7
    with torch.no_grad():
        last.bias.zero_()
        last.weight.mul_(1e-3)
        begin_background(last, images, start)
    painted = last(torch.randn(2, 4, 6, 6)).sigmoid()
    torch.testing.assert_close(painted.mean((0, 2, 3)), torch.tensor(colour), atol=0.01, rtol=0)
