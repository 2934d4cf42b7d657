"""What a method keeps from `__init__` to the end of its training, so that what is saved can be loaded: names and shapes."""

from __future__ import annotations

from typing import Any

from torch import Tensor
from torch.nn.parameter import is_lazy

from objbench.errors import ObjbenchError
from objbench.methods.base import Method

_LATER = "in setup or later"


class StateNames:
    """The names and shapes in the state of a method that was just made, and the parameters that a stage begins with."""

    def __init__(self, method: Method) -> None:
        self._method = method
        self._shapes = {name: _shape(name, value) for name, value in method.state_dict().items()}
        self.begin_stage()

    def begin_stage(self) -> None:
        """Remember the parameters, which the optimizers of the stage have now."""
        self._parameters = dict(self._method.named_parameters())

    def check_parameters(self) -> None:
        """Raise ObjbenchError if a parameter was replaced since the stage began: no optimizer has the new one."""
        now = dict(self._method.named_parameters())
        for name, parameter in self._parameters.items():
            if now.get(name) is not parameter:
                raise ObjbenchError(
                    f"{type(self._method).__name__} replaces the parameter '{name}' while a stage runs, so that no "
                    "optimizer has it: change its values in place, as with copy_"
                )

    def check(self) -> None:
        """Raise ObjbenchError if the state has other names or shapes than at first."""
        name = type(self._method).__name__
        now = {key: _shape(key, value) for key, value in self._method.state_dict().items()}
        for key in now.keys() - self._shapes.keys():
            raise ObjbenchError(f"{name} registers '{key}' {_LATER}: make it in __init__")
        for key, shape in self._shapes.items():
            if key not in now:
                raise ObjbenchError(f"{name} removes '{key}' {_LATER}: keep what __init__ makes")
            if None not in (shape, now[key]) and shape != now[key]:
                raise ObjbenchError(
                    f"{name} changes the shape of '{key}' from {shape} to {now[key]} {_LATER}: give it this shape in "
                    "__init__"
                )


def _shape(name: str, value: Any) -> tuple[int, ...] | None:
    """The shape of a parameter or buffer; None for what may have any: extra state, a lazy parameter before its first use."""
    if name.rpartition(".")[2] == "_extra_state" or not isinstance(value, Tensor) or is_lazy(value):
        return None
    return tuple(value.shape)
