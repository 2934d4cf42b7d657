"""objbench: the benchmark toolkit of unsupervised object-centric learning.

Everything is imported on first use, so that `import objbench` costs nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

__version__ = "0.1.0"

_EXPORTS = {
    "Evaluator": "objbench.metrics",
    "ObjbenchError": "objbench.errors",
    "Scenes": "objbench.data.read.scenes",
    "create": "objbench.methods.create",
    "generate": "objbench.data.prepare.in_memory",
    "load": "objbench.data.read.load",
    "stream": "objbench.data.read.stream",
}
_MODULES = ("metrics", "testing")

__all__ = [*_EXPORTS, *_MODULES, "__version__"]  # noqa: PLE0604


def __getattr__(name: str) -> Any:
    if name in _EXPORTS:
        return getattr(import_module(_EXPORTS[name]), name)
    if name in _MODULES:
        return import_module(f"objbench.{name}")
    raise AttributeError(f"module 'objbench' has no attribute '{name}'")
