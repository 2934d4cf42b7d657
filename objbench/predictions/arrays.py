"""Predictions in .npy and .npz files, streamed without unpickling anything."""

from __future__ import annotations

import lzma
import math
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO

import numpy as np

from objbench.data.scene import Array
from objbench.errors import ObjbenchError, brief, is_of_the_content, unknown_name
from objbench.files import megabytes, sha256_of
from objbench.os_errors import naming
from objbench.predictions.batch import SavedBatch, images_per_batch
from objbench.predictions.interpret import check_reconstruction, image_masks
from objbench.predictions.target import Target

ARRAYS = ("masks", "reconstruction", "unclamped", "keys")
_MEMBER = ".npy"
_MOST_KEY_BYTES = 1 << 28
_DAMAGE = (
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    EOFError,
    OSError,
    RuntimeError,
    UnicodeDecodeError,
)


class ArrayFile:
    """Predictions in an .npz with `masks` and optionally `reconstruction` and `keys`, or in an .npy with masks.

    An array `unclamped` (N,), of any values, says that the reconstruction is known to be in image units, wherever its
    values lie.

    Raises:
        ObjbenchError: The file is damaged or holds other arrays.
    """

    by_order = False

    def __init__(self, path: Path) -> None:
        self.path = path
        with _streams(path) as streams:
            self.headers = {name: (stream.shape, stream.dtype) for name, stream in streams.items()}
            self.count = self._length("masks")
            for name in self.headers:
                if self._length(name) != self.count:
                    raise ObjbenchError(
                        f"{path}: masks are of {self.count:,} images, {name} of {self._length(name):,}"
                    )
            self.keys = _read_keys(streams["keys"]) if "keys" in streams else None

    def check(self, target: Target) -> None:
        """See `Predictions.check`."""
        self._mask_shape(target)
        if "reconstruction" in self.headers:
            check_reconstruction(f"{self.path}: reconstruction", *self.headers["reconstruction"], target.size)
        self._rows(target)

    def saved_batches(self, target: Target) -> Iterator[SavedBatch]:
        """See `PredictionFiles.saved_batches`: in the order of the file."""
        shape, rows = self._mask_shape(target), self._rows(target)
        bytes_per_image = sum(
            math.prod(of[1:]) * dtype.itemsize for name, (of, dtype) in self.headers.items() if name != "keys"
        )
        size = images_per_batch(bytes_per_image)
        with _streams(self.path) as streams:
            masks, reconstruction = streams["masks"], streams.get("reconstruction")
            for start in range(0, self.count, size):
                part = rows[start : start + size]
                planes = masks.read(len(part)).reshape(len(part), *shape)
                reconstructions = None if reconstruction is None else reconstruction.read(len(part))
                yield SavedBatch(part, planes, reconstructions, unclamped="unclamped" in self.headers)
            masks.finish()
            if reconstruction is not None:
                reconstruction.finish()

    def digest(self) -> str:
        """The sha256 of the file."""
        return sha256_of(self.path)

    def _length(self, name: str) -> int:
        shape, _ = self.headers[name]
        if not shape:
            raise ObjbenchError(f"{self.path}: {name} is a single value, expected one entry per image")
        return shape[0]

    def _mask_shape(self, target: Target) -> tuple[int, ...]:
        return image_masks(f"{self.path}: masks", *self.headers["masks"], target.size)

    def _rows(self, target: Target) -> list[int]:
        if self.keys is not None:
            return target.rows(self.path, self.keys)
        target.check_count(self.path, self.count)
        return list(range(self.count))


class _Stream:
    """Reads an array from a file: the header at once, then its entries from first to last."""

    def __init__(self, file: IO[bytes], where: str) -> None:
        self._file, self.where = file, where
        try:
            version = np.lib.format.read_magic(file)
            if version not in ((1, 0), (2, 0)):
                raise ValueError("an array of numbers or strings was expected")
            read = {1: np.lib.format.read_array_header_1_0, 2: np.lib.format.read_array_header_2_0}
            self.shape, fortran, self.dtype = read[version[0]](file)
        except _DAMAGE:
            raise
        except Exception as error:  # numpy evaluates the header as Python, which can end in many ways
            raise ObjbenchError(
                f"{where}: damaged, or not an array ({brief(error)}); save it again"
            ) from None
        if min((*self.shape, 0)) < 0:
            raise ObjbenchError(f"{where}: damaged: its shape is {self.shape}; save it again")
        if self.dtype.hasobject:
            raise ObjbenchError(
                f"{where}: an array of Python objects, which is not read because that would run code; save an array of one dtype "
                "(np.stack for masks, np.array(keys, dtype=str) for keys)"
            )
        if fortran:
            raise ObjbenchError(
                f"{where}: in Fortran order, which cannot be read image by image; save np.ascontiguousarray(array)"
            )

    def read(self, count: int) -> Array:
        """Read the next `count` entries."""
        values = np.empty((count, *self.shape[1:]), self.dtype)
        rest = values.reshape(-1).view(np.uint8).data if values.size else memoryview(b"")
        while rest:
            n = self._file.readinto(rest)  # type: ignore[attr-defined]
            if not n:
                raise EOFError(f"{self.where} ends before its last image")
            rest = rest[n:]
        return values

    def finish(self) -> None:
        """Raise EOFError if something is left to read. Reading to the end makes the archive check its checksum."""
        if self._file.read(1):
            raise EOFError(f"{self.where} goes on after its last image")


@contextmanager
def _streams(path: Path) -> Iterator[dict[str, _Stream]]:
    """The arrays of a file by name; damage found while they are read becomes an ObjbenchError."""
    with ExitStack() as opened:
        file = opened.enter_context(path.open("rb"))
        opened.enter_context(naming(path))
        try:
            if path.suffix.lower() == _MEMBER:
                yield {"masks": _Stream(file, str(path))}
                return
            archive = opened.enter_context(zipfile.ZipFile(file))
            names = archive.namelist()
            members = {name.removesuffix(_MEMBER): name for name in names}
            if len(members) < len(names):
                raise ObjbenchError(f"{path}: holds an array twice; found {', '.join(names)}")
            _check_names(path, list(members))
            yield {
                name: _Stream(opened.enter_context(archive.open(member)), f"{path}: {name}")
                for name, member in members.items()
            }
        except _DAMAGE as error:
            if not is_of_the_content(error):
                raise
            raise ObjbenchError(f"{path}: damaged or cut short ({brief(error)}); save it again") from None


def _check_names(path: Path, names: list[str]) -> None:
    for name in names:
        if name not in ARRAYS:
            raise ObjbenchError(f"{path}: {unknown_name('array', name, ARRAYS)}")
    if "masks" not in names:
        raise ObjbenchError(f"{path}: no array 'masks'; found {', '.join(names) or 'nothing'}")


def _read_keys(keys: _Stream) -> list[str]:
    if len(keys.shape) != 1 or keys.dtype.kind not in "iuUS":
        raise ObjbenchError(
            f"{keys.where}: expected one string or integer per image, found {keys.dtype} {keys.shape}"
        )
    if keys.shape[0] * keys.dtype.itemsize > _MOST_KEY_BYTES:
        raise ObjbenchError(
            f"{keys.where}: {keys.dtype} {keys.shape} needs more than {megabytes(_MOST_KEY_BYTES)}; keys are short"
        )
    values = keys.read(keys.shape[0]).tolist()
    keys.finish()
    return [value.decode("ascii", "replace") if isinstance(value, bytes) else str(value) for value in values]
