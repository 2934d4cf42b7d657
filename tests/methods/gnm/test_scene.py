"""Pictures and masks of hand-made scenes, where every number is known."""

from __future__ import annotations

import pytest
import torch

from objbench.methods.gnm.scene import Painter, Scene, straight_clamp

NO, YES = torch.tensor(False), torch.tensor(True)
SIZE = (8, 8)


def scene(*objects, background=0.2, depth=None):
    """Objects (alpha, colour, box), each of one colour; an image of 8x8."""
    count = len(objects)
    alpha = torch.tensor([float(alpha) for alpha, _, _ in objects])
    rgb = torch.tensor([colour for _, colour, _ in objects])
    return Scene(
        presence=torch.ones(1, count),
        where=torch.tensor([[box for _, _, box in objects]]),
        depth=torch.zeros(1, count, 1) if depth is None else torch.tensor(depth).view(1, count, 1),
        what=torch.zeros(1, count, 2),
        rgb=rgb.view(1, count, 3, 1, 1).expand(-1, -1, -1, 4, 4),
        alpha=alpha.view(1, count, 1, 1, 1).expand(-1, -1, -1, 4, 4),
        background=torch.full((1, 3, *SIZE), background),
    )


RED, BLUE = [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]
WHOLE = [1.0, 1.0, 0.0, 0.0]


def test_a_box_shows_its_object_and_the_rest_the_background():
    """Half of the side, in the middle: pixels 2 to 5, of which bilinear placing leaves 3 and 4 untouched."""
    found = scene((1.0, RED, [0.5, 0.5, 0.0, 0.0]))
    picture, planes = found.render(NO), found.planes()
    torch.testing.assert_close(picture[0, :, 3, 3], torch.tensor(RED))
    torch.testing.assert_close(picture[0, :, 0, 0], torch.full((3,), 0.2))
    assert planes.masks[0, :, 0, 3, 3].tolist() == pytest.approx([0, 1], abs=1e-6)
    assert planes.masks[0, :, 0, 0, 0].tolist() == [1, 0]
    torch.testing.assert_close(planes.components[0, 1, :, 3, 3], torch.tensor(RED))
    torch.testing.assert_close(planes.components[0, 0, :, 3, 3], torch.full((3,), 0.2))


def test_x_comes_first_in_a_box():
    """A flat box at the right."""
    masks = scene((1.0, RED, [0.25, 0.125, 0.75, 0.0])).planes().masks[0, 1, 0]
    columns, rows = masks.sum(0), masks.sum(1)
    assert columns.nonzero().flatten().tolist() == [6, 7]
    assert rows.nonzero().flatten().tolist() == [3, 4]


def test_alphas_that_overlap_sum_to_more_than_one_before_they_are_clamped():
    found = scene((0.8, RED, WHOLE), (0.6, BLUE, WHOLE))
    planes = found.planes()
    assert planes.masks[0, :, 0, 4, 4].tolist() == pytest.approx([-0.4, 0.8, 0.6], abs=1e-6)
    assert planes.masks.sum(1).mean().item() == pytest.approx(1)
    # importance of equal depth is alpha: shares 0.8 / 1.4 and 0.6 / 1.4, of which alpha shows
    shown = [0.0, 0.8 * 0.8 / 1.4, 0.6 * 0.6 / 1.4]
    assert planes.composited[0, :, 0, 4, 4].tolist() == pytest.approx(shown, abs=1e-6)
    expected = [shown[1], 0.0, shown[2]]
    assert found.render(NO)[0, :, 4, 4].tolist() == pytest.approx(expected, abs=1e-6)


def test_gradients_pass_where_the_sum_is_clamped():
    alpha = torch.tensor([1.4, 0.5, -0.1], requires_grad=True)
    clamped = straight_clamp(alpha)
    assert clamped.tolist() == pytest.approx([1, 0.5, 0], abs=1e-6)
    clamped.sum().backward()
    assert alpha.grad.tolist() == [1, 1, 1]


def test_the_nearer_object_hides_the_other():
    found = scene((1.0, RED, WHOLE), (1.0, BLUE, WHOLE), depth=[-20.0, 20.0])
    torch.testing.assert_close(found.render(NO)[0, :, 4, 4], torch.tensor(RED))
    assert found.planes().composited[0, :, 0, 4, 4].tolist() == pytest.approx([0, 1, 0], abs=1e-6)
    assert found.planes().masks[0, :, 0, 4, 4].tolist() == pytest.approx([-1, 1, 1])  # not of the masks


def test_forced_objects_leave_a_tenth_of_the_background_and_their_masks_alone():
    found = scene((0.5, RED, [0.5, 0.5, 0.0, 0.0]))
    picture = found.render(YES)
    assert picture[0, :, 3, 3].tolist() == pytest.approx([0.52, 0.02, 0.02])
    assert picture[0, :, 0, 0].tolist() == pytest.approx([0.02] * 3)
    assert found.planes().masks[0, 1, 0, 3, 3].item() == pytest.approx(0.5)


def painted(count=4):
    torch.manual_seed(0)
    painter = Painter(6, [8, 8], 3, [(8, 4), (8, 4)])
    boxes = torch.cat([torch.rand(2, count, 2) + 0.1, 2 * torch.rand(2, count, 2) - 1], dim=2)
    latents = (torch.rand(2, count), boxes, torch.randn(2, count, 1), torch.randn(2, count, 6))
    return painter, latents, torch.randn(2, 3)


def test_planes_follow_the_order_of_the_objects_and_the_picture_does_not():
    painter, latents, background = painted()
    order = torch.tensor([2, 0, 3, 1])
    one, other = painter(*latents, background), painter(*(part[:, order] for part in latents), background)
    torch.testing.assert_close(other.render(NO), one.render(NO))
    planes = torch.cat([torch.zeros(1, dtype=torch.long), order + 1])
    for mine, theirs in zip(other.planes()[:3], one.planes()[:3], strict=True):
        torch.testing.assert_close(mine, theirs[:, planes])


def test_the_picture_of_the_planes_is_the_rendered_one():
    painter, latents, background = painted()
    found = painter(*latents, background)
    torch.testing.assert_close(found.planes().picture[:, 0], found.render(NO))


def test_an_absent_object_shows_nowhere_and_keeps_its_colours():
    painter, (_, *latents), background = painted()
    found = painter(torch.zeros(2, 4), *latents, background)
    torch.testing.assert_close(found.render(NO), found.background)
    assert found.planes().masks[:, 1:].abs().max().item() == 0
    assert found.planes().components[:, 1:].max().item() > 0
