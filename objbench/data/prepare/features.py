"""The types of a sample, as a dataset card declares them: then Hugging Face need not infer them from some samples."""

from __future__ import annotations

import tarfile
from collections.abc import Mapping, Sequence
from typing import Any

from objbench.data.format.manifest import Manifest
from objbench.data.format.sample import IMAGE, MASK, parse
from objbench.stores import Place

_FACTS: dict[str, Any] = {"index": "int64", "n_objects": "int64", "visible": {"list": "int64"}}
_LEAVES: dict[type, str] = {
    bool: "bool",
    int: "int64",
    float: "float64",
    str: "string",
}  # later ones hold earlier ones


def first_factors(folder: Place, manifest: Manifest) -> list[dict[str, Any]]:
    """The factors of the first sample of each split."""
    return [_first(folder / split.shards[0].name) for split in manifest.splits.values()]


def _first(shard: Place) -> dict[str, Any]:
    with shard.open("rb") as file, tarfile.open(fileobj=file) as archive:
        member = archive.next()  # a sample's JSON comes first
        assert member is not None
        text = archive.extractfile(member)
        assert text is not None
        factors: dict[str, Any] = parse(text.read())["factors"]
    return factors


def features(factors: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The features of a dataset, in the form of `dataset_info` in a card.

    Args:
        factors: Those of one sample of each split. A split may lack some or all: its samples have null there.
    """
    names = sorted({name for of_split in factors for name in of_split})
    found = {name: [_type(of_split[name]) for of_split in factors if name in of_split] for name in names}
    types = {name: max(of_splits, key=_width) for name, of_splits in found.items()}
    struct = [_feature("factors", {"struct": [_feature(*item) for item in types.items()]})] if types else []
    json = [*struct, *(_feature(*item) for item in _FACTS.items())]
    return [
        _feature("json", {"struct": json}),
        *(_feature(suffix.removeprefix("."), "image") for suffix in (MASK, IMAGE)),
        *(_feature(name, "string") for name in ("__key__", "__url__")),
    ]


def _type(value: Any) -> Any:
    """The type of a JSON value: of a leaf its name, of a list {"list": type of its elements}."""
    if isinstance(value, list):
        return {"list": _type(value[0]) if value else "float64"}
    return _LEAVES[type(value)]


def _width(kind: Any) -> int:
    return _width(kind["list"]) if isinstance(kind, dict) else list(_LEAVES.values()).index(kind)


def _feature(name: str, kind: Any) -> dict[str, Any]:
    return {"name": name, **(kind if isinstance(kind, dict) else {"dtype": kind})}
