"""Images of anybody: what is read, what is refused, and the way to a model's size and back."""

from __future__ import annotations

import errno
import io
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.own import FLIPPED_PNG
from helpers.raw_png import raw_png
from PIL import Image

import objbench
from objbench.errors import ObjbenchError, RequestError
from objbench.use.images import is_single, labels_at, named_images, read_image, to_size
from objbench.use.segmented import Segmented

IMAGE = torch.arange(3 * 4 * 5, dtype=torch.uint8).reshape(3, 4, 5) * 4
ARRAY = IMAGE.permute(1, 2, 0).numpy()


def one(images):
    (found,) = named_images(images)
    return found.values


@pytest.mark.parametrize(
    "images",
    [
        IMAGE,
        IMAGE[None],
        IMAGE.double() / 255,
        (IMAGE.double() / 255).half().float()[None],
        ARRAY,
        ARRAY[None],
        ARRAY / 255,
        Image.fromarray(ARRAY),
        [IMAGE],
        [ARRAY],
        (Image.fromarray(ARRAY),),
    ],
    ids=range(11),
)
def test_every_kind_gives_the_same_values(images):
    torch.testing.assert_close(one(images), IMAGE / 255, atol=5e-4, rtol=0)


def test_a_file_is_read_upright_as_rgb_without_alpha(tmp_path):
    path = tmp_path / "a.png"
    Image.fromarray(np.dstack([ARRAY, np.zeros((4, 5), np.uint8)])).save(path)
    torch.testing.assert_close(one(path), IMAGE / 255)
    torch.testing.assert_close(one(str(path)), IMAGE / 255)
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned: rows are columns
    Image.fromarray(ARRAY).save(path, exif=exif)
    torch.testing.assert_close(one(path), IMAGE.rot90(-1, (1, 2)) / 255)


def test_the_name_of_a_file_and_the_position_give_the_draws(tmp_path):
    Image.fromarray(ARRAY).save(tmp_path / "a.png")
    keys = [image.key for image in named_images([IMAGE, tmp_path / "a.png", ARRAY])]
    assert keys == ["00000000", "a.png", "00000002"]


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (torch.zeros(4, 5), r"found a tensor of shape \(4, 5\): expected a tensor \(3,H,W\)"),
        (torch.zeros(4, 5, 3), r"image 0: a tensor of shape \(4, 5, 3\), expected \(3,H,W\) \(channels last\?"),
        (np.zeros((3, 4, 5)), r"image 0: an array of shape \(3, 4, 5\), expected \(H,W,3\) \(channels first\?"),
        (np.zeros((4, 5, 4)), r"image 0: an array of shape \(4, 5, 4\), expected \(H,W,3\)$"),
        (IMAGE.float(), r"image 0: values from 0 to 236, expected float in \[0,1\], or uint8; divide it by 255"),
        ([IMAGE, IMAGE / -255], r"image 1: values from -0.9\d+ to 0, expected float in \[0,1\], or uint8$"),
        (torch.full((3, 2, 2), torch.nan), r"image 0: values from nan to nan, expected"),
        (IMAGE.int(), r"image 0: int32, expected uint8, or float"),
        (ARRAY.astype(np.uint16), r"image 0: uint16, expected uint8, or float"),
        (ARRAY > 3, r"image 0: bool, expected uint8, or float"),
        (ARRAY.astype(object), r"image 0: object, expected uint8, or float"),
        ([IMAGE, None], r"image 1: found NoneType in a list of images"),
        ([IMAGE[None]], r"image 0: found of shape \(1, 3, 4, 5\) in a list of images"),
        ([], "no images: expected"),
        (torch.zeros(0, 3, 4, 5), "no images: expected"),
        (torch.zeros(3, 0, 5), "image 0: a tensor of shape"),
        (torch.zeros(3, 2, 2).to_sparse(), "image 0: a tensor of layout torch.sparse_coo, expected a dense one"),
        (objbench.generate("tetrominoes", 1)[:0], "no images: expected"),
        (7, "int is no image: expected a tensor"),
        (Image.new("I;16", (4, 4)), "image 0: its mode is I;16, expected 8 bits per channel"),
    ],
    ids=range(20),
)  # fmt: skip
def test_what_is_no_image_is_named_with_what_was_expected(images, message):
    with pytest.raises(RequestError, match=message):
        list(named_images(images))


@pytest.mark.parametrize("dtype", ["<f4", ">f4", "<f8", ">f8", "|u1", "<f2", ">f2"])
@pytest.mark.filterwarnings("error")
def test_an_array_lies_in_memory_as_it_likes(dtype):
    given = (ARRAY if dtype == "|u1" else ARRAY / 255).astype(dtype)
    turned = np.ascontiguousarray(given[::-1])[::-1]  # negative strides
    (expected,) = named_images(ARRAY)
    for array in (given, turned, np.asfortranarray(given)):
        array.flags.writeable = False
        (found,) = named_images(array)
        torch.testing.assert_close(found.values, expected.values, atol=5e-4, rtol=0)


def test_files_that_are_no_images_are_named(tmp_path):
    with pytest.raises(ObjbenchError, match=r"gone.png: no such file"):
        read_image(tmp_path / "gone.png")
    with pytest.raises(RequestError, match="a folder, expected an image"):
        read_image(tmp_path)
    (tmp_path / "text.png").write_text("no")
    with pytest.raises(ObjbenchError, match=r"text.png: not an image that can be read"):
        read_image(tmp_path / "text.png")
    whole = tmp_path / "whole.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)).save(whole)
    (tmp_path / "cut.png").write_bytes(whole.read_bytes()[:2000])
    with pytest.raises(ObjbenchError, match=r"cut.png: damaged"):
        read_image(tmp_path / "cut.png")
    (tmp_path / "flipped.png").write_bytes(FLIPPED_PNG)
    with pytest.raises(ObjbenchError, match=r"flipped.png: damaged.*checksum"):
        read_image(tmp_path / "flipped.png")


def test_an_image_that_cannot_be_read_is_not_called_damaged(tmp_path, monkeypatch):
    path = tmp_path / "a.png"

    def failing(self: Path) -> bytes:
        raise OSError(errno.EIO, os.strerror(errno.EIO))  # of read(), which names no file

    monkeypatch.setattr(Path, "read_bytes", failing)
    with pytest.raises(ObjbenchError, match=r"a\.png: Input/output error"):
        read_image(path)


def test_a_pil_image_that_cannot_be_loaded_is_named():
    whole = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8)).save(whole, "PNG")
    cut, closed = (Image.open(io.BytesIO(content)) for content in (whole.getvalue()[:1500], whole.getvalue()))
    closed.close()
    for image, fault in ((cut, "truncated"), (closed, "closed image")):
        with pytest.raises(ObjbenchError, match=f"image 1: damaged, or closed before it was read .*{fault}"):
            list(named_images([np.zeros((2, 2, 3), np.uint8), image]))


def test_no_segmented_images_have_no_label_maps():
    with pytest.raises(RequestError, match="no images, so there are no label maps"):
        _ = Segmented([]).labels


def test_single_images_are_told_from_several(tmp_path):
    assert is_single(IMAGE)
    assert is_single(ARRAY)
    assert is_single("a.png")
    assert not is_single(IMAGE[None])
    assert not is_single([IMAGE])


def test_an_image_is_scaled_as_a_whole():
    halves = torch.zeros(3, 10, 40)
    halves[:, :, 20:] = 1
    small = to_size(halves, (5, 5))
    assert small[0, :, 0].tolist() == [0] * 5
    assert small[0, :, 4].tolist() == [1] * 5
    assert float(small.mean()) == pytest.approx(0.5, abs=1e-6)
    assert to_size(halves, (10, 40)) is halves


def test_labels_come_back_by_the_nearest_centre():
    labels = torch.tensor([[0, 1, 2]])
    assert labels_at(labels, (1, 6)).tolist() == [[0, 0, 1, 1, 2, 2]]
    assert labels_at(labels, (1, 3)).tolist() == [[0, 1, 2]]
    assert labels_at(torch.arange(9)[None], (1, 3)).tolist() == [[1, 4, 7]]


@pytest.mark.parametrize("given", [torch.uint8, torch.int16, torch.int64])
def test_labels_are_bytes_where_these_hold_them(given):
    assert labels_at(torch.tensor([[0, 3]], dtype=given), (1, 2)).dtype == torch.uint8


def test_labels_above_255_are_kept():
    assert labels_at(torch.tensor([[0, 256]]), (1, 2)).tolist() == [[0, 256]]


@pytest.mark.parametrize(("kind", "channels"), [(0, 1), (2, 3), (4, 2), (6, 4)])
def test_images_of_16_bits_per_channel_are_refused(tmp_path, kind, channels):
    path = tmp_path / "deep.png"
    path.write_bytes(raw_png(4, 3, 16, kind, 3 * [bytes(2 * channels * 4)]))
    with pytest.raises(RequestError, match="expected 8 bits per channel"):
        read_image(path)
    with Image.open(path) as image, pytest.raises(RequestError, match="expected 8 bits per channel"):
        one(image)
