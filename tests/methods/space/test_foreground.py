"""SPACE's foreground: importance, the boundary, divergences and boxes on cases worked out by hand."""

from __future__ import annotations

import math

import pytest
import torch
from torch.distributions import Bernoulli, Normal, kl_divergence

from objbench.errors import RequestError
from objbench.methods.parts.gaussian import Gaussian
from objbench.methods.space.foreground import (
    CellEncoder,
    Cells,
    Foreground,
    GlimpseVAE,
    Objects,
    boundary_loss,
    box_frame,
    divergence,
)
from objbench.methods.space.layers import Convolutions, Upscalings

SIDE = 8


def convolutions(strides=(2, 1), kernels=(4, 1), channels=(4, 4)):
    lists = {"channels": channels, "kernels": kernels, "strides": strides, "groups": [2] * len(channels)}
    return Convolutions(**{name: list(values) for name, values in lists.items()})


def vae(side=SIDE, encoder=None, upscales=(2, 4)):
    return GlimpseVAE(
        side,
        3,
        encoder or convolutions(),
        Upscalings(channels=[4, 4, 4], upscales=list(upscales), groups=[2, 2, 2]),
    )


def foreground(size=(16, 16), frame=2, chunk=None):
    torch.manual_seed(0)
    glimpses = vae(encoder=convolutions(strides=(2, 1), kernels=(4, 4)))
    return Foreground(
        size, CellEncoder(size, convolutions()), glimpses, glimpse=SIDE, frame=frame, chunk=chunk
    )


def objects(where, depth, colours, alpha=1.0, presence=1.0):
    """Boxes of one colour each; alpha is that of the glimpses, before presence."""
    count = len(where)
    rgb = torch.tensor(colours)[None, :, :, None, None].expand(1, count, 3, SIDE, SIDE)
    return Objects(
        presence=torch.full((1, count), presence),
        where=torch.tensor(where)[None],
        depth=torch.tensor(depth)[None, :, None],
        what=torch.zeros(1, count, 2),
        rgb=rgb,
        alpha=torch.full((1, count, 1, SIDE, SIDE), alpha * presence),
    )


RED, BLUE = [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]
WHOLE, LEFT = [1.0, 1.0, 0.0, 0.0], [0.5, 1.0, -0.5, 0.0]  # sx, sy, tx, ty
INSIDE = (
    slice(None),
    slice(None),
    slice(1, -1),
    slice(1, 7),
)  # of the left half of 16x16, where no glimpse ends


def test_boxes_that_do_not_cover_a_pixel_still_have_an_importance_of_zero():
    """A far object of alpha 1 in one of four boxes: exp(i) / (exp(i) + 3), i = 100 sigmoid(-depth) = 1."""
    far = math.log(99)  # sigmoid(-depth) = 0.01
    scene = objects([LEFT] + 3 * [[0.5, 1.0, 0.5, 0.0]], [far, 0.0, 0.0, 0.0], [RED] + 3 * [BLUE])
    scene.alpha[:, 1:] = 0
    picture = foreground().picture(scene)
    weight = math.e / (math.e + 3)
    torch.testing.assert_close(picture.alpha[INSIDE], torch.full((1, 1, 14, 6), weight))
    torch.testing.assert_close(picture.colours[INSIDE][:, :1], torch.full((1, 1, 14, 6), weight))
    assert not picture.alpha[..., 9:].any()


def test_the_nearer_object_hides_the_other():
    picture = foreground().picture(objects([WHOLE, WHOLE], [1.0, -1.0], [RED, BLUE]))
    blue = torch.tensor(BLUE)[None, :, None, None].expand(1, 3, 14, 6)
    torch.testing.assert_close(picture.colours[INSIDE], blue)  # 100 (sigmoid(1) - sigmoid(-1)) = 46
    torch.testing.assert_close(picture.alpha[INSIDE], torch.ones(1, 1, 14, 6))


def test_planes_published_overlap_and_planes_composited_are_the_weights_of_the_picture():
    part, scene = foreground(), objects([WHOLE, LEFT], [0.0, 0.02], [RED, BLUE], alpha=0.9, presence=0.8)
    picture, planes = part.picture(scene), part.planes(scene)
    torch.testing.assert_close(planes.masks[0, :, 0, 5, 5], torch.tensor([0.72, 0.72]))
    gap = 72 * (torch.tensor([0.0, -0.02]).sigmoid() @ torch.tensor([1.0, -1.0])).item()
    first = 1 / (1 + math.exp(-gap))
    expected = 0.72 * torch.tensor([first, 1 - first])
    torch.testing.assert_close(planes.composited[0, :, 0, 5, 5], expected, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(planes.composited.sum(1), picture.alpha)
    painted = (planes.composited * planes.components).sum(1)
    torch.testing.assert_close(painted[INSIDE], picture.colours[INSIDE])


def test_a_few_boxes_at_a_time_make_the_same_picture():
    scene = objects([WHOLE, LEFT, LEFT], [0.0, 0.2, -0.1], [RED, BLUE, RED], alpha=0.9)
    for one, other in zip(foreground().picture(scene), foreground(chunk=2).picture(scene), strict=True):
        torch.testing.assert_close(one, other)


def test_the_order_of_boxes_changes_nothing():
    part, order = foreground(), [2, 0, 1]
    scene = objects([WHOLE, LEFT, [0.3, 0.4, 0.2, 0.1]], [0.0, 0.01, 0.02], [RED, BLUE, RED], alpha=0.5)
    moved = Objects(*(value[:, order] for value in scene))
    for one, other in zip(part.picture(scene), part.picture(moved), strict=True):
        torch.testing.assert_close(one, other)
    for one, other in zip(part.planes(scene), part.planes(moved), strict=True):
        torch.testing.assert_close(one[:, order], other)


def test_a_frame_has_its_width_on_each_side():
    frame = box_frame(32, 6)
    assert frame.sum().item() == 32 * 32 - 20 * 20
    assert frame[0, :, 16].tolist() == 6 * [1] + 20 * [0] + 6 * [1]


def test_alpha_in_a_frame_is_punished_and_alpha_inside_is_not():
    """One box as large as the image: glimpse and image of 8x8, a frame of 2 pixels, presence 0.5."""
    part = foreground(size=(8, 8), frame=2)
    inside = objects([WHOLE], [0.0], [RED], presence=0.5)
    inside.alpha[:] = 0
    inside.alpha[..., 2:6, 2:6] = 0.5
    everywhere = objects([WHOLE], [0.0], [RED], presence=0.5)
    constant = 64 * (math.log(0.7) + 0.5 * math.log(2 * math.pi))
    assert boundary_loss(part.picture(inside).overlap).item() == pytest.approx(constant, rel=1e-5)
    overlap = part.picture(everywhere).overlap
    value = 0.5 * 0.5 * 1000 / 1024  # alpha, presence, kernel
    expected = torch.full((8, 8), value)
    expected[2:6, 2:6] = 0
    torch.testing.assert_close(overlap[0, 0], expected)
    punished = constant + 48 * 0.5 * (value / 0.7) ** 2
    assert boundary_loss(overlap).item() == pytest.approx(punished, rel=1e-5)


def test_the_alpha_of_one_object_on_the_frame_of_another_is_punished():
    part = foreground(size=(8, 8), frame=2)
    scene = objects([WHOLE, LEFT], [0.0, 0.0], [RED, BLUE])
    scene.alpha[:, 0] = 0
    scene.alpha[:, 0, :, 3:5, 3:5] = 1  # inside its own frame; the other box ends at column 4
    scene.alpha[:, 1] = 0
    overlap = part.picture(scene).overlap[0, 0]
    assert overlap[3, 3].item() == pytest.approx(1000 / 1024 / (1 + math.exp(-50)))
    assert overlap[3, 4].item() == 0


def gaussian(*shape):
    return Gaussian(torch.randn(shape), torch.rand(shape) + 0.1)


def cells(presence):
    return Cells(presence, gaussian(2, 3, 2), gaussian(2, 3, 2), gaussian(2, 3, 1))


def exact(one, mean=0.0, deviation=1.0):
    return kl_divergence(Normal(one.mean, one.deviation), Normal(mean, deviation)).sum((1, 2))


def test_the_divergence_is_that_of_all_latents_of_all_cells():
    torch.manual_seed(0)
    found, what = cells(torch.randn(2, 3)), gaussian(2, 3, 4)
    presence = kl_divergence(Bernoulli(logits=found.presence), Bernoulli(0.05)).sum(1)
    expected = (
        presence + exact(found.scale, -1.0, 0.1) + exact(found.shift) + exact(found.depth) + exact(what)
    )
    size = Gaussian(torch.tensor(-1.0), torch.tensor(0.1))
    torch.testing.assert_close(divergence(found, what, torch.tensor(0.05), size), expected)


def test_cells_without_an_object_pay_their_divergence_too():
    torch.manual_seed(0)
    found, what, size = (
        cells(torch.full((2, 3), -8.8)),
        gaussian(2, 3, 4),
        Gaussian(torch.zeros(()), torch.ones(())),
    )
    nothing = Gaussian(torch.zeros(2, 3, 4), torch.ones(2, 3, 4))
    prior = torch.tensor(0.01)
    difference = divergence(found, what, prior, size) - divergence(found, nothing, prior, size)
    torch.testing.assert_close(difference, exact(what))


def test_logits_of_presence_are_bounded():
    encoder = CellEncoder((16, 16), convolutions())
    with torch.no_grad():
        encoder.heads.bias[0] = 1e6
    torch.testing.assert_close(encoder(torch.rand(1, 3, 16, 16)).presence, torch.full((1, 64), 8.8))


def still(part, bias):
    """The objects of a grey image where the heads say `bias` everywhere, and nothing is random."""
    with torch.no_grad():
        part.encoder.heads.weight.zero_()
        part.encoder.heads.bias.copy_(torch.tensor(bias))
    images = torch.full((1, 3, 16, 16), 0.5)
    return part(images, lambda *shape: torch.zeros(1, *shape), torch.tensor(1.0))[2]


def test_channels_are_presence_then_size_shift_and_depth_x_before_y():
    found = still(foreground(), [0.0, 2.0, -2.0, 0, 0, 0.5, -0.5, 0, 0, 3.0, 0])
    width, height, x, y = found.where[0].T
    torch.testing.assert_close(width, torch.tensor(2.0).sigmoid().expand(64))
    torch.testing.assert_close(height, torch.tensor(-2.0).sigmoid().expand(64))
    move = torch.tensor(0.5).tanh().item()
    middles = 2 * (torch.arange(8) + 0.5) / 8 - 1
    torch.testing.assert_close(x, middles.repeat(8) + move / 4)
    torch.testing.assert_close(y, middles.repeat_interleave(8) - move / 4)
    assert found.depth.unique().tolist() == [3.0]
    assert found.presence.unique().tolist() == [0.5]


def test_a_glimpse_is_what_lies_in_the_box(monkeypatch):
    part, seen = foreground(), {}
    encode = part.vae.encode

    def noted(glimpses):
        seen["glimpses"] = glimpses
        return encode(glimpses)

    monkeypatch.setattr(part.vae, "encode", noted)
    still(part, [0.0] * 11)
    assert seen["glimpses"].shape == (1, 64, 3, SIDE, SIDE)
    middle = seen["glimpses"][0, 8 * 4 + 4]  # half of the image, around a point near its centre
    torch.testing.assert_close(middle, torch.full((3, SIDE, SIDE), 0.5))
    assert seen["glimpses"][0, 0, :, 0, 0].tolist() == [0, 0, 0]  # beyond the image


def test_lateral_convolutions_see_other_cells():
    torch.manual_seed(0)
    encoder = CellEncoder((16, 16), convolutions(strides=(4, 1), kernels=(4, 1)))
    images = torch.rand(1, 3, 16, 16)
    assert encoder.cells == (4, 4)
    assert {part: encoder.get_submodule(part)[0].kernel_size for part in ("lateral", "merge")} == {
        "lateral": (3, 3),
        "merge": (3, 3),
    }
    assert encoder.merge[0].in_channels == 2 * encoder.lateral[0].in_channels
    assert encoder(images).depth.mean.shape == (1, 16, 1)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (
            lambda: CellEncoder((16, 16), convolutions(strides=(1, 1))),
            r"model\.encoder: expected layers that divide 16x16 pixels evenly .*, found '15x15 cells with strides of 1",
        ),
        (
            lambda: CellEncoder((18, 16), convolutions(strides=(4, 1))),
            r"divide 18x16 pixels evenly",
        ),
        (
            lambda: vae(encoder=convolutions(strides=(1, 1), kernels=(3, 3))),
            r"model\.glimpse_encoder: expected layers that leave one place of a glimpse of 8x8 .*, found '6 in a row'",
        ),
        (
            lambda: vae(encoder=convolutions(kernels=(4, 4)), upscales=(2, 2)),
            r"model\.glimpse_decoder\.upscales: expected factors with a product of 8, .* found \[2, 2\]",
        ),
    ],
)
def test_layers_that_do_not_fit_are_refused(build, message):
    with pytest.raises(RequestError, match=message):
        build()
