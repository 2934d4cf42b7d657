"""benchmarks.yaml and what is laid on top of it: the layers of plugins, and the user's own file."""

from __future__ import annotations

import importlib.resources
import importlib.util
from functools import cache
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, get_args, get_origin

import yaml
from pydantic import BaseModel, ValidationError

from objbench.errors import RequestError, unknown_name
from objbench.spec import Spec

METHOD_GROUP = "objbench.methods"


def load_spec(config: Path | None = None) -> Spec:
    """benchmarks.yaml with the layers of installed plugins and, last, the user's own `config` on top.

    Raises RequestError that names the file, the place in it and the closest known key.
    """
    return _load(config.resolve() if config else None)


@cache
def _load(config: Path | None) -> Spec:
    layers = [("benchmarks.yaml", _read(importlib.resources.files("objbench") / "benchmarks.yaml"))]
    layers += _plugin_layers()
    if config is not None:
        if not config.is_file():
            raise RequestError(f"--config {config}: no such file")
        layers.append((str(config), _read(config)))
    merged: dict[str, Any] = {}
    for name, layer in layers:
        merged = merge(merged, layer)
        try:
            spec = Spec.model_validate(merged)
        except ValidationError as error:
            raise RequestError("\n".join(f"{name}: {line}" for line in _explain(Spec, error))) from None
    return spec


def _plugin_layers() -> list[tuple[str, dict[str, Any]]]:
    """The benchmarks.yaml beside each method plugin (in the package of its entry point), by package name."""
    packages = {point.module.rpartition(".")[0] for point in entry_points(group=METHOD_GROUP)}
    layers = []
    for package in sorted(packages - {""}):
        found = importlib.util.find_spec(package.partition(".")[0])
        if found is None:
            continue
        layer = importlib.resources.files(package) / "benchmarks.yaml"
        if layer.is_file():
            layers.append((f"{package}/benchmarks.yaml", _read(layer)))
    return layers


def _read(path: Any) -> dict[str, Any]:
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise RequestError(f"{path}: not valid YAML: {error}") from None
    if not isinstance(content, dict):
        raise RequestError(f"{path}: expected a mapping with keys such as datasets, methods, published")
    return content


def merge(base: dict[str, Any], top: dict[str, Any]) -> dict[str, Any]:
    """`top` laid over `base`: mappings are merged, the list `published` grows, all else is replaced."""
    merged = dict(base)
    for key, value in top.items():
        if isinstance(value, dict) and isinstance(merged.get(key), dict):
            merged[key] = merge(merged[key], value)
        elif key == "published" and isinstance(value, list):
            merged[key] = [*merged.get(key, []), *value]
        else:
            merged[key] = value
    return merged


def _explain(model: type[BaseModel], error: ValidationError) -> list[str]:
    lines = []
    for item in error.errors():
        place = ".".join(str(part) for part in item["loc"])
        if item["type"] == "extra_forbidden":
            fields = _fields_at(model, item["loc"][:-1])
            where = f" in {place.rpartition('.')[0]}" if "." in place else ""
            lines.append(f"{unknown_name(f'key{where}', str(item['loc'][-1]), fields)}")
        elif item["type"] == "value_error":
            lines.append(item["msg"].removeprefix("Value error, "))
        else:
            lines.append(f"{place}: {item['msg']} (found {item['input']!r})")
    return lines


def _fields_at(model: Any, location: tuple[int | str, ...]) -> list[str]:
    for part in location:
        if isinstance(model, type) and issubclass(model, BaseModel):
            model = model.model_fields[str(part)].annotation
        elif get_origin(model) in (dict, list):
            model = get_args(model)[-1]
    if get_origin(model) in (dict, list):
        model = get_args(model)[-1]
    return list(model.model_fields) if isinstance(model, type) and issubclass(model, BaseModel) else []
