"""2-5 sprites of any hue, with saturation and value of at least 0.5, on a gray background.

Poses are those of dSprites' own images, as in the released scenes of colored on colored; no scene of this set was at
hand to verify it.
"""

from __future__ import annotations

import torch

from objbench.data.generate.multi_dsprites import law
from objbench.data.generate.multi_dsprites.law import Law, bright, gray
from objbench.data.generate.tensors import SceneTensors

VERSION = 2
LAW = Law("multi_dsprites", VERSION, 2, 5, background=gray, color=bright)


def scenes(
    split: str, start: int, stop: int, seed: int, device: torch.device | str | None = None
) -> SceneTensors:
    """The scenes [start, stop) of the endless stream that (split, seed) names; see law.scenes."""
    return law.scenes(LAW, split, start, stop, seed, device)
