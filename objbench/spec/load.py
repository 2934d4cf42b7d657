"""benchmarks.yaml and what is laid on top of it: the layers of plugins, and the user's own file."""

from __future__ import annotations

import importlib.resources
import importlib.util
import re
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from objbench.error_line import GROUPS
from objbench.errors import RequestError, shortened, unknown_name
from objbench.folders import data_folder
from objbench.paths import path_of, resolved
from objbench.registry import with_plugins
from objbench.spec.explain import explain
from objbench.spec.nested import deep_merge, flatten, unflatten
from objbench.spec.own import check_declaration, declarations
from objbench.spec.schema import Spec
from objbench.spec.settings import SHARED_KEYS
from objbench.spec.yaml_text import parse_yaml
from objbench.stores import Place

_MOST_MISTAKES = 8  # of a layer that are told; the others are counted


Layer = tuple[str, dict[str, Any]]  # where it comes from, and what it says


def load_spec(config: Path | None = None, data: Place | None = None, further: Sequence[Layer] = ()) -> Spec:
    """benchmarks.yaml with all that is laid over it.

    In this order: the layers of installed plugins, the datasets that `objbench prepare` declared in the folder `data` (by
    default $OBJBENCH_DATA or ./data), those of methods from plain files (`further`), and the user's own `config`.

    Raises:
        RequestError: A layer is wrong; the message names the file, the place in it and the closest known key.
    """
    folder = data_folder(data)
    found = (
        declarations(folder) if isinstance(folder, Path) else []
    )  # a store's would cost every command a request
    declared = tuple((path, path.stat().st_mtime_ns) for path in found)
    path = _config_file(path_of(config)) if config else None
    if further:
        return _merged(path, declared, further)
    return _load(path, path.stat().st_mtime_ns if path else None, declared)


def _config_file(given: Path) -> Path:
    """The user's own yaml, without links.

    Raises:
        RequestError: It is no file. What comes through a pipe can be read once only, and several processes need it.
    """
    if not given.is_file():
        found = "no such file"
        if given.exists():
            found = f"{'a folder' if given.is_dir() else 'a pipe or device'}, expected a file"
        raise RequestError(f"--config {given}: {found}")
    return resolved(given)


@cache
def _load(config: Path | None, changed: int | None, declared: tuple[tuple[Path, int], ...]) -> Spec:
    """The layers as they are while no file of the user's changes: `changed` tells the states of `config` apart."""
    return _merged(config, declared, ())


def _merged(config: Path | None, declared: tuple[tuple[Path, int], ...], further: Sequence[Layer]) -> Spec:
    layers = [("benchmarks.yaml", _read(importlib.resources.files("objbench") / "benchmarks.yaml"))]
    built_in = {name: block["class"] for name, block in layers[0][1]["methods"].items()}
    with_plugins("methods", built_in)  # refuses a plugin's method of the same name
    layers += [(str(path), _read(path)) for path in _plugin_layers()]
    own = {str(path): path for path, _ in declared}
    layers += [(name, _read(path)) for name, path in own.items()]
    layers += further
    if config is not None:
        layers.append((str(config), _read(config)))
    merged: dict[str, Any] = {}
    published: list[tuple[str, Any]] = []
    for name, layer in layers:
        try:
            if name in own and "datasets" not in layer:
                continue  # another program's file of that name
            if name in own:
                check_declaration(own[name], layer, merged["datasets"])
            published += _published(layer)
            known = merged.get("methods", {})
            here = _with_nested_settings(_without_absent_files(layer, known))
            _refuse_new_keys(known, here.get("methods", {}))
            merged = {**deep_merge(merged, here), "published": [row for _, row in published]}
            spec = Spec.model_validate(merged)
        except ValidationError as error:
            lines = [_in_published(line, published) for line in explain(Spec, error)]
            if len(lines) > _MOST_MISTAKES:
                lines[_MOST_MISTAKES:] = [
                    f"{(more := len(lines) - _MOST_MISTAKES)} more mistake{'s' * (more > 1)}"
                ]
            raise RequestError("\n".join(f"{name}: {shortened(line)}" for line in lines)) from None
        except RequestError as error:
            raise RequestError(f"{name}: {error}") from None
    return spec


def _published(layer: dict[str, Any]) -> list[tuple[str, Any]]:
    """The rows of a layer's published tables, each with its place in the layer.

    What a table says beside its `rows` holds for each of them that does not say otherwise.
    """
    rows: list[tuple[str, Any]] = []
    for place, entry in _numbered("published", layer.get("published", [])):
        if isinstance(entry, dict) and "rows" in entry:
            shared = {key: value for key, value in entry.items() if key != "rows"}
            for inner, row in _numbered(f"{place}.rows", entry["rows"]):
                rows.append((inner, {**shared, **row} if isinstance(row, dict) else row))
        else:
            rows.append((place, entry))
    return rows


def _numbered(place: str, entries: Any) -> list[tuple[str, Any]]:
    """The entries of a list, each with its place."""
    if not isinstance(entries, list):
        raise RequestError(f"{place}: expected a list of rows")
    return [(f"{place}.{number}", entry) for number, entry in enumerate(entries)]


def _refuse_new_keys(known: Any, layer: Any) -> None:
    """A layer may change the hyper-parameters of a method of an earlier layer, but not add further ones."""
    for name, method in layer.items() if isinstance(layer, dict) else ():
        if name in known and isinstance(method, dict) and isinstance(method.get("config"), dict):
            declared = {*flatten(known[name].get("config", {})), *SHARED_KEYS}
            for key in flatten(method["config"]):
                if key not in declared:
                    raise RequestError(f"methods.{name}.config: {unknown_name('key', key, declared)}")


def _without_absent_files(layer: dict[str, Any], known: Mapping[str, Any]) -> dict[str, Any]:
    """A layer without the blocks of methods from plain files, FILE.CLASS, that the command does not have.

    Raises:
        RequestError: FILE is that of another method that it does have, or the name of one.
    """
    methods = layer.get("methods")
    if not isinstance(methods, dict):
        return layer
    kept = {}
    for name, block in methods.items():
        of_a_file = isinstance(name, str) and "." in name and isinstance(block, dict) and "class" not in block
        if name in known or not of_a_file:
            kept[name] = block
            continue
        alike = [other for other in known if other.partition(".")[0] == name.partition(".")[0]]
        if alike:
            hint = (
                "; a variant of it stands in its block, under variants"
                if name.partition(".")[0] in known
                else ""
            )
            raise RequestError(f"methods: {unknown_name('method', name, alike)}{hint}")
    return {**layer, "methods": kept}


def _with_nested_settings(layer: dict[str, Any]) -> dict[str, Any]:
    """A layer whose methods and variants have no dotted keys, so that later layers replace what they say."""
    methods = layer.get("methods")
    if not isinstance(methods, dict):
        return layer
    return {**layer, "methods": {name: _nested(block) for name, block in methods.items()}}


def _nested(block: Any) -> Any:
    """The block of a method or of a variant without dotted keys in its settings."""
    if not isinstance(block, dict):
        return block
    parts: dict[str, Callable[[Any], Any]] = {
        "config": _unflattened,
        "datasets": _each(_unflattened),
        "variants": _each(_nested),
    }
    return {key: parts[key](value) if key in parts else value for key, value in block.items()}


def _unflattened(settings: Any) -> Any:
    return unflatten(settings) if isinstance(settings, dict) else settings


def _each(change: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """`change` for each value of a mapping."""
    return lambda block: (
        {name: change(value) for name, value in block.items()} if isinstance(block, dict) else block
    )


def plugin_folders() -> list[Path]:
    """The folder of the package of each plugin's entry point, which may hold a benchmarks.yaml and weights.

    No plugin is imported.
    """
    found = set()
    for point in (point for group in GROUPS for point in entry_points(group=group)):
        top, *parts = point.module.split(".")
        package = importlib.util.find_spec(top)
        if package is None or not package.submodule_search_locations:
            continue
        folder = Path(package.submodule_search_locations[0])
        for part in parts:
            folder = folder / part if (folder / part).is_dir() else folder
        found.add(folder)
    return sorted(found)


def _plugin_layers() -> list[Path]:
    return [path for folder in plugin_folders() if (path := folder / "benchmarks.yaml").is_file()]


def _read(path: Any) -> dict[str, Any]:
    try:
        content = parse_yaml(path.read_text(encoding="utf-8"))
    except UnicodeDecodeError as error:
        raise RequestError(f"{path}: not text in UTF-8: {error}") from None
    except RequestError as error:
        raise RequestError(f"{path}: {error}") from None
    if not isinstance(content, dict):
        raise RequestError(f"{path}: expected a mapping with keys such as datasets, methods, published")
    return content


def _in_published(line: str, published: Sequence[tuple[str, Any]]) -> str:
    """An explanation with the place of a published row in its layer, instead of its number in all layers."""
    return re.sub(r"published\.(\d+)", lambda found: published[int(found[1])][0], line, count=1)
