"""Targets: the files of the releases, read by prepare."""

from __future__ import annotations

import gzip
import io
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import h5py
import numpy as np

import objbench
from fuzzing.outcome import Reading
from fuzzing.target import FileTarget, call, digest

FIXTURES = Path(__file__).parents[2] / "tests" / "fixtures"
RECORDS = FIXTURES / "tetrominoes_deepmind" / "tetrominoes_mini.tfrecords"
_CLEVRTEX = FIXTURES / "clevrtex"
RAW = "tetrominoes_train.tfrecords"
SIZES = {"train": 4, "val": 3, "test": 3}
_SCENES = 3  # of ClevrTex


@dataclass(frozen=True)
class Storage:
    """How an HDF5 file stores its arrays.

    Attributes:
        checked: Whether a checksum covers every byte of the arrays.
    """

    what: str
    options: dict[str, Any] = field(default_factory=dict)
    kind: str = "uint8"
    checked: bool = False


STORAGES = {
    "contiguous": Storage("contiguous"),
    "gzip": Storage("gzip chunks", {"chunks": True, "compression": "gzip"}, checked=True),
    "float32": Storage("float32", kind="float32"),
    "fletcher": Storage("chunks with checksums", {"chunks": True, "fletcher32": True}, checked=True),
}


def targets() -> Iterator[FileTarget]:
    """The targets of this module."""
    for name, packed in (("tfrecord", False), ("tfrecord-gz", True)):
        yield FileTarget(
            name=name,
            what=f"TFRecord, {'gzip' if packed else 'plain'}: prepare",
            build=partial(_build_records, packed=packed),
            read=partial(prepared, "tetrominoes", "deepmind", SIZES),
            victims=("raw/*",),
        )
    for name, storage in STORAGES.items():
        yield FileTarget(
            name=f"hdf5-{name}",
            what=f"HDF5, {storage.what}: prepare",
            build=partial(_build_h5, storage=storage),
            read=partial(prepared, "tetrominoes", "emorl", SIZES),
            victims=("raw/*",),
            unchecked=() if storage.checked else ("raw/*",),
        )
    for name in ("folder", "tar", "tar.gz"):
        yield FileTarget(
            name=f"clevrtex-{name.replace('.', '-')}",
            what=f"ClevrTex, {name}: prepare",
            build=partial(_build_clevrtex, form=name),
            read=partial(prepared, "clevrtex", "official", dict.fromkeys(SIZES, 1)),
            victims=("raw/*",),
            subjects=(f"clevrtex_full.{name}",) if name != "folder" else (),
        )


def prepared(dataset: str, source: str, sizes: dict[str, int], folder: Path) -> Reading:
    """The scenes of `folder`/raw, prepared in this process; no release has a checksum of factors in JSON."""
    data, raw = folder / "data", folder / "raw"
    archives = list(raw.glob("*.tar*"))
    if archives:
        raw = archives[0]
    sizes_given = [word for split, size in sizes.items() for word in (f"--{split}", size)]
    said = call(
        *("prepare", dataset, "--source", source, "--raw", raw, "--data", data, "--workers", 1),
        *sizes_given,
    ).said
    return scenes(dataset, tuple(sizes), data, said, loose=source == "official")


def scenes(dataset: str, splits: tuple[str, ...], data: Path, said: str = "", loose: bool = False) -> Reading:
    """All that load gives of these splits."""
    loaded = {split: objbench.load(dataset, split, data=data) for split in splits}
    pixels = {split: digest(one.images, one.masks, one.keys) for split, one in loaded.items()}
    factors = {split: digest(one.factors) for split, one in loaded.items()}
    return Reading(pixels, said, factors) if loose else Reading((pixels, factors), said)


def _build_records(folder: Path, packed: bool) -> None:
    (folder / "raw").mkdir()
    content = gzip.decompress(RECORDS.read_bytes())
    (folder / "raw" / RAW).write_bytes(gzip.compress(content, 6, mtime=0) if packed else content)


def _build_h5(folder: Path, storage: Storage) -> None:
    (folder / "raw").mkdir()
    with np.load(RECORDS.with_suffix(".npz")) as arrays:
        stored = {"imgs": arrays["image"], "masks": arrays["mask"][..., None]}
    for role, rows, name in (("train", 7, "tetrominoes.h5"), ("test", 3, "tetrominoes_test.h5")):
        with h5py.File(folder / "raw" / name, "w", track_order=False) as file:
            for key, values in stored.items():
                part = values[:rows].astype(storage.kind)
                file.create_dataset(f"{role}/{key}", data=part, **storage.options)


def _build_clevrtex(folder: Path, form: str) -> None:
    contents = {
        str(path.relative_to(_CLEVRTEX)): path.read_bytes()
        for index in range(_SCENES)
        for path in sorted((_CLEVRTEX / "clevrtex_full" / "0").glob(f"*_{index:06d}*"))
        if not path.stem.endswith("_0001")  # pictures that nobody reads
    }
    if form == "folder":
        for name, content in contents.items():
            (folder / "raw" / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / "raw" / name).write_bytes(content)
        return
    packed = tar_of(contents)
    (folder / "raw").mkdir()
    archive = folder / "raw" / f"clevrtex_full.{form}"
    archive.write_bytes(packed if form == "tar" else gzip.compress(packed, 1, mtime=0))


def tar_of(contents: dict[str, bytes]) -> bytes:
    """An archive of these files."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        for name, content in contents.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return packed.getvalue()
