"""Pictures and label maps as text inside a page: WebP in data URIs, deflated bytes in base64."""

from __future__ import annotations

import base64
import io
import zlib
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image

from objbench.viz import Array

_SMALL = 48  # pictures of at most this side are stored without loss if there is room
_SPLIT = 64  # planes larger than this are scaled down if there is no room
_FAINT = 8  # of 255: fainter pixels are left out of lossy planes, as they cost the most and show the least


@dataclass(frozen=True)
class Level:
    """How much room pictures get.

    Attributes:
        quality: Of colours, 0 to 100.
        alpha_quality: Of alpha, 0 to 100.
        shrink: Integer factor by which large planes are scaled down.
        lossless_small: Whether small pictures are stored without loss.
    """

    name: str
    quality: int
    alpha_quality: int
    shrink: int
    lossless_small: bool


LEVELS = (
    Level("full resolution", 75, 60, 1, True),
    Level("half resolution", 55, 20, 2, False),
    Level("half resolution", 40, 10, 2, False),
    Level("a third of the resolution", 40, 10, 3, False),
    Level("a quarter of the resolution", 40, 10, 4, False),
)


def picture(pixels: Array, level: Level) -> str:
    """Encode uint8 (H,W), (H,W,3) or (H,W,4) as a data URI."""
    return _webp(pixels, level, max(pixels.shape[:2]))


def atlas(tiles: Array, level: Level) -> str:
    """Encode tiles uint8 (M,h,w,C), C = 3 or 4, below each other in one picture (M*h,w,C), as a data URI."""
    return _webp(tiles.reshape(-1, *tiles.shape[2:]), level, max(tiles.shape[1:3]))


def planes(masks: Array, components: Array | None, level: Level) -> tuple[str, int, int]:
    """Encode masks as the alpha of their components.

    Args:
        masks: uint8 (M,H,W).
        components: uint8 (M,3,H,W), or None for white.
        level: How much room there is.

    Returns:
        An atlas as a data URI, and the height and width of its tiles.
    """
    colours = (
        np.full((*masks.shape, 3), 255, np.uint8) if components is None else np.moveaxis(components, 1, -1)
    )
    tiles = np.concatenate([colours, masks[..., None]], axis=-1)
    if level.shrink > 1 and min(masks.shape[1:]) > _SPLIT:
        tiles = _shrunk(tiles, level.shrink)
    if not (level.lossless_small and max(masks.shape[1:]) <= _SMALL):
        tiles = np.where(tiles[..., 3:] < _FAINT, np.uint8(0), tiles)
    return atlas(tiles, level), tiles.shape[1], tiles.shape[2]


def deflated(labels: npt.ArrayLike) -> str:
    """Encode labels as little-endian 16-bit integers, deflated (RFC 1950), in base64."""
    content = np.asarray(labels).astype("<u2").tobytes()
    return base64.b64encode(zlib.compress(content)).decode()


def _shrunk(tiles: Array, factor: int) -> Array:
    """Average over squares of `factor` pixels, colours weighted by alpha; incomplete squares at the edges are cut off."""
    count, height, width, channels = tiles.shape
    h, w = height // factor, width // factor
    cut = np.ascontiguousarray(tiles[:, : h * factor, : w * factor]).reshape(-1, w * factor, channels)
    return np.asarray(Image.fromarray(cut).reduce(factor)).reshape(count, h, w, channels)


def _webp(pixels: Array, level: Level, side: int) -> str:
    out = io.BytesIO()
    lossless = level.lossless_small and side <= _SMALL
    Image.fromarray(np.ascontiguousarray(pixels)).save(
        out,
        "WEBP",
        lossless=lossless,
        quality=50 if lossless else level.quality,
        alpha_quality=level.alpha_quality,
        method=2,
    )
    return "data:image/webp;base64," + base64.b64encode(out.getvalue()).decode()
