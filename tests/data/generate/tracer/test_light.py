from __future__ import annotations

import pytest
import torch

from objbench.data.generate.tracer.light import Light, Neighbours, visible
from objbench.data.generate.tracer.objects import Objects


def one(shape: int) -> Objects:
    """A scene with one object of half size one at (0,0,1)."""
    codes = [torch.tensor([[code]]) for code in (shape, 1, 1, 1)]
    zero, unity = torch.zeros(1, 1), torch.ones(1, 1)
    return Objects(torch.tensor([0.0, 0.0, 1.0]).view(3, 1, 1), unity, zero, unity, zero, *codes)


@pytest.mark.parametrize("shape", [1, 2, 3])
def test_shadows_are_full_behind_half_at_the_edge_and_none_beside(shape: int) -> None:
    light = Light(torch.tensor([[10.0], [0.0], [1.0]]), 0.2, (1.0, 1.0, 1.0))
    aside = torch.linspace(-2, 2, 81)
    points = torch.stack([torch.full_like(aside, -3.0), aside, torch.ones_like(aside)])
    scene, nobody = torch.zeros(81, dtype=torch.long), torch.full((81,), -1)
    arriving = light.arriving(scene, points)
    share = visible(
        light, arriving, scene, points, Neighbours.of(one(shape), scene, points, nobody), one(shape)
    )
    assert torch.allclose(share, share.flip(0), atol=1e-4)
    assert share[40] == 0
    assert share[0] == share[-1] == 1
    assert (share[40:].diff() >= 0).all()
    # Seen from the lamp the object's edge, or the front edge of the cube's side, falls on this place.
    edge = float(aside[40:][(share[40:] >= 0.5).int().argmax()])
    assert 1.1 < edge < 1.55
    assert 2 <= ((share > 0) & (share < 1)).sum() <= 20
