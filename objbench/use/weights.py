"""Trained weights that packages ship: folders of runs in `weights/` of the package of a plugin."""

from __future__ import annotations

from pathlib import Path

from objbench.records import RECORD
from objbench.spec.load import plugin_folders

FOLDER = "weights"


def shipped_weights() -> dict[str, Path]:
    """Name -> folder of the run, whose name it is.

    A package that has an entry point of objbench ships weights as it ships a benchmarks.yaml: beside it, in
    `weights/NAME/`, as `objbench publish` writes such a folder.
    """
    places = [place for folder in plugin_folders() for place in (folder / FOLDER).glob(f"*/{RECORD}")]
    return {place.parent.name: place.parent for place in sorted(places, key=lambda place: place.parent.name)}
