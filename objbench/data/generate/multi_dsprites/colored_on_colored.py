"""1-4 sprites of any colour on a background of any colour.

Read off 16 released scenes: 39 sprites of at least 40 pixels all lie on dSprites' own lattice of positions, scales
and orientations, to at most one pixel each (sprites placed anywhere miss it by 9 to 20).
"""

from __future__ import annotations

import torch

from objbench.data.generate.multi_dsprites import law
from objbench.data.generate.multi_dsprites.law import Law, rgb
from objbench.data.generate.tensors import SceneTensors

VERSION = 1
LAW = Law("multi_dsprites_colored", VERSION, 1, 4, background=rgb, color=rgb)


def scenes(
    split: str, start: int, stop: int, seed: int, device: torch.device | str | None = None
) -> SceneTensors:
    """The scenes [start, stop) of the endless stream that (split, seed) names; see law.scenes."""
    return law.scenes(LAW, split, start, stop, seed, device)
