"""Label maps of anybody, as PNG files of any kind. Imported by the encoding workers.

Background is where the value, the palette index or the colour is 0 (black), or where the alpha is 0. Every other value,
index or colour is one object; the objects of a scene are numbered 1, 2, ... in ascending order of it, colours as the
number 0xRRGGBB.
"""

from __future__ import annotations

import io

import numpy as np
from PIL import Image

from objbench.data.format.png import check_chunks
from objbench.data.scene import Array
from objbench.errors import brief

_OPAQUE = 255
_COLOURED = (2, 4, 6)  # colour types of PNG whose pixels Pillow reads with 8 bits only
_DAMAGE = (OSError, SyntaxError, ValueError, EOFError)


def png_labels(content: bytes) -> Array:
    """The labels of a PNG, uint8 (H,W), numbered as this module says.

    Raises:
        ValueError: It is no PNG, damaged, animated or too large, has soft edges, or more than 255 objects.
    """
    try:
        check_chunks(content)
        with Image.open(io.BytesIO(content), formats=["PNG"]) as image:
            if getattr(image, "n_frames", 1) > 1:
                raise ValueError("it is animated")
            depth, kind = content[24:26]
            if depth > 8 and kind in _COLOURED:
                raise ValueError(f"it has {depth} bits per channel, expected 8, or gray of 16")
            codes, alpha = _codes(image, depth)
    except _DAMAGE as error:
        raise ValueError(f"is no label map in a PNG, or a damaged one ({brief(error)})") from None
    soft = (alpha != 0) & (alpha != _OPAQUE)
    if soft.any():
        raise ValueError(
            f"has the alpha {alpha[soft][0]}, expected 0 (background) or 255 everywhere: soft edges are no labels"
        )
    return numbered(np.where(alpha == 0, 0, codes))


def numbered(codes: Array) -> Array:
    """Integers (H,W), 0 the background, as labels uint8: the others become 1, 2, ... in ascending order.

    >>> numbered(np.array([[0, 70000], [9, 0]])).tolist()
    [[0, 2], [1, 0]]
    """
    values, places = np.unique(codes, return_inverse=True)
    found = len(values) - (values[0] == 0)
    if found > np.iinfo(np.uint8).max:
        raise ValueError(
            f"has {found:,} labels, expected at most 255: is it a picture, or a label map with smoothed edges?"
        )
    labels = np.cumsum(values != 0).astype(np.uint8) * (values != 0)
    numbers: Array = labels[places].reshape(codes.shape).astype(np.uint8)
    return numbers


def _codes(image: Image.Image, depth: int) -> tuple[Array, Array]:
    """The integers of the pixels, int64 (H,W), and their alpha, uint8 (H,W). Gray of `depth` 2 and 4 is 0..255 in Pillow."""
    opaque = np.full(image.size[::-1], _OPAQUE, np.uint8)
    if image.mode in ("RGBA", "LA", "PA"):
        opaque = np.asarray(image.getchannel("A"))
        image = image if image.mode == "RGBA" else image.getchannel(0)
    elif (transparent := image.info.get("transparency")) is not None:
        if image.mode.startswith(("I", "L", "1")):
            gray = transparent  # as it is stored, but for one bit, where Pillow makes 255 of it
            if image.mode == "L":
                gray = transparent * 255 // (2**depth - 1)
            elif image.mode == "1":
                gray = transparent // 255
            opaque = np.where(np.asarray(image) == gray, 0, _OPAQUE).astype(np.uint8)
        else:
            opaque = np.asarray(image.convert("RGBA"))[..., 3]
    pixels = np.asarray(image).astype(np.int64)
    if pixels.ndim == 3:
        pixels = pixels[..., 0] << 16 | pixels[..., 1] << 8 | pixels[..., 2]
    return pixels, opaque
