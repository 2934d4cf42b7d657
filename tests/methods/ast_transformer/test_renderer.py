"""The renderer of AST: masks by their formula, objects in their boxes, glimpses as large as published."""

from __future__ import annotations

import pytest
import torch

from objbench.methods.ast_transformer.encoder import Objects
from objbench.methods.ast_transformer.renderer import Picture, Renderer


def objects(where, activation, what=None):
    """Objects of one image."""
    count = len(activation)
    where, activation = torch.tensor(where)[None], torch.tensor(activation)[None]
    return Objects(
        where, activation, torch.randn(1, count, 6) if what is None else what, torch.zeros(1, count, 1, 1)
    )


def opaque(background_activation=11.0):
    """A renderer of white objects with an alpha of one."""
    torch.manual_seed(0)
    renderer = Renderer(6, [8, 4], background_activation)
    torch.nn.init.zeros_(renderer.paint[-1].weight)
    torch.nn.init.constant_(renderer.paint[-1].bias, 30.0)
    return renderer


@pytest.mark.parametrize(
    ("channels", "side"), [([128, 64, 32, 16, 8], 64), ([64, 32, 16, 8], 32), ([8, 4], 8)]
)
def test_glimpses_double_with_every_layer(channels, side):
    renderer = Renderer(32, channels, 11.0)
    assert renderer.paint(torch.rand(1, 32, 1, 1)).shape == (1, 4, side, side)


def test_masks_are_shares_of_strength_with_the_background():
    torch.manual_seed(0)
    renderer = Renderer(6, [8, 4], 2.0)
    boxes = [[0.5, 0.5, 0.0, 0.0], [0.4, 0.8, 0.3, -0.2]]
    some = objects(boxes, [1.5, -0.5])
    background = torch.rand(1, 3, 16, 16)
    picture = renderer(some, background)
    painted = renderer.paint(some.what[0, :, :, None, None]).sigmoid()
    strengths, layers = [torch.full((16, 16), 2.0).exp()], [background[0]]
    for k, (w, h, x, y) in enumerate(boxes):
        theta = torch.tensor([[[1 / w, 0, -x / w], [0, 1 / h, -y / h]]])
        grid = torch.nn.functional.affine_grid(theta, [1, 4, 16, 16], align_corners=False)
        placed = torch.nn.functional.grid_sample(painted[k : k + 1], grid, align_corners=False)[0]
        strengths.append(some.activation[0, k].exp() * (placed[3] + 1e-5))
        layers.append(placed[:3])
    masks = torch.stack(strengths) / torch.stack(strengths).sum(0)
    torch.testing.assert_close(picture.log_masks.exp()[0], masks, rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(picture.layers[0], torch.stack(layers), rtol=1e-4, atol=1e-5)
    expected = (masks[:, None] * torch.stack(layers)).sum(0)
    torch.testing.assert_close(picture.colours[0], expected, rtol=1e-4, atol=1e-5)


def test_at_first_objects_do_not_show():
    renderer = opaque()
    picture = renderer(objects([[0.5, 0.5, 0.0, 0.0]], [0.0]), torch.zeros(1, 3, 16, 16))
    assert picture.colours.max() < 1e-4  # exp(-11)
    assert renderer.background_activation.item() == 11


def test_an_object_in_front_covers_its_box_alone():
    picture = opaque()(objects([[0.5, 0.25, 0.5, 0.0]], [16.0]), torch.zeros(1, 3, 16, 16))
    covered = picture.log_masks.exp()[0, 1] > 0.5
    expected = torch.zeros(16, 16, dtype=torch.bool)
    expected[6:10, 8:16] = True  # half of the width around 3/4, a quarter of the height around the middle
    assert torch.equal(covered, expected)


def test_strengths_beyond_float32_stay_finite():
    picture = opaque()(objects([[1.0, 1.0, 0.0, 0.0]] * 2, [500.0, -500.0]), torch.rand(1, 3, 16, 16))
    assert picture.log_masks.isfinite().all()
    assert picture.colours.isfinite().all()
    torch.testing.assert_close(picture.log_masks.exp().sum(1), torch.ones(1, 16, 16))


def test_colours_mix_layers_by_masks():
    log_masks = torch.tensor([0.25, 0.75]).log()[None, :, None, None].expand(1, 2, 2, 2)
    layers = torch.tensor([0.0, 1.0])[None, :, None, None, None].expand(1, 2, 3, 2, 2)
    torch.testing.assert_close(Picture(log_masks, layers).colours, torch.full((1, 3, 2, 2), 0.75))
