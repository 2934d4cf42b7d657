"""Targets: predictions of any model, read by evaluate."""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
import torch

from fuzzing.outcome import Reading
from fuzzing.raw import tar_of
from fuzzing.target import FileTarget, digest
from objbench.data.format import png
from objbench.predictions import Target, open_predictions

FORMS = ("npz", "npz-compressed", "npy", "folder", "tar", "tar-gz")
_COUNT, _SIZE = 5, 40
_TARGET = Target("fuzz test", [f"{row:08d}" for row in range(_COUNT)], (_SIZE, _SIZE))


def targets() -> Iterator[FileTarget]:
    """The targets of this module."""
    for form in FORMS:
        archive = f"masks.{form.replace('-compressed', '').replace('-', '.')}"
        yield FileTarget(
            name=f"predictions-{form}",
            what=f"predictions, {form.replace('-', '.') if 'tar' in form else form.replace('-', ' ')}: evaluate",
            build=partial(_build, form=form, name=archive),
            read=partial(_read, name=archive),
            victims=("masks*",),
            unchecked=("*.npy",),
            subjects=("masks.folder",) if form == "folder" else (),
        )


def _build(folder: Path, form: str, name: str) -> None:
    random = np.random.default_rng(1)
    labels = np.kron(random.integers(0, 4, (_COUNT, 8, 8)), np.ones((5, 5), int)).astype(np.uint8)
    path = folder / name
    if form == "npy":
        np.save(path, labels)
    elif form.startswith("npz"):
        reconstruction = random.random((_COUNT, 3, _SIZE, _SIZE), np.float32)
        save = np.savez_compressed if form == "npz-compressed" else np.savez
        save(path, masks=labels, reconstruction=reconstruction, keys=np.array(_TARGET.keys))
    else:
        contents = {f"{key}.png": png.encode(one) for key, one in zip(_TARGET.keys, labels, strict=True)}
        if form == "folder":
            path.mkdir()
            for key, content in contents.items():
                (path / key).write_bytes(content)
        else:
            packed = tar_of(contents)
            path.write_bytes(packed if form == "tar" else gzip.compress(packed, 1, mtime=0))


def _read(folder: Path, name: str) -> Reading:
    """Every label and pixel, as `objbench evaluate` scores them."""
    found: dict[int, str] = {}
    with open_predictions(folder / name) as predictions:
        predictions.check(_TARGET)
        predictions.identity()
        for batch in predictions.batches(_TARGET, torch.device("cpu")):
            for at, row in enumerate(batch.rows):
                reconstruction = None if batch.reconstruction is None else batch.reconstruction[at]
                found[row] = digest(batch.labels[at].to(torch.int64), reconstruction)
    return Reading(found)
