"""Targets: yaml laid over benchmarks.yaml, by a user or a plugin."""

from __future__ import annotations

import copy
import importlib
import json
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from fuzzing.outcome import Reading
from fuzzing.target import FileTarget, call
from objbench.spec import load

_ROOT = Path(__file__).parents[2]
_METADATA = "plug-0.1.dist-info"


def targets() -> Iterator[FileTarget]:
    """The targets of this module."""
    yield FileTarget(
        name="yaml-config",
        what="yaml of --config: list, info",
        build=_build,
        read=_read,
        victims=("config.yaml",),
        unchecked=("*",),
    )
    yield FileTarget(
        name="yaml-plugin",
        what="yaml of a plugin: list, info",
        build=_build_plugin,
        read=_read_plugin,
        victims=("plugin/plug/benchmarks.yaml",),
        unchecked=("*",),
    )


def _build(folder: Path) -> None:
    """A block of each kind, as benchmarks.yaml has them."""
    (folder / "config.yaml").write_text(_blocks("mine", "iodine"))


def _build_plugin(folder: Path) -> None:
    package = folder / "plugin" / "plug"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "benchmarks.yaml").write_text(_blocks("theirs", "monet"))
    metadata = folder / "plugin" / _METADATA
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: plug\nVersion: 0.1\n")
    (metadata / "entry_points.txt").write_text("[objbench.sources]\ntheirs = plug:Source\n")


def _blocks(name: str, method: str) -> str:
    whole = yaml.safe_load((_ROOT / "benchmarks.yaml").read_text(encoding="utf-8"))
    blocks = {
        "datasets": {name: whole["datasets"]["tetrominoes"]},
        "methods": {method: whole["methods"][method]},
        "metrics": {name: whole["metrics"]["miou"]},
        "published": whole["published"][:1],
    }
    return yaml.safe_dump(copy.deepcopy(blocks), sort_keys=False, width=100)


def _read(folder: Path) -> Reading:
    return _said("mine", ("--config", folder / "config.yaml"))


def _read_plugin(folder: Path) -> Reading:
    place = str(folder / "plugin")
    sys.path.insert(0, place)
    importlib.invalidate_caches()
    try:
        return _said("theirs", ())
    finally:
        sys.path.remove(place)


def _said(dataset: str, options: tuple[object, ...]) -> Reading:
    """All that is listed, and a card of what is; benchmarks.yaml itself is parsed once.

    A name that is damaged into another one is as good a name: a yaml has no checksum.
    """
    load._load.cache_clear()
    if load._read.__name__ != _read_once.__name__:
        _originals.append(load._read)
        load._read = _read_once
    listed = [call("list", kind, "--json", *options).content for kind in ("datasets", "methods", "metrics")]
    names = [entry["name"] for entry in json.loads(str(listed[0]))]
    card = call("info", dataset, "--json", *options).content if dataset in names else None
    return Reading((listed, card))


_originals: list[Any] = []


@cache
def _read_shipped() -> dict[str, Any]:
    found: dict[str, Any] = _originals[0](_ROOT / "benchmarks.yaml")
    return found


def _read_once(path: Any) -> dict[str, Any]:
    shipped = Path(str(path)).resolve() == (_ROOT / "benchmarks.yaml").resolve()
    found: dict[str, Any] = copy.deepcopy(_read_shipped()) if shipped else _originals[0](path)
    return found
