"""Generated scenes as arrays, and whether they follow the law."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch

from objbench.data.generate.generator import Generator
from objbench.data.scene import SceneBatch


def arrays(
    generator: type[Generator],
    split: str,
    start: int,
    stop: int,
    seed: int,
    device: torch.device | str | None = None,
    **options: Any,
) -> SceneBatch:
    """The scenes that a generator makes, as a source would give them."""
    return generator(**options).make(split, start, stop, seed, device).arrays()


def assert_same(a: SceneBatch, b: SceneBatch) -> None:
    """The same scenes, byte for byte, with the same factors."""
    for x, y in [(a.index, b.index), (a.images, b.images), (a.masks, b.masks)]:
        assert np.array_equal(x, y)
    assert a.factors.keys() == b.factors.keys()
    for name in a.factors:
        assert np.array_equal(a.factors[name], b.factors[name])


def even(counts: np.ndarray) -> bool:
    """Whether counts are as of equally likely outcomes, each within five standard deviations."""
    total, share = counts.sum(), 1 / len(counts)
    return bool((abs(counts - total * share) < 5 * math.sqrt(total * share * (1 - share))).all())
