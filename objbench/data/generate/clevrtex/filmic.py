"""Blender's filmic film with very high contrast, as a curve: bright colours pale, and nothing is ever quite white."""

from __future__ import annotations

from torch import Tensor

_MIDDLE = 0.42  # linear light that comes out half as bright as white
_CONTRAST = 1.45
_PALE = 0.14  # of a colour that goes over to the other two


def develop(light: Tensor) -> Tensor:
    """Linear light (N,3,H,W) as 8-bit values, float and rounded."""
    grey = (light[:, :1] + light[:, 1:2] + light[:, 2:]) / 3
    power = (light + _PALE * (grey - light)).clamp_min(0) ** _CONTRAST
    share: Tensor = power / (power + _MIDDLE**_CONTRAST)
    return (255 * share).round()
