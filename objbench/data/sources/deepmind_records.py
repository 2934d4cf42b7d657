"""The records of DeepMind's multi-object datasets: what they hold, and how they decode.

Kabra et al., Multi-Object Datasets, 2019. Imported by the encoding workers.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np

from objbench.data.scene import Array, BadScene, SceneBatch
from objbench.data.sources.planes import SceneError, label_map
from objbench.data.sources.tfrecord import Feature, Frame, SizeError, parse_example, place


@dataclass(frozen=True)
class Layout:
    """How the records of one dataset store a scene: image (H,W,channels), masks with the entity axis at `entity_axis`."""

    height: int
    width: int
    entities: int
    entity_axis: int  # 0: (E,H,W,1); 2: (H,W,E,1)
    factors: Mapping[str, Feature]
    channels: int = 3

    @cached_property
    def features(self) -> dict[str, Feature]:
        """All features of a record."""
        mask = [self.height, self.width, 1]
        mask.insert(self.entity_axis, self.entities)
        image = Feature("bytes", (self.height, self.width, self.channels))
        return {"image": image, "mask": Feature("bytes", tuple(mask)), **self.factors}


def _floats(entities: int, *names: str) -> dict[str, Feature]:
    return {name: Feature("float", (entities,)) for name in names}


def _sprites(entities: int, coloured: bool = True) -> Layout:
    factors = _floats(entities, "x", "y", "shape", "orientation", "scale", "visibility")
    colour = {"color": Feature("float", (entities, 3))} if coloured else {}
    return Layout(64, 64, entities, 2, factors | colour, channels=3 if coloured else 1)


def _clevr() -> Layout:
    codes = {name: Feature("bytes", (11,)) for name in ("size", "material", "shape", "color")}
    pixels = {"pixel_coords": Feature("float", (11, 3))}
    return Layout(240, 320, 11, 0, _floats(11, "x", "y", "z", "rotation", "visibility") | codes | pixels)


def _tetrominoes() -> Layout:
    colour = {"color": Feature("float", (4, 3))}
    return Layout(35, 35, 4, 0, _floats(4, "x", "y", "shape", "visibility") | colour)


LAYOUTS = {
    "tetrominoes": _tetrominoes(),
    "multi_dsprites": _sprites(6),
    "multi_dsprites_binarized": _sprites(4, coloured=False),
    "multi_dsprites_colored": _sprites(5),
    "clevr6": _clevr(),
    "clevr10": _clevr(),
}


@dataclass(frozen=True)
class RecordBlock:
    """Records of a dataset's file that are still to be decoded."""

    dataset: str
    path: Path
    frames: list[Frame]

    def __len__(self) -> int:
        return len(self.frames)

    def __getitem__(self, part: slice) -> RecordBlock:
        return replace(self, frames=self.frames[part])

    def decode(self) -> SceneBatch:
        """All scenes; BadScene for the first one that is damaged."""
        layout = LAYOUTS[self.dataset]
        records = [self.parse(row) for row in range(len(self))]
        stacked = {name: np.stack([record[name] for record in records]) for name in layout.features}
        planes = np.moveaxis(stacked.pop("mask")[..., 0], layout.entity_axis + 1, 1)
        try:
            masks = label_map(planes, values=(255,))
        except SceneError as error:
            raise self._bad(error.row, str(error)) from None
        images = np.broadcast_to(stacked.pop("image"), (*masks.shape, 3))  # gray ones become RGB
        index = np.array([frame.number for frame in self.frames])
        return SceneBatch(index, images, masks, stacked)

    def parse(self, row: int) -> dict[str, Array]:
        """The features of a record as stored; BadScene if it is damaged or of another dataset."""
        frame, layout = self.frames[row], LAYOUTS[self.dataset]
        if not frame.intact:
            raise self._bad(row, "the record's checksum is wrong: the file is damaged")
        try:
            return parse_example(frame.payload, layout.features)
        except ValueError as error:
            raise self._bad(row, _odd_size(frame.payload, layout) or str(error)) from None

    def _bad(self, row: int, reason: str) -> BadScene:
        frame = self.frames[row]
        return BadScene(row, frame.number, place(self.path, frame.number, frame.offset), reason)


def objects(frame: Frame, dataset: str) -> int | None:
    """The number of objects of a record by its `visibility`, the background (entity 0) not counted.

    None for a damaged record.
    """
    if frame.intact:
        with suppress(ValueError):
            feature = {"visibility": LAYOUTS[dataset].factors["visibility"]}
            return round(float(parse_example(frame.payload, feature)["visibility"][1:].sum()))
    return None


def _odd_size(payload: bytes, layout: Layout) -> str:
    """What is wrong with the size of image or mask, and which dataset it is of; empty if nothing is."""
    for name in ("image", "mask"):
        try:
            parse_example(payload, {name: layout.features[name]})
        except SizeError as error:
            others = [other for other, has in LAYOUTS.items() if has.features[name].size == error.count]
            return f"{error}: is this {' or '.join(others)}?" if others else str(error)
        except ValueError:
            return ""
    return ""
