"""A registered method, built for a dataset."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from objbench import registry
from objbench.errors import ObjbenchError
from objbench.methods.base import Method
from objbench.spec.datasets import DatasetRef
from objbench.spec.load import load_spec
from objbench.spec.resolve import MethodConfig, resolve


def create(method: str, dataset: str, *, config: Path | None = None, **overrides: Any) -> Method:
    """The method `METHOD[:VARIANT]` for `DATASET[@PROTOCOL]`, with dotted overrides: `**{"model.width": 96}`.

    `config` is a yaml file of your own, laid over benchmarks.yaml. Parameters are initialised from torch's
    default generator. Raises RequestError for unknown names, keys and values of the wrong type.

    >>> create("grid", "tetrominoes").slots
    4
    """
    spec = load_spec(config)
    reference = spec.dataset(dataset)
    return build(resolve(spec, method, reference, overrides), reference)


def build(resolved: MethodConfig, dataset: DatasetRef) -> Method:
    """The method of a resolved configuration, on the CPU."""
    factory = registry.get("methods", resolved.method)
    method = factory(dataset.spec.image_shape, dataset.spec.slots, resolved.config)
    if not isinstance(method, Method):
        kind = type(method).__name__
        raise ObjbenchError(
            f"method '{resolved.method}' gives a {kind}, expected an objbench.methods.base.Method"
        )
    return method
