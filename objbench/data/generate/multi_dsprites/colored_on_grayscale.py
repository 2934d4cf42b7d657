"""2-5 sprites of any hue, with saturation and value of at least 0.5, on a gray background.

That poses are continuous here is not verified: no released scene was at hand, and those of colored on colored are not.
"""

from __future__ import annotations

import torch

from objbench.data.generate.multi_dsprites import law
from objbench.data.generate.multi_dsprites.law import Law, bright, gray
from objbench.data.scene import SceneBatch

VERSION = 1
LAW = Law("multi_dsprites", VERSION, 2, 5, background=gray, color=bright, lattice=False)


def scenes(
    split: str, start: int, stop: int, seed: int, device: torch.device | str | None = None
) -> SceneBatch:
    """The scenes [start, stop) of the endless stream that (split, seed) names; see law.scenes."""
    return law.scenes(LAW, split, start, stop, seed, device)
