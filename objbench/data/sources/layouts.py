"""How the known releases store a scene: a dataset's block names one of these with `options: {layout: NAME}`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from types import MappingProxyType

from objbench.data.sources.tfrecord import Feature

_NUMBER = Feature("float", ())
_CODE = Feature("bytes", ())
_COLOR = Feature("float", (3,))


@dataclass(frozen=True)
class Layout:
    """A scene in a record of DeepMind's release, and in the EfficientMORL release that was made from it.

    Attributes:
        height: Of image and masks as released, in pixels.
        width: Of image and masks as released, in pixels.
        entity_axis: Of the masks in a record: 0 for (E,H,W,1), 2 for (H,W,E,1).
        factors: The factors in a record, each as the values of one entity.
        channels: Of the image in a record: 3, or 1 for gray.
        columns: The first columns of `factors` in an EfficientMORL file; the last one is the visibility, and the release
            does not say what is between them. Empty where its files have no factors.
        background: So many of the first entities are parts of the background.
    """

    height: int
    width: int
    entity_axis: int
    factors: Mapping[str, Feature]
    channels: int = 3
    columns: tuple[str, ...] = ()
    background: int = 1


_SPRITES = dict.fromkeys(("x", "y", "shape", "orientation", "scale", "visibility"), _NUMBER)
LAYOUTS = MappingProxyType(
    {
        "tetrominoes": Layout(
            35, 35, 0, {**dict.fromkeys(("x", "y", "shape", "visibility"), _NUMBER), "color": _COLOR}
        ),
        "multi_dsprites": Layout(64, 64, 2, {**_SPRITES, "color": _COLOR}),
        "multi_dsprites_binarized": Layout(64, 64, 2, _SPRITES, channels=1),
        "clevr": Layout(
            240,
            320,
            0,
            {
                **dict.fromkeys(("x", "y", "z", "rotation", "visibility"), _NUMBER),
                **dict.fromkeys(("size", "material", "shape", "color"), _CODE),
                "pixel_coords": Feature("float", (3,)),
            },
            columns=("x", "y", "z", "rotation", "size", "material", "shape", "color"),
        ),
        "objects_room": Layout(64, 64, 0, {}, background=4),  # sky, floor and the two halves of the wall
    }
)


@cache
def record_features(layout: str, entities: int) -> dict[str, Feature]:
    """The features of a record of DeepMind's release with so many entities, the background included."""
    known = LAYOUTS[layout]
    mask = [known.height, known.width, 1]
    mask.insert(known.entity_axis, entities)
    factors = {name: Feature(one.kind, (entities, *one.shape)) for name, one in known.factors.items()}
    image = Feature("bytes", (known.height, known.width, known.channels))
    return {"image": image, "mask": Feature("bytes", tuple(mask)), **factors}
