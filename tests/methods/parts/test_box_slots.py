"""Every method with boxes has a slot for each plane."""

from __future__ import annotations

import pytest
import torch

from objbench.methods.create import create

METHODS = ("spair", "space", "gnm", "ast")


@pytest.mark.parametrize("name", METHODS)
def test_a_slot_for_each_plane_says_where_its_box_is(name):
    method = create(f"{name}:demo", "tetrominoes").eval()
    images = torch.rand(2, 3, 35, 35, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        found = method.segment(images)
    assert found.slots.shape[:2] == found.masks.shape[:2]
    assert found.slots.dtype == torch.float32
    assert (found.slots[:, 0] == 0).all()
    boxes = found.slots[:, 1:]
    assert boxes.std(1).max() > 0
    if "depth" in found.extras:
        assert torch.equal(boxes[..., -2], found.extras["depth"].float())
        assert torch.equal(boxes[..., -1], found.extras["presence"].float())
