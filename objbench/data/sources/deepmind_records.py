"""The records of DeepMind's multi-object datasets: what they hold, and how they decode.

Kabra et al., Multi-Object Datasets, 2019. Imported by the encoding workers.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from objbench.data.scene import Array, BadScene, SceneBatch
from objbench.data.sources.layouts import LAYOUTS, record_features
from objbench.data.sources.planes import SceneError, label_map
from objbench.data.sources.tfrecord import Frame, SizeError, parse_example, place


@dataclass(frozen=True)
class RecordBlock:
    """Records of a file that are still to be decoded.

    Attributes:
        layout: A name in LAYOUTS.
        entities: Planes of the mask stack, background included.
    """

    layout: str
    entities: int
    path: Path
    frames: list[Frame]

    def __len__(self) -> int:
        return len(self.frames)

    def __getitem__(self, part: slice) -> RecordBlock:
        return replace(self, frames=self.frames[part])

    def decode(self) -> SceneBatch:
        """All scenes; BadScene for the first one that is damaged."""
        records = [self.parse(row) for row in range(len(self))]
        names = record_features(self.layout, self.entities)
        stacked = {name: np.stack([record[name] for record in records]) for name in names}
        planes = np.moveaxis(stacked.pop("mask")[..., 0], LAYOUTS[self.layout].entity_axis + 1, 1)
        try:
            masks = label_map(planes, values=(255,))
        except SceneError as error:
            raise self._bad(error.row, str(error)) from None
        masks[masks < LAYOUTS[self.layout].background] = 0
        images = np.broadcast_to(stacked.pop("image"), (*masks.shape, 3))  # gray ones become RGB
        index = np.array([frame.number for frame in self.frames])
        return SceneBatch(index, images, masks, stacked)

    def parse(self, row: int) -> dict[str, Array]:
        """The features of a record as stored; BadScene if it is damaged or of another dataset."""
        frame = self.frames[row]
        if not frame.intact:
            raise self._bad(row, "the record's checksum is wrong: the file is damaged")
        try:
            return parse_example(frame.payload, record_features(self.layout, self.entities))
        except ValueError as error:
            raise self._bad(row, self._odd_size(frame.payload) or str(error)) from None

    def _odd_size(self, payload: bytes) -> str:
        """What is wrong with the size of image or mask, and what has this size; empty if nothing is wrong."""
        features = record_features(self.layout, self.entities)
        try:
            parse_example(payload, {"image": features["image"]})
        except SizeError as error:
            sizes = {name: record_features(name, self.entities)["image"].size for name in LAYOUTS}
            others = [name for name, size in sizes.items() if size == error.count]
            return f"{error}: is its layout {' or '.join(others)}?" if others else str(error)
        except ValueError:
            return ""
        try:
            parse_example(payload, {"mask": features["mask"]})
        except SizeError as error:
            found, rest = divmod(error.count * self.entities, features["mask"].size)
            return str(error) if rest else f"{error}: are there {found} entities?"
        except ValueError:
            return ""
        return ""

    def _bad(self, row: int, reason: str) -> BadScene:
        frame = self.frames[row]
        return BadScene(row, frame.number, place(self.path, frame.number, frame.offset), reason)


def objects(frame: Frame, layout: str, entities: int) -> int | None:
    """The number of objects of a record by its `visibility`, the background (entity 0) not counted.

    None for a damaged record.
    """
    if frame.intact:
        with suppress(ValueError, OverflowError):  # of NaN, of infinity
            feature = {"visibility": record_features(layout, entities)["visibility"]}
            return round(float(parse_example(frame.payload, feature)["visibility"][1:].sum()))
    return None
