"""Datasets of one's own that a command line declares: kept in the data folder, where every command finds them."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from objbench.errors import RequestError, unknown_name
from objbench.spec.datasets import OWN_PROTOCOL, SPLITS, DatasetRef, DatasetSpec
from objbench.spec.key_value import key_value
from objbench.spec.limits import MOST_PIXELS
from objbench.spec.names import EXPECTED, is_name
from objbench.spec.nested import differences
from objbench.stores import Place

DECLARATION = "dataset.yaml"  # in the dataset's folder: a layer over benchmarks.yaml with this one dataset
SOURCES = {
    "folder": "Images beside label maps, from a folder",
    "webdataset": "Images and label maps in tar archives (WebDataset)",
}
_SIZE = re.compile(r"([1-9]\d{0,3})(?:x([1-9]\d{0,3}))?")


def declarations(data: Path) -> list[Path]:
    """The declarations in a data folder."""
    return sorted(data.glob(f"*/{DECLARATION}"))


def check_declaration(path: Path, layer: Mapping[str, Any], known: Mapping[str, Any]) -> None:
    """RequestError if a declaration says anything but what its folder's dataset is, or one that is declared already.

    Args:
        path: The file.
        layer: What it holds.
        known: The datasets of the layers below.
    """
    name, datasets = path.parent.name, layer.get("datasets")
    if set(layer) != {"datasets"} or not isinstance(datasets, dict) or set(datasets) != {name}:
        raise RequestError(
            f"expected `datasets: {{{name}: ...}}` alone, as objbench prepare writes it; take the file away"
        )
    if name in known:
        raise RequestError(
            f"benchmarks.yaml or a plugin has a dataset '{name}' of its own; rename or remove this folder"
        )


def declare(
    name: str, source: str, slots: int | None, size: str | None, options: Sequence[str]
) -> dict[str, Any]:
    """The block of a dataset that is read from `source` as a whole, its images scaled to `size`.

    Args:
        name: Of the dataset.
        source: A key of SOURCES.
        slots: The most objects of a scene, and one for the background.
        size: "64", or "HEIGHTxWIDTH".
        options: Of the source, each as KEY=VALUE.

    Raises:
        RequestError: Something is missing or malformed.
    """
    if source not in SOURCES:
        raise unknown_name("source for a dataset of one's own", source, SOURCES)
    if not is_name(name):
        raise RequestError(f"'{name}' is no name for a dataset: {EXPECTED}")
    missing = [
        what for what, given in (("--slots N", slots), ("--size N or --size HxW", size)) if given is None
    ]
    if missing or slots is None or size is None:
        raise RequestError(
            f"{name} is a new dataset: give {' and '.join(missing)} (slots: the most objects of a scene and one for the "
            "background; size: of the prepared images, in pixels)"
        )
    sides = _SIZE.fullmatch(size)
    if sides is None:
        raise RequestError(
            f"--size {size}: expected the side of a square in pixels, or HEIGHTxWIDTH, such as 64 or 48x64"
        )
    if int(sides[1]) * int(sides[2] or sides[1]) > MOST_PIXELS:
        raise RequestError(f"--size {size}: expected at most {MOST_PIXELS:,} pixels")
    given: dict[str, str] = {}
    for option in options:
        key, value = key_value("--option", option, "labels=seg.png")
        if key in given:
            raise RequestError(f"--option {option}: {key} is given twice; a pattern may match several names")
        given[key] = value
    return {
        "title": name,
        "description": f"{SOURCES[source]}, declared by `objbench prepare {name}`.",
        "slots": slots,
        "height": int(sides[1]),
        "width": int(sides[2] or sides[1]),
        "default_source": source,
        "sources": {
            source: {
                "title": SOURCES[source],
                "licence": "not stated",
                **({"options": given} if given else {}),
                "factors": {
                    "name": "of the scene in the source: its path without suffix, or archive and key"
                },
            }
        },
        "protocols": {
            OWN_PROTOCOL: {
                "description": "Every scene of the source; the whole image scaled to the size, bilinear with antialiasing, "
                "labels by the nearest pixel.",
                "transform": {"image": "bilinear", "mask": "nearest"},
                "sources": {source: {split: {} for split in SPLITS}},
            }
        },
    }


def declared_reference(name: str, block: Mapping[str, Any]) -> DatasetRef:
    """The dataset of a block, under its only protocol."""
    return DatasetRef(name, OWN_PROTOCOL, DatasetSpec.model_validate(block))


def prepare_command(dataset: DatasetRef, source: str, data: Place) -> str:
    """The command that prepares a dataset from a source into `data`; files of one's own have to be named."""
    raw = " --raw PATH" if source in SOURCES else ""
    return f"objbench prepare {dataset} --source {source}{raw} --data {shlex.quote(str(data))}"


def declaration_text(name: str, block: Mapping[str, Any]) -> str:
    """The content of the file."""
    head = f"# What `objbench prepare {name}` declared; read by every command that uses this data folder.\n"
    return head + yaml.safe_dump(
        {"datasets": {name: dict(block)}}, sort_keys=False, allow_unicode=True, width=120
    )


def refuse_other_declaration(path: Path, there: DatasetSpec, asked: DatasetSpec) -> None:
    """RequestError that names what differs, if the dataset is declared otherwise in the file `path`."""
    found = differences(there.model_dump(mode="json"), asked.model_dump(mode="json"))
    if found:
        raise RequestError(
            f"{path}: declares the dataset otherwise: {'; '.join(found)}. --force replaces it, another name keeps both"
        )
