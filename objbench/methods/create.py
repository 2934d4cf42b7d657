"""A registered method, built for a dataset."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, overload

from torch import Tensor
from torch.nn.parameter import is_lazy

from objbench import registry
from objbench.error_line import line_of
from objbench.errors import ObjbenchError, RequestError
from objbench.methods import hooks
from objbench.methods.base import Method
from objbench.methods.extra_state import check_extra_state
from objbench.methods.plain_block import with_files
from objbench.spec.datasets import DatasetRef
from objbench.spec.resolve import MethodConfig, resolve
from objbench.spec.settings import parse

_NO_SUPER = ".__init__ does not call super().__init__(image_shape, slots, settings)"


@overload
def create(
    method: str | os.PathLike[str], dataset: str, *, config: Path | None = None, **overrides: Any
) -> Method: ...
@overload  # to a type checker, any key of `**{...}` could be `config`
def create(method: str | os.PathLike[str], dataset: str, **overrides: Any) -> Method: ...
def create(
    method: str | os.PathLike[str], dataset: str, *, config: Path | None = None, **overrides: Any
) -> Method:
    """The method `METHOD[:VARIANT]` for `DATASET[@PROTOCOL]`, with dotted overrides: `**{"model.width": 96}`.

    A method from a plain file is named `FILE.py:CLASS[:VARIANT]`, or `FILE.py` if it has only one. `config` is a yaml file of your own, laid over benchmarks.yaml. Parameters are initialised from torch's
    default generator. Raises RequestError for unknown names and keys, and for values that the method refuses.

    >>> create("grid", "tetrominoes").slots
    4
    >>> create("grid", "tetrominoes", slots=9).slots
    9
    """
    given = os.fspath(method) if isinstance(method, os.PathLike) else str(method)  # anything, in Python
    spec, (name,) = with_files([given], config)
    reference = spec.dataset(dataset)
    return build(resolve(spec, name, reference, overrides), reference)


def build(resolved: MethodConfig, dataset: DatasetRef) -> Method:
    """The method of a resolved configuration, on the CPU. Raises RequestError for values that the method refuses."""
    kind = method_class(resolved.method, resolved.implementation)
    try:
        settings = parse(kind.Settings, resolved.config)
        method = kind(dataset.spec.image_shape, settings.slots, settings)
    except AttributeError as error:
        if "Module.__init__() call" not in str(error):
            raise
        raise ObjbenchError(
            f"{kind.__name__}{_NO_SUPER} before it makes anything (at {line_of(error)})"
        ) from error
    except RequestError as error:
        lines = [f"{resolved.method}: {line}" for line in str(error).splitlines()]
        raise RequestError("\n".join(lines)) from None
    if "settings" not in vars(method):
        raise ObjbenchError(f"{kind.__name__}{_NO_SUPER}")
    hooks.check_signatures(method, Method)
    check_extra_state(method)
    _refuse_shared_elements(method)
    return method


def _refuse_shared_elements(method: Method) -> None:
    """Raise ObjbenchError if a tensor of the state is an expanded view, which no weights could be loaded into."""
    for name, tensor in method.state_dict().items():
        if not isinstance(tensor, Tensor) or is_lazy(tensor):
            continue
        if any(size > 1 and stride == 0 for size, stride in zip(tensor.shape, tensor.stride(), strict=True)):
            raise ObjbenchError(
                f"{type(method).__name__}: the elements of '{name}' share memory, as those of an expanded view do (expand, "
                "meshgrid), and no weights could be loaded into it: give it as .contiguous() or .clone()"
            )


def method_class(name: str, implementation: str) -> type[Method]:
    """The class `module:Class` of the method `name` (without variant)."""
    kind = registry.load(implementation, f"the class of method '{name}' is")
    if not (isinstance(kind, type) and issubclass(kind, Method)):
        raise ObjbenchError(
            f"method '{name}' is a {kind!r}, expected a subclass of objbench.methods.base.Method"
        )
    return kind
