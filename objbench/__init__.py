"""objbench: the benchmark toolkit of unsupervised object-centric learning.

Everything is imported on first use, so that `import objbench` costs nothing; editors and type checkers see all of it.

Example:
    >>> import objbench
    >>> objbench.generate("tetrominoes", 8).images.shape
    torch.Size([8, 3, 35, 35])
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from objbench import metrics, testing
    from objbench.data.prepare.in_memory import generate
    from objbench.data.read.load import load
    from objbench.data.read.scenes import Scenes
    from objbench.data.read.stream import stream
    from objbench.errors import ObjbenchError
    from objbench.methods.create import create
    from objbench.metrics import Evaluator
    from objbench.use.finished import open_run

__version__ = "0.1.0"
__all__ = [
    "Evaluator",
    "ObjbenchError",
    "Scenes",
    "__version__",
    "create",
    "generate",
    "load",
    "metrics",
    "open_run",
    "stream",
    "testing",
]

_MODULES = {
    "Evaluator": "objbench.metrics",
    "ObjbenchError": "objbench.errors",
    "Scenes": "objbench.data.read.scenes",
    "create": "objbench.methods.create",
    "generate": "objbench.data.prepare.in_memory",
    "load": "objbench.data.read.load",
    "open_run": "objbench.use.finished",
    "stream": "objbench.data.read.stream",
}

if not TYPE_CHECKING:  # a type checker would take any name for one that this function knows

    def __getattr__(name: str) -> Any:
        if name in _MODULES:
            return getattr(import_module(_MODULES[name]), name)
        if name in __all__:
            return import_module(f"objbench.{name}")
        raise AttributeError(f"module 'objbench' has no attribute '{name}'")


def __dir__() -> list[str]:
    return sorted(__all__)
