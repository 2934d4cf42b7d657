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
from objbench.spec.nested import deep_merge, flatten
from objbench.spec.schema import Recipe, Spec

# Entry points of plugins, which may bring a benchmarks.yaml.
LAYERED_GROUPS = tuple(f"objbench.{kind}" for kind in ("methods", "metrics", "sources", "generators"))


def load_spec(config: Path | None = None) -> Spec:
    """benchmarks.yaml with the layers of installed plugins and, last, the user's own `config` on top.

    Raises RequestError that names the file, the place in it and the closest known key.
    """
    return _load(config.resolve() if config else None)


@cache
def _load(config: Path | None) -> Spec:
    layers = [("benchmarks.yaml", _read(importlib.resources.files("objbench") / "benchmarks.yaml"))]
    layers += [(str(path), _read(path)) for path in _plugin_layers()]
    if config is not None:
        if not config.is_file():
            raise RequestError(f"--config {config}: no such file")
        layers.append((str(config), _read(config)))
    merged: dict[str, Any] = {}
    for name, layer in layers:
        published = [*merged.get("published", []), *_published(layer)]
        try:
            _refuse_new_keys(merged.get("methods", {}), layer.get("methods", {}))
            merged = {**deep_merge(merged, layer), "published": published}
            spec = Spec.model_validate(merged)
        except ValidationError as error:
            raise RequestError("\n".join(f"{name}: {line}" for line in _explain(Spec, error))) from None
        except RequestError as error:
            raise RequestError(f"{name}: {error}") from None
    return spec


def _published(layer: dict[str, Any]) -> list[Any]:
    rows = layer.get("published", [])
    if not isinstance(rows, list):
        raise RequestError("published: expected a list of rows")
    return rows


def _refuse_new_keys(known: Any, layer: Any) -> None:
    """A layer may change the hyper-parameters of a method that stands below it, not invent further ones."""
    for name, method in layer.items() if isinstance(layer, dict) else ():
        if name in known and isinstance(method, dict) and isinstance(method.get("config"), dict):
            declared = {
                *flatten(known[name].get("config", {})),
                *(f"recipe.{key}" for key in Recipe.model_fields),
            }
            for key in flatten(method["config"]):
                if key not in declared:
                    raise RequestError(f"methods.{name}.config: {unknown_name('key', key, declared)}")


def _plugin_layers() -> list[Path]:
    """The benchmarks.yaml in the package of each plugin's entry point, without importing any plugin."""
    found = set()
    for point in (point for group in LAYERED_GROUPS for point in entry_points(group=group)):
        top, *parts = point.module.split(".")
        package = importlib.util.find_spec(top)
        if package is None or not package.submodule_search_locations:
            continue
        folder = Path(package.submodule_search_locations[0])
        for part in parts:
            folder = folder / part if (folder / part).is_dir() else folder
        if (folder / "benchmarks.yaml").is_file():
            found.add(folder / "benchmarks.yaml")
    return sorted(found)


def _read(path: Any) -> dict[str, Any]:
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise RequestError(f"{path}: not valid YAML: {error}") from None
    if not isinstance(content, dict):
        raise RequestError(f"{path}: expected a mapping with keys such as datasets, methods, published")
    return content


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
