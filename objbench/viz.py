"""Pictures of scenes and predictions: contact sheets and sample sheets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

Array = npt.NDArray[Any]
RGB = tuple[int, int, int]

TILE = 96  # smallest side of a picture in pixels; smaller pictures are enlarged by an integer factor
GAP = 4
HEADING = 18
CAPTION = 16
MAX_PLANES = 12
ALTERNATIVE = "prediction+masks="  # with a name: the samples' label maps by a method's other masks
MAX_SAMPLES = 8

_PAPER = (255, 255, 255)
_INK = (20, 20, 20)
_ABSENT = 0.1  # boxes of less presence are not drawn
_BACKGROUND = (64, 64, 64)
# The colours of Okabe and Ito, then those of Tol's bright and muted schemes that differ most from them.
_COLOURS = (
    (230, 159, 0), (86, 180, 233), (0, 158, 115), (240, 228, 66), (0, 114, 178), (213, 94, 0), (204, 121, 167),
    (136, 34, 85), (153, 221, 255), (221, 221, 221), (170, 170, 0), (51, 34, 136), (255, 170, 187), (17, 119, 51),
)  # fmt: skip
# Predicted segments without a match in the truth have the same hues, but darker, so that they do not look like a match.
_UNMATCHED_SHADE = 0.55


def colour(label: int) -> RGB:
    """The colour of a label: dark gray for 0 (background), then colour-blind friendly colours, which repeat."""
    return _BACKGROUND if label == 0 else _COLOURS[(label - 1) % len(_COLOURS)]


def label_picture(labels: Array) -> Array:
    """Label maps (..., H,W) of integers below 256 as uint8 RGB (..., H,W,3)."""
    palette = np.array([colour(label) for label in range(256)], dtype=np.uint8)
    return palette[labels]


def contact_sheet(
    images: Array, masks: Array, keys: Sequence[str], title: str, columns: int = 8
) -> Image.Image:
    """Images uint8 (N,3,H,W) in rows of `columns` below a title, each above its coloured label map uint8 (N,H,W) and its key."""
    if len(images) == 0:
        raise ValueError("a contact sheet needs at least one image")
    tiles = [
        _stack([_enlarged(channels_last(image)), _enlarged(label_picture(mask))])
        for image, mask in zip(images, masks, strict=True)
    ]
    captioned = [_stack([tile, _caption(key, tile.shape[1])]) for tile, key in zip(tiles, keys, strict=True)]
    sheet = Image.fromarray(_grid([captioned[i : i + columns] for i in range(0, len(tiles), columns)]))
    return _with_headings(sheet, [title], sheet.width)


def sample_sheet(samples: Mapping[str, Array]) -> Image.Image:
    """One row per image (at most 8): original, truth, prediction, boxes, other predictions, reconstruction, planes.

    A plane shows its component with its mask as alpha, on a checkerboard; without components the mask in gray. Of more
    than 12 planes those of `shown_planes` are shown. A predicted segment has the colour of the true segment that it
    matches, or a darker colour if it matches none.

    Args:
        samples: `images` uint8 (N,3,H,W), `masks` and `prediction` integer (N,H,W); optionally predictions by other masks,
            `prediction+masks=NAME`, with NAME as their heading, `reconstruction` uint8 (N,3,H,W), `soft_masks` uint8 (N,M,H,W) as probability x 255, `components` uint8 (N,M,3,H,W), and `boxes`
            (N,P,4) with their `presence` (N,P), as the extras of a Segmentation.
    """
    count = min(len(samples["images"]), MAX_SAMPLES)
    if count == 0:
        raise ValueError("a sample sheet needs at least one image")
    rows = [_sample_row({name: samples[name][i] for name in samples}) for i in range(count)]
    headings = _headings(samples, max(map(len, rows)))
    sheet = Image.fromarray(_grid(rows))
    return _with_headings(sheet, headings, rows[0][0].shape[1])


def prediction_colours(prediction: Array, truth: Array) -> dict[int, RGB]:
    """Predicted label -> colour: that of the true label it matches, otherwise a darker colour of an unused label."""
    matched = match_labels(prediction, truth)
    spare = [label for label in range(1, len(_COLOURS) + 1) if label not in matched.values()]
    unmatched = [int(label) for label in np.unique(prediction) if int(label) not in matched]
    colours = {label: colour(true) for label, true in matched.items()}
    for i, label in enumerate(unmatched):
        red, green, blue = colour(spare[i % len(spare)] if spare else i + 1)
        shade = _UNMATCHED_SHADE
        colours[label] = (int(red * shade), int(green * shade), int(blue * shade))
    return colours


def prediction_picture(prediction: Array, truth: Array) -> Array:
    """A predicted label map (H,W) as uint8 RGB (H,W,3), coloured by `prediction_colours`."""
    picture = np.zeros((*prediction.shape, 3), dtype=np.uint8)
    for label, rgb in prediction_colours(prediction, truth).items():
        picture[prediction == label] = rgb
    return picture


def present_boxes(boxes: Array, presence: Array) -> list[tuple[int, list[float], float]]:
    """The boxes worth drawing, the most certain last: index, [left, top, width, height], presence.

    Args:
        boxes: float (P,4), in fractions of the image.
        presence: float (P,) in [0,1]; boxes with less than 0.1 are left out.
    """
    order = (int(i) for i in np.argsort(presence, kind="stable") if presence[i] >= _ABSENT)
    return [(i, [float(side) for side in boxes[i]], float(presence[i])) for i in order]


def box_colours(prediction: Array, truth: Array, count: int) -> list[RGB]:
    """The colour of each of `count` boxes: that of its plane, the next one, in the prediction (H,W); white without pixels."""
    colours = prediction_colours(prediction, truth)
    return [colours.get(i + 1, _PAPER) for i in range(count)]


def shown_planes(soft_masks: Array) -> list[int]:
    """The planes of masks uint8 (M,H,W) to show: all in their order; of more than 12 the largest that are seen, largest first.

    Seen is a mask that reaches an even share of some pixel, as each one does that has a pixel in the prediction. At most 12 are
    shown, and the largest where none is seen.
    """
    if len(soft_masks) <= MAX_PLANES:
        return list(range(len(soft_masks)))
    flat = soft_masks.reshape(len(soft_masks), -1)
    largest = [int(plane) for plane in np.argsort(-flat.sum(1, dtype=np.int64), kind="stable")]
    even = max(255 // len(flat), 1)
    return [plane for plane in largest if flat[plane].max() >= even][:MAX_PLANES] or largest[:1]


def on_checkerboard(image: Array, alpha: Array) -> Array:
    """The image uint8 (H,W,3) with alpha uint8 (H,W) on a light checkerboard, as uint8 RGB (H,W,3)."""
    height, width = alpha.shape
    side = max(2, min(height, width) // 12)
    rows, columns = np.arange(height)[:, None] // side, np.arange(width)[None, :] // side
    board = np.where((rows + columns) % 2 == 0, 255, 215)[..., None]
    share = alpha[..., None].astype(np.float32) / 255
    mixed: Array = (image * share + board * (1 - share)).round().astype(np.uint8)
    return mixed


def gray(plane: Array) -> Array:
    """A plane uint8 (H,W) as uint8 RGB (H,W,3)."""
    return np.repeat(plane[..., None], 3, axis=-1)


def channels_last(image: Array) -> Array:
    """(3,H,W) as (H,W,3)."""
    return np.moveaxis(image, 0, -1)


def match_labels(prediction: Array, truth: Array) -> dict[int, int]:
    """Predicted label -> true label: a one-to-one matching, greedy by IoU, of labels that share a pixel."""
    predicted, true = np.unique(prediction), np.unique(truth)
    overlaps = []
    for p in predicted:
        for t in true:
            both = np.count_nonzero((prediction == p) & (truth == t))
            either = np.count_nonzero((prediction == p) | (truth == t))
            if both:
                overlaps.append((-both / either, int(p), int(t)))
    matched: dict[int, int] = {}
    for _, p, t in sorted(overlaps):
        if p not in matched and t not in matched.values():
            matched[p] = t
    return matched


def _headings(samples: Mapping[str, Array], columns: int) -> list[str]:
    first = ["image", "truth", "prediction"] + ["boxes"] * ("boxes" in samples)
    first += [name.removeprefix(ALTERNATIVE) for name in _alternatives(samples)]
    if "reconstruction" in samples:
        first.append("reconstruction")
    all_shown = columns - len(first) == len(samples.get("soft_masks", [[]])[0])
    word = "plane" if all_shown else "largest"
    return first + [f"{word} {i + 1}" for i in range(columns - len(first))]


def _sample_row(sample: Mapping[str, Array]) -> list[Array]:
    truth, prediction = sample["masks"], sample["prediction"]
    pictures = [
        channels_last(sample["images"]),
        label_picture(truth),
        prediction_picture(prediction, truth),
    ]
    pictures += [prediction_picture(sample[name], truth) for name in _alternatives(sample)]
    if "reconstruction" in sample:
        pictures.append(channels_last(sample["reconstruction"]))
    tiles = [_enlarged(picture) for picture in [*pictures, *_planes(sample)]]
    return [*tiles[:3], _boxes(sample, tiles[0]), *tiles[3:]] if "boxes" in sample else tiles


def _alternatives(samples: Mapping[str, Array]) -> list[str]:
    return [name for name in samples if name.startswith(ALTERNATIVE)]


def _boxes(sample: Mapping[str, Array], tile: Array) -> Array:
    """The boxes of a sample on its image, as opaque as they are present."""
    boxes, picture = sample["boxes"], Image.fromarray(tile)
    colours = box_colours(sample["prediction"], sample["masks"], len(boxes))
    draw = ImageDraw.Draw(picture, "RGBA")
    for i, (left, top, width, height), presence in present_boxes(boxes, sample["presence"]):
        corners = np.array([left, top, left + width, top + height]) * np.tile(picture.size, 2)
        x0, y0, x1, y1 = (int(side) for side in corners.round())
        outline = (*colours[i], round(255 * presence))
        draw.rectangle((x0, y0, max(x0, x1 - 1), max(y0, y1 - 1)), outline=outline, width=2)
    return np.asarray(picture)


def _planes(sample: Mapping[str, Array]) -> list[Array]:
    """Each plane as RGB (H,W,3): its component with the mask as alpha, or the mask."""
    if "soft_masks" not in sample:
        return []
    masks = sample["soft_masks"]
    shown = shown_planes(masks)
    if "components" not in sample:
        return [gray(masks[i]) for i in shown]
    return [on_checkerboard(channels_last(sample["components"][i]), masks[i]) for i in shown]


def _enlarged(picture: Array) -> Array:
    factor = -(-TILE // min(picture.shape[:2]))
    return picture.repeat(factor, axis=0).repeat(factor, axis=1)


def _caption(text: str, width: int) -> Array:
    """A text on white, (CAPTION,width,3)."""
    picture = Image.new("RGB", (width, CAPTION), _PAPER)
    ImageDraw.Draw(picture).text((0, 1), text, fill=_INK, font=ImageFont.load_default(size=11))
    return np.asarray(picture)


def _stack(parts: list[Array]) -> Array:
    """Pictures of equal width below each other, without a gap."""
    return np.concatenate(parts, axis=0)


def _grid(rows: list[list[Array]]) -> Array:
    """Tiles of equal size in rows on white, with gaps between them; rows may be of different lengths."""
    height, width = rows[0][0].shape[:2]
    shape = (GAP + len(rows) * (height + GAP), GAP + max(map(len, rows)) * (width + GAP), 3)
    sheet = np.full(shape, _PAPER, dtype=np.uint8)
    for y, row in enumerate(rows):
        for x, tile in enumerate(row):
            top, left = GAP + y * (height + GAP), GAP + x * (width + GAP)
            sheet[top : top + height, left : left + width] = tile
    return sheet


def _with_headings(sheet: Image.Image, headings: list[str], tile_width: int) -> Image.Image:
    whole = Image.new("RGB", (sheet.width, sheet.height + HEADING), _PAPER)
    whole.paste(sheet, (0, HEADING))
    draw, font = ImageDraw.Draw(whole), ImageFont.load_default(size=12)
    for i, heading in enumerate(headings):
        draw.text((GAP + i * (tile_width + GAP), 3), heading, fill=_INK, font=font)
    return whole
