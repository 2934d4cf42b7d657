"""Images of anybody, as tensors, arrays, PIL images or files, and their way to the size of a model and back."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor
from torch.nn.functional import interpolate

from objbench.data.format.depth import deep_mode
from objbench.data.format.png import check_sums
from objbench.data.format.sample import key_of
from objbench.data.read.scenes import Scenes
from objbench.data.scene import Array
from objbench.errors import ObjbenchError, RequestError, brief, is_of_the_content
from objbench.one_line import in_a_line
from objbench.os_errors import naming

One = Tensor | Array | Image.Image | str | os.PathLike[str]
Images = One | Scenes | Sequence[One]

SUFFIXES = (".bmp", ".gif", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")
_EXPECTED = (
    "expected a tensor (3,H,W) or (N,3,H,W), an array (H,W,3) or (N,H,W,3), a PIL image, a path, or a list"
)
_NONE = f"no images: {_EXPECTED} of at least one of these"


class NamedImage(NamedTuple):
    """One image.

    Attributes:
        name: What messages call it.
        key: What the random draws of a method depend on, with the seed of the run.
        values: float (3,H,W) in [0,1], on the CPU or the device where it was given.
    """

    name: str
    key: str
    values: Tensor


def is_single(images: Images) -> bool:
    """Whether `images` is one image, not several."""
    if isinstance(images, Tensor | np.ndarray):
        return images.ndim == 3
    return isinstance(images, Image.Image | str | os.PathLike)


def named_images(images: Images) -> Iterator[NamedImage]:
    """The images one by one, each checked when it is reached.

    Raises:
        RequestError: Something is no image of a kind that is read; the message names it and what was expected.
        ObjbenchError: A file is missing or damaged.
    """
    if isinstance(images, Scenes):
        if not len(images):
            raise RequestError(_NONE)
        for key, values in zip(images.keys, images.images, strict=True):
            yield NamedImage(key, key, _in_unit_range(values, key))
        return
    several: Sequence[One]
    if isinstance(images, Tensor | np.ndarray):
        _check_dimensions(images)
        several = [images] if images.ndim == 3 else list(images)
    elif isinstance(images, Image.Image | str | os.PathLike):
        several = [images]
    elif isinstance(images, Sequence):
        several = images
    else:
        raise RequestError(f"{type(images).__name__} is no image: {_EXPECTED} of these")
    if not len(several):
        raise RequestError(_NONE)
    for position, one in enumerate(several):
        yield _named(one, position)


def read_image(path: Path) -> Tensor:
    """A file as float (3,H,W) in [0,1]: upright by its EXIF, as RGB, without its alpha; of several frames the first.

    Raises:
        RequestError: It has more than 8 bits per channel.
        ObjbenchError: It is missing, damaged, no image, or cannot be read.
    """
    try:
        with naming(path):
            content = path.read_bytes()
        check_sums(content)
        with Image.open(io.BytesIO(content)) as image:
            _refuse_deep(image, str(path))  # once it is loaded, Pillow does not tell
            image.load()
            return _rgb(image, str(path))
    except FileNotFoundError:
        raise ObjbenchError(f"{path}: no such file") from None
    except IsADirectoryError:
        raise RequestError(f"{path}: a folder, expected an image; give the files in it") from None
    except UnidentifiedImageError:
        raise ObjbenchError(f"{path}: not an image that can be read (PNG, JPEG, WebP, TIFF, ...)") from None
    except (OSError, ValueError, SyntaxError, EOFError, Image.DecompressionBombError) as error:
        if not is_of_the_content(error):
            raise ObjbenchError(in_a_line(error)) from None
        raise ObjbenchError(f"{path}: damaged, or too large for an image ({brief(error)})") from None


def to_size(values: Tensor, size: tuple[int, int]) -> Tensor:
    """An image (3,H,W) at `size`: as a whole, its sides scaled by themselves, by bilinear interpolation with antialiasing.

    Nothing is cropped, and the aspect ratio is that of `size`. An image of this size stays as it is.
    """
    if tuple(values.shape[1:]) == size:
        return values
    return interpolate(values[None], size, mode="bilinear", antialias=True, align_corners=False)[0].clamp_(
        0, 1
    )


def labels_at(labels: Tensor, size: tuple[int, int]) -> Tensor:
    """A label map (h,w) at `size`: each pixel has the label of the nearest one, by the centres of pixels.

    It is uint8, or int64 if a label is above 255.

    >>> labels_at(torch.tensor([[0, 1]]), (2, 4)).tolist()
    [[0, 0, 1, 1], [0, 0, 1, 1]]
    """
    rows, columns = (
        (2 * torch.arange(new, device=labels.device) + 1) * old // (2 * new)
        for new, old in zip(size, labels.shape, strict=True)
    )
    small = int(labels.max()) < 256  # a tensor of uint8 would compare with 256 as with 0
    return labels[rows[:, None], columns].to(torch.uint8 if small else torch.int64)


def _named(one: One, position: int) -> NamedImage:
    name, key = f"image {position}", key_of(position)
    if isinstance(one, str | os.PathLike):
        path = Path(one)
        return NamedImage(str(path), path.name, read_image(path))
    if isinstance(one, Image.Image):
        return NamedImage(name, key, _of_pil(one, name))
    if isinstance(one, Tensor) and one.ndim == 3:
        return NamedImage(name, key, _in_unit_range(one, name))
    if isinstance(one, np.ndarray) and one.ndim == 3:
        return NamedImage(name, key, _in_unit_range(_of_array(one, name), name))
    found = f"of shape {tuple(one.shape)}" if isinstance(one, Tensor | np.ndarray) else type(one).__name__
    raise RequestError(f"{name}: found {found} in a list of images; each is one image: {_EXPECTED} of these")


def _check_dimensions(images: Tensor | Array) -> None:
    if images.ndim not in (3, 4):
        kind = "a tensor" if isinstance(images, Tensor) else "an array"
        raise RequestError(f"found {kind} of shape {tuple(images.shape)}: {_EXPECTED} of these")


def _of_pil(image: Image.Image, name: str) -> Tensor:
    _refuse_deep(image, name)
    try:
        image.load()
    except (OSError, SyntaxError, ValueError, EOFError) as error:
        if not is_of_the_content(error):
            raise ObjbenchError(f"{name}: {in_a_line(error)}") from None
        raise ObjbenchError(f"{name}: damaged, or closed before it was read ({brief(error)})") from None
    return _rgb(image, name)


def _rgb(image: Image.Image, name: str) -> Tensor:
    try:
        upright = ImageOps.exif_transpose(image).convert("RGB")
    except ValueError as error:
        raise RequestError(f"{name}: its mode {image.mode} cannot be made RGB ({brief(error)})") from None
    return torch.from_numpy(np.array(upright)).permute(2, 0, 1) / 255


def _refuse_deep(image: Image.Image, name: str) -> None:
    if (deep := deep_mode(image)) is not None:
        raise RequestError(
            f"{name}: its mode is {deep}, expected 8 bits per channel; convert it, because what its white is, is "
            "not known"
        )


def _of_array(array: Array, name: str) -> Tensor:
    if array.shape[2] != 3:
        first = " (channels first? arrays have them last, tensors first)" if array.shape[0] == 3 else ""
        raise RequestError(f"{name}: an array of shape {array.shape}, expected (H,W,3){first}")
    try:
        # A copy in this machine's byte order, which can be written to.
        native = np.array(array, dtype=array.dtype.newbyteorder("="), order="C")
        return torch.from_numpy(native).permute(2, 0, 1)
    except TypeError:
        raise RequestError(f"{name}: {array.dtype}, expected uint8, or float in [0,1]") from None


def _in_unit_range(values: Tensor, name: str) -> Tensor:
    """A tensor (3,H,W), uint8 or float in [0,1], as float32."""
    if values.layout != torch.strided:
        raise RequestError(
            f"{name}: a tensor of layout {values.layout}, expected a dense one (torch.strided)"
        )
    if values.shape[0] != 3 or 0 in values.shape:
        last = " (channels last? tensors have them first, arrays last)" if values.shape[-1] == 3 else ""
        raise RequestError(f"{name}: a tensor of shape {tuple(values.shape)}, expected (3,H,W){last}")
    if values.dtype == torch.uint8:
        return values.float() / 255
    if not values.is_floating_point():
        raise RequestError(
            f"{name}: {str(values.dtype).removeprefix('torch.')}, expected uint8, or float in [0,1]"
        )
    values = values.detach().float()
    low, high = (float(bound) + 0.0 for bound in values.aminmax())  # -0 is shown as 0
    if not (low >= 0 and high <= 1):
        hint = "; divide it by 255" if 1 < high <= 255 and low >= 0 else ""
        raise RequestError(
            f"{name}: values from {low:g} to {high:g}, expected float in [0,1], or uint8{hint}"
        )
    return values
