"""Generated scenes as arrays."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import numpy as np

from objbench.data.scene import SceneBatch


def arrays(generator: ModuleType, *stream: Any, **options: Any) -> SceneBatch:
    """The scenes that a generator's module makes, as a source would give them."""
    made: SceneBatch = generator.scenes(*stream, **options).arrays()
    return made


def assert_same(a: SceneBatch, b: SceneBatch) -> None:
    """The same scenes, byte for byte, with the same factors."""
    for x, y in [(a.index, b.index), (a.images, b.images), (a.masks, b.masks)]:
        assert np.array_equal(x, y)
    assert a.factors.keys() == b.factors.keys()
    for name in a.factors:
        assert np.array_equal(a.factors[name], b.factors[name])
