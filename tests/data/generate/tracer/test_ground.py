from __future__ import annotations

import math

import torch

from objbench.data.generate.tracer import ground
from objbench.data.generate.tracer.vectors import dot, unit


def test_the_ground_is_a_plane_then_a_bend() -> None:
    origins = torch.tensor([[0.0, 0.0, 0.0, 0.0], [0.0, 0.0, 0.0, 0.0], [5.0, 5.0, 5.0, 5.0]])
    directions = unit(torch.tensor([[0.0, 4.0, -3.0, 1.0], [0.0, 0.0, 0.0, 0.0], [-1.0, -3.0, 0.0, 1.0]]))
    distance, normal = ground.intersect(origins, directions)
    points = origins + distance * directions
    assert torch.allclose(points[:, 0], torch.tensor([0.0, 0.0, 0.0]), atol=1e-5)
    assert torch.allclose(points[:, 1], torch.tensor([20 / 3, 0.0, 0.0]), atol=1e-4)
    center = torch.tensor([ground.BEND, 0.0, ground.RADIUS])
    assert math.isclose(float((points[:, 2] - center).norm()), ground.RADIUS, rel_tol=1e-5)
    assert torch.allclose(normal[:, :2], torch.tensor([[0.0, 0.0], [0.0, 0.0], [1.0, 1.0]]))
    assert float(dot(normal, directions)[2]) < 0
    assert torch.isinf(distance[3])
