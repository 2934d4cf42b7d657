"""2-3 white sprites on black.

Upstream documents the numbers and the colours; that both numbers are equally likely, and poses those of dSprites' own
images as in the released scenes of colored on colored, is assumed.
"""

from __future__ import annotations

import torch

from objbench.data.generate.multi_dsprites import law
from objbench.data.generate.multi_dsprites.law import Law, black
from objbench.data.generate.tensors import SceneTensors

VERSION = 2
LAW = Law("multi_dsprites_binarized", VERSION, 2, 3, background=black, color=None)


def scenes(
    split: str, start: int, stop: int, seed: int, device: torch.device | str | None = None
) -> SceneTensors:
    """The scenes [start, stop) of the endless stream that (split, seed) names; see law.scenes."""
    return law.scenes(LAW, split, start, stop, seed, device)
