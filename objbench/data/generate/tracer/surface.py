"""The points of surfaces that a tracer shades."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor

MIRRORS = 2  # the depth of what is seen directly: so many reflections are followed


class Surface(NamedTuple):
    """Points of surfaces that are seen, M of them."""

    scene: Tensor  # int64 (M,)
    point: Tensor  # (3,M)
    normal: Tensor  # (3,M)
    toward: Tensor  # (3,M), unit, to where it is seen from
    color: Tensor  # (3,M)
    own: Tensor  # int64 (M,), number of the object, -1 for the ground
    phase: Tensor  # (2,M) in [0,1), spread evenly over neighbouring points
    pixel: Tensor  # int64 (M,), where it is seen, in a frame one pixel wider at each side

    def only(self, chosen: Tensor) -> Surface:
        """The points `chosen`, int64."""
        return Surface(*(values[..., chosen] for values in self))
