"""Generated scenes as arrays."""

from __future__ import annotations

from types import ModuleType
from typing import Any

from objbench.data.scene import SceneBatch


def arrays(generator: ModuleType, *stream: Any, **options: Any) -> SceneBatch:
    """The scenes that a generator's module makes, as a source would give them."""
    made: SceneBatch = generator.scenes(*stream, **options).arrays()
    return made
