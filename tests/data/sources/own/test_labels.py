from __future__ import annotations

import zlib
from collections.abc import Callable

import numpy as np
import pytest
from helpers.own import png, saved
from PIL import Image

from objbench.data.sources.own.labels import numbered, png_labels

LABELS = np.array([[0, 1, 1], [0, 2, 3]], np.uint8)
CODES = np.array([0, 3, 7, 200], np.uint8)[LABELS]
COLOURS = np.array([[0, 0, 0], [0, 0, 255], [0, 255, 0], [255, 0, 0]], np.uint8)[LABELS]


def palette(transparency: int | None = None) -> bytes:
    image = Image.fromarray(LABELS, "L").convert("P")
    image.putdata(LABELS.ravel().tolist())
    image.putpalette([9, 9, 9, 250, 0, 0, 0, 0, 0, 1, 2, 3])  # index 2 is black, index 0 is not
    return saved(image, "PNG", **({} if transparency is None else {"transparency": transparency}))


def with_alpha(pixels: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    return np.concatenate([pixels.reshape(*alpha.shape, -1), alpha[..., None]], axis=-1).astype(np.uint8)


VISIBLE = np.where(LABELS == 0, 0, 255)
KINDS: dict[str, Callable[[], bytes]] = {
    "gray": lambda: png(CODES),
    "gray of 16 bits": lambda: png(CODES.astype(np.uint16) * 257),
    "palette": palette,
    "colours": lambda: png(COLOURS),
    "colours with alpha": lambda: png(with_alpha(COLOURS, VISIBLE)),
    "opaque colours with alpha": lambda: png(with_alpha(COLOURS, np.full(LABELS.shape, 255))),
    "transparent, though not black": lambda: png(with_alpha(np.maximum(COLOURS, 1), VISIBLE)),
    "gray with alpha": lambda: saved(Image.fromarray(with_alpha(CODES + 1, VISIBLE), "LA"), "PNG"),
    "gray with a transparent value": lambda: png(CODES + 9, transparency=9),
    "gray of 16 bits with a transparent value": lambda: png(CODES.astype(np.uint16) + 900, transparency=900),
}


@pytest.mark.filterwarnings("ignore:'mode' parameter:DeprecationWarning")
@pytest.mark.parametrize("kind", list(KINDS))
def test_every_kind_of_png_gives_the_same_labels(kind: str) -> None:
    labels = png_labels(KINDS[kind]())
    assert labels.dtype == np.uint8
    assert np.array_equal(labels, LABELS)


@pytest.mark.filterwarnings("ignore:'mode' parameter:DeprecationWarning")
def test_a_transparent_palette_index_is_background() -> None:
    assert np.array_equal(png_labels(palette(2)), [[0, 1, 1], [0, 0, 2]])


@pytest.mark.parametrize("depth", [1, 2, 4, 8])
def test_a_transparent_gray_of_any_depth_is_background(depth: int) -> None:
    """A tRNS chunk has the gray as it is stored; Pillow scales grays of 2 and 4 bits, and cannot write them."""
    codes = np.array([[0, 1, 1, 0]]) if depth == 1 else np.array([[3, 1, 2, 0]])
    row = np.unpackbits(codes.astype(np.uint8).reshape(-1, 1), axis=1)[:, -depth:].ravel()

    def chunk(kind: bytes, content: bytes) -> bytes:
        return (
            len(content).to_bytes(4, "big") + kind + content + zlib.crc32(kind + content).to_bytes(4, "big")
        )

    header = (4).to_bytes(4, "big") + (1).to_bytes(4, "big") + bytes([depth, 0, 0, 0, 0])
    pixels = zlib.compress(b"\0" + np.packbits(row).tobytes())
    parts = [(b"IHDR", header), (b"tRNS", b"\0\x01"), (b"IDAT", pixels), (b"IEND", b"")]
    content = b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*part) for part in parts)
    assert png_labels(content).tolist() == ([[0, 0, 0, 0]] if depth == 1 else [[2, 0, 1, 0]])


def test_one_bit_has_one_object() -> None:
    assert np.array_equal(png_labels(png(LABELS > 1)), LABELS > 1)


@pytest.mark.parametrize("background", [0, 1])
def test_numbers_ascend_with_and_without_background(background: int) -> None:
    codes = np.array([[5, 70_000], [1, background]])
    expected = [[2, 3], [1, 0]] if background == 0 else [[2, 3], [1, 1]]
    assert numbered(codes).tolist() == expected


def test_no_object_at_all() -> None:
    assert not png_labels(png(np.zeros((2, 3), np.uint8))).any()


def test_255_objects_are_the_most() -> None:
    many = np.arange(256, dtype=np.uint16).reshape(16, 16)
    assert png_labels(png(many)).max() == 255
    with pytest.raises(ValueError, match="has 256 labels, expected at most 255: is it a picture"):
        png_labels(png(many + 1))


def deep_colours() -> bytes:
    """A PNG of RGB with 16 bits per channel, which Pillow cannot write."""
    content = png(COLOURS)
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in COLOURS)
    head = content[16:24] + b"\x10\x02\0\0\0"

    def chunk(kind: bytes, data: bytes) -> bytes:
        return len(data).to_bytes(4, "big") + kind + data + zlib.crc32(kind + data).to_bytes(4, "big")

    return content[:8] + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            png(with_alpha(COLOURS, VISIBLE // 2)),
            "has the alpha 127, expected 0 .background. or 255 everywhere",
        ),
        (deep_colours(), "it has 16 bits per channel, expected 8, or gray of 16"),
        (png(CODES)[:-3], "is no label map in a PNG, or a damaged one"),
        (saved(Image.fromarray(CODES), "JPEG"), "it does not begin as a PNG does"),
        (
            saved(Image.fromarray(CODES), "PNG", save_all=True, append_images=[Image.fromarray(LABELS)]),
            "animated",
        ),
        (b"", "is no label map"),
    ],
)
def test_other_files_are_refused(content: bytes, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        png_labels(content)
