"""Images of more than 8 bits per channel, which Pillow may open as if they had 8."""

from __future__ import annotations

from PIL import Image

_DEEP = ("I", "F")  # Pillow's modes of one channel of more than 8 bits begin with these


def deep_mode(image: Image.Image) -> str | None:
    """The mode of an image of more than 8 bits per channel, as Pillow or as its file has it; None for 8 bits.

    Of coloured ones Pillow keeps the high bytes, and says so only until the pixels are loaded.
    """
    if image.mode.startswith(_DEEP):
        return image.mode
    for tile in getattr(image, "tile", ()):
        arguments = tile[3]
        mode = arguments[0] if isinstance(arguments, tuple) and arguments else arguments
        if isinstance(mode, str) and ";16" in mode:
            return mode
    return None
