"""The arrays beside a record: values of every image in per_image.npz, predictions of some in samples.npz."""

from __future__ import annotations

import struct
import zipfile
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import numpy as np

from objbench.data.scene import Array
from objbench.errors import ObjbenchError, brief, is_of_the_content
from objbench.files import replacing
from objbench.os_errors import naming
from objbench.spec.datasets import TEST

PER_IMAGE, SAMPLES, SAMPLE_SHEET = "per_image.npz", "samples.npz", "samples.png"
_HEADER, _NAME_LENGTH = 30, 26  # bytes of a zip entry's header, and where it says how long its name is
_UTF8 = 0x800  # the flag of names in UTF-8
_REMEDY = {
    PER_IMAGE: "remove it and run objbench evaluate on each dataset again; of predictions, with --fresh",
    SAMPLES: "remove it and run objbench evaluate",
}


def write_per_image(folder: Path, evaluations: Mapping[str, Mapping[str, Array]]) -> None:
    """Write `<evaluation>/<metric>` and `<evaluation>/keys`, whole or not at all."""
    _write(
        folder / PER_IMAGE,
        {f"{key}/{name}": values for key, columns in evaluations.items() for name, values in columns.items()},
    )


def read_per_image(folder: Path, evaluations: Collection[str]) -> dict[str, dict[str, Array]]:
    """The values of these evaluations by metric, and their keys; {} if there is no file.

    Raises:
        ObjbenchError: The file is damaged.
    """
    return _read(folder / PER_IMAGE, evaluations)


def write_samples(folder: Path, evaluations: Mapping[str, Mapping[str, Array]]) -> None:
    """Write `<name>` of the evaluation "test" and `<evaluation>/<name>` of all others, whole or not at all."""
    arrays = {
        name if key == TEST else f"{key}/{name}": values
        for key, samples in evaluations.items()
        for name, values in samples.items()
    }
    _write(folder / SAMPLES, arrays)


def read_samples(folder: Path, evaluations: Collection[str] | None = None) -> dict[str, dict[str, Array]]:
    """The samples of these evaluations, by default of all, by name; {} if there is no file.

    Raises:
        ObjbenchError: The file is damaged.
    """
    return _read(folder / SAMPLES, evaluations)


def sample_names(folder: Path) -> dict[str, set[str]]:
    """The names of the samples of each evaluation, without reading their values."""
    with _opened(folder / SAMPLES) as arrays:
        return {key: set(entries) for key, entries in _entries(arrays).items()}


def _write(path: Path, arrays: dict[str, Array]) -> None:
    with replacing(path) as partial, partial.open("wb") as file:
        np.savez_compressed(file, **arrays)  # type: ignore[arg-type]


def _read(path: Path, evaluations: Collection[str] | None) -> dict[str, dict[str, Array]]:
    with _opened(path) as arrays:
        return {
            key: {name: arrays[entry] for name, entry in entries.items()}
            for key, entries in _entries(arrays).items()
            if evaluations is None or key in evaluations
        }


def _entries(arrays: Mapping[str, Array]) -> dict[str, dict[str, str]]:
    """Evaluation -> name -> entry of the file."""
    entries: dict[str, dict[str, str]] = {}
    for entry in arrays:
        key, _, name = entry.rpartition("/")
        entries.setdefault(key or TEST, {})[name] = entry
    return entries


@contextmanager
def _opened(path: Path) -> Iterator[Mapping[str, Array]]:
    """The arrays of the file, read when used; none if there is no file."""
    if not path.exists():
        yield {}
        return
    try:
        with naming(path), path.open("rb") as file:
            _check_directory(file)
            with np.load(file) as arrays:
                yield arrays
    except (
        Exception
    ) as error:  # zipfile, zlib and numpy's parser of headers raise many kinds for damaged bytes
        if not is_of_the_content(error):
            raise
        raise ObjbenchError(f"{path}: damaged ({brief(error)}); {_REMEDY[path.name]}") from None


def _check_directory(file: BinaryIO) -> None:
    """Raise ValueError if the directory of a zip file and its entries contradict each other: damage can hide some."""
    with zipfile.ZipFile(file) as archive:
        end = 0
        for entry in sorted(archive.infolist(), key=lambda entry: entry.header_offset):
            file.seek(entry.header_offset + _NAME_LENGTH)
            name, extra = struct.unpack("<HH", file.read(_HEADER - _NAME_LENGTH))
            same_name = file.read(name) == entry.orig_filename.encode(
                "utf-8" if entry.flag_bits & _UTF8 else "cp437"
            )
            if entry.header_offset != end or not same_name:
                break
            end += _HEADER + name + extra + entry.compress_size
        if end != archive.start_dir:
            raise ValueError("its directory does not list what it holds")
    file.seek(0)
