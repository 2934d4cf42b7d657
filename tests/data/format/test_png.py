"""PNGs: Pillow reads what is written here, and everything that Pillow writes is read here."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from objbench.data.format import png

SHAPES = [(1, 1), (35, 35), (64, 64), (65, 64), (128, 128)]


def pixels(height: int, width: int, channels: int) -> np.ndarray:
    shape = (height, width, 3) if channels == 3 else (height, width)
    return np.random.default_rng(height).integers(0, 256, shape, np.uint8)


@pytest.mark.parametrize("size", SHAPES)
@pytest.mark.parametrize(("mode", "channels"), [("RGB", 3), ("L", 1)])
def test_pillow_reads_what_is_written(size: tuple[int, int], mode: str, channels: int) -> None:
    written = pixels(*size, channels)
    content = png.encode(written)
    with Image.open(io.BytesIO(content)) as image:
        image.verify()
    with Image.open(io.BytesIO(content)) as image:
        assert (image.format, image.mode) == ("PNG", mode)
        assert np.array_equal(np.asarray(image), written)
    assert np.array_equal(png.decode(content, mode), written)


@pytest.mark.parametrize("size", SHAPES)
def test_what_pillow_writes_is_read(size: tuple[int, int]) -> None:
    written = pixels(*size, 3)
    buffer = io.BytesIO()
    Image.fromarray(written).save(buffer, "PNG")
    assert np.array_equal(png.decode(buffer.getvalue(), "RGB"), written)


def test_the_wrong_mode_is_refused() -> None:
    with pytest.raises(ValueError, match="mode RGB was expected, found L"):
        png.decode(png.encode(pixels(5, 7, 1)), "RGB")


@pytest.mark.parametrize("at", [0, 18, 45, -1])
@pytest.mark.parametrize("size", [(35, 35), (128, 128)])
def test_damage_is_noticed(size: tuple[int, int], at: int) -> None:
    content = bytearray(png.encode(pixels(*size, 3)))
    if at == -1:
        del content[-40:]
    else:
        content[at] ^= 0xFF
    with pytest.raises((ValueError, OSError, SyntaxError)):
        png.decode(bytes(content), "RGB")
