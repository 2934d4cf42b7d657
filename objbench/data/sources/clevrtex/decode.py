"""A scene of ClevrTex, from the bytes of its three files to arrays: what the workers of prepare do.

The mask is a palette image whose pixel VALUES are the object numbers: 0 the background, i the object whose `index`
in the JSON is i. Read as RGB, or converted to it by anybody, it holds palette colours, which are no object numbers:
such masks are refused. A gray-level mask is taken if no value exceeds the number of objects, at most ten: then it
holds the numbers themselves, for the darkest palette colour but black has the gray level 29.

v1's data call one material FabricUpholsteryBrightAnglePattern001 that is in truth FabricUpholsteryMidCenturyPebbles001
(upstream's erratum); factors say what the data say.
"""

from __future__ import annotations

import io
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from objbench.data.format.png import check_chunks
from objbench.data.scene import Array, BadScene, SceneBatch
from objbench.data.sources.clevrtex.names import ENTITIES, HEIGHT, MOST_BYTES, WIDTH
from objbench.errors import brief
from objbench.json_text import parse_json

_TEXTS = ("shape", "material", "size")
_COLOURED = (*_TEXTS, "color")  # of vbg alone: elsewhere the colour that the JSON names is that of no object
_NUMBERS = {"rotation": 1, "3d_coords": 3, "pixel_coords": 3}
_FAULTS = (OSError, SyntaxError, ValueError)  # of Pillow and `check_chunks`, for a damaged PNG


class SceneFile(NamedTuple):
    """A file of a scene: where a person finds it, and its bytes; None where it is to be read from there."""

    where: str
    content: bytes | None = None


@dataclass(frozen=True)
class Scene:
    """A scene that is still to be decoded; its three files."""

    index: int
    image: SceneFile
    mask: SceneFile
    facts: SceneFile

    @property
    def size(self) -> int:
        """The bytes that it holds."""
        return sum(len(file.content or b"") for file in (self.image, self.mask, self.facts))


@dataclass(frozen=True)
class ClevrTexBlock:
    """Some scenes of a variant of ClevrTex, still to be decoded."""

    variant: str
    scenes: list[Scene]

    def __len__(self) -> int:
        return len(self.scenes)

    def __getitem__(self, part: slice) -> ClevrTexBlock:
        return ClevrTexBlock(self.variant, self.scenes[part])

    def decode(self) -> SceneBatch:
        """Images uint8 (N,240,320,3), masks uint8 (N,240,320), and the factors of each variant.

        Per entity, `ENTITIES` rows, row e of mask value e: shape, material, size, in vbg color (text, "" for the
        background and for rows without an object), rotation, 3d_coords, pixel_coords (float64, 0 there) and
        visibility (1 for the background and every object, else 0); per scene: ground_material.
        Raises BadScene for a scene that is damaged, incomplete or not in the format of version 1.
        """
        images = np.empty((len(self), HEIGHT, WIDTH, 3), np.uint8)
        masks = np.empty((len(self), HEIGHT, WIDTH), np.uint8)
        rows = []
        for row, scene in enumerate(self.scenes):
            what, file = "JSON", scene.facts
            try:
                factors, count = _factors(_read(file), scene.index, self.variant)
                what, file = "image", scene.image
                images[row] = _image(_read(file))
                what, file = "mask", scene.mask
                masks[row] = _mask(_read(file), count)
            except (ValueError, OverflowError) as error:
                raise BadScene(row, scene.index, file.where, f"the {what} {error}") from None
            rows.append(factors)
        index = np.array([scene.index for scene in self.scenes], np.int64)
        return SceneBatch(index, images, masks, {name: np.array([f[name] for f in rows]) for name in rows[0]})


def _read(file: SceneFile) -> bytes:
    if file.content is not None:
        return file.content
    try:
        with Path(file.where).open("rb") as opened:
            content = opened.read(MOST_BYTES + 1)
    except (FileNotFoundError, NotADirectoryError):  # beyond an archive
        raise ValueError("is missing") from None
    except OSError as error:
        raise ValueError(f"cannot be read: {error.strerror}") from None
    if len(content) > MOST_BYTES:
        raise ValueError(f"has more than {MOST_BYTES:,} bytes")
    return content


def _image(content: bytes) -> Array:
    mode, pixels = _pixels(content)
    if mode not in ("RGBA", "RGB"):
        raise ValueError(f"is of mode {mode}, expected RGBA or RGB")
    return pixels[..., :3]


def _mask(content: bytes, objects: int) -> Array:
    mode, labels = _pixels(content)
    if mode not in ("P", "L"):
        raise ValueError(
            f"is of mode {mode}, expected P: palette colours are no object numbers. It was converted; "
            "take the file as it was released"
        )
    if labels.max() > objects:
        gray = "; are these gray levels of palette colours?" if mode == "L" else ""
        raise ValueError(f"holds the value {labels.max()}, but the scene has {objects} objects{gray}")
    return labels


def _pixels(content: bytes) -> tuple[str, Array]:
    """The mode and the pixels of a PNG of the release's size."""
    try:
        check_chunks(content)
        with Image.open(io.BytesIO(content), formats=["PNG"]) as image:
            if image.size == (WIDTH, HEIGHT):
                return image.mode, np.asarray(image)
            width, height = image.size
    except _FAULTS as error:
        raise ValueError(f"is no PNG, or a damaged one ({brief(error)})") from None
    old = ", as in pre-releases of ClevrTex" if {width, height} == {480, 640} else ""
    raise ValueError(f"has {width}x{height} pixels{old}; expected {WIDTH}x{HEIGHT}")


def _factors(content: bytes, index: int, variant: str) -> tuple[dict[str, Any], int]:
    """The factors of one scene by name, and its number of objects; ValueError where the JSON is not the release's."""
    try:
        facts = parse_json(content)
    except ValueError as error:
        raise ValueError(f"cannot be parsed: {error}") from None
    if not isinstance(facts, dict):
        raise ValueError("is not that of a scene")
    if facts.get("image_index") != index:
        raise ValueError(f"has the image_index {facts.get('image_index')!r}, the file's name says {index}")
    objects = _in_order(facts)
    texts = _COLOURED if variant == "vbg" else _TEXTS
    spare = ENTITIES - 1 - len(objects)
    factors: dict[str, Any] = {"ground_material": _text(facts, "ground_material")}
    for name in texts:
        factors[name] = ["", *(_text(item, name) for item in objects), *[""] * spare]
    for name, size in _NUMBERS.items():
        zero = 0.0 if size == 1 else [0.0] * size
        factors[name] = [zero, *(_numbers(item, name, size) for item in objects), *[zero] * spare]
    factors["visibility"] = [1.0] * (1 + len(objects)) + [0.0] * spare
    return factors, len(objects)


def _in_order(facts: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The objects of a scene, that of mask value 1 first."""
    objects = facts.get("objects")
    if not isinstance(objects, list) or not all(isinstance(item, dict) for item in objects):
        raise ValueError("has no list of 'objects'")
    if len(objects) >= ENTITIES or facts.get("num_objects") != len(objects):
        raise ValueError(
            f"has {len(objects)} objects, expected num_objects, which is {facts.get('num_objects')!r}, and at most "
            f"{ENTITIES - 1}"
        )
    numbered = {item.get("index"): item for item in objects if type(item.get("index")) is int}
    if set(numbered) != set(range(1, len(objects) + 1)):
        found = [item.get("index") for item in objects]
        raise ValueError(f"has objects of index {found}, expected each of 1 to {len(objects)} once")
    return [numbered[number] for number in range(1, len(objects) + 1)]


def _text(item: Mapping[str, Any], name: str) -> str:
    if not isinstance(value := item.get(name), str):
        raise ValueError(f"has the {name} {value!r}, expected a text")
    return value


def _numbers(item: Mapping[str, Any], name: str, size: int) -> float | list[float]:
    """One finite number, or a list of `size`."""
    value = item.get(name)
    values = [value] if size == 1 else value
    if isinstance(values, list) and len(values) == size and all(map(_is_number, values)):
        return float(values[0]) if size == 1 else [float(number) for number in values]
    raise ValueError(f"has the {name} {value!r}, expected {'a number' if size == 1 else f'{size} numbers'}")


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
