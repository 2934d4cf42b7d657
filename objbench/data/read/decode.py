"""From the shards of a split to its decoded pixels, on all cores."""

from __future__ import annotations

import hashlib
import mmap
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from objbench.data.read.shard import FACTS_AT, changed, open_shard, pixels
from objbench.data.scene import Array
from objbench.errors import brief

if TYPE_CHECKING:
    from objbench.data.format.manifest import Shard


class Slice(NamedTuple):
    """A job of a decoding worker: some samples of a shard, and where their pixels go.

    Attributes:
        starts: Where the members of each sample start, int64 (n,3), in the order of SUFFIXES.
        sizes: Their sizes, int64 (n,3).
        keys: Of the samples.
        row: Of the first sample, in the split.
        shape: (height, width).
        images, masks: Files of the cache.
        sha256: The hash that the whole shard must have; None: it is not checked.
    """

    shard: Path
    starts: Array
    sizes: Array
    keys: list[str]
    row: int
    shape: tuple[int, int]
    images: Path
    masks: Path
    sha256: str | None


def slices(
    folder: Path, shard: Shard, first_row: int, shape: tuple[int, int], targets: tuple[Path, Path], step: int
) -> Iterator[Slice]:
    """The jobs that decode a shard in `folder`, `step` samples each. The first one also checks its hash.

    Raises:
        ObjbenchError: As of `open_shard`.
    """
    found = open_shard(folder / shard.name, shard)
    for at in range(0, len(found.keys), step):
        part = slice(at, at + step)
        starts, sizes, keys = found.starts[part], found.sizes[part], found.keys[part]
        check = shard.sha256 if at == 0 else None
        yield Slice(found.path, starts, sizes, keys, first_row + at, shape, *targets, check)


def decode_slice(job: Slice) -> list[bytes]:
    """Decode the samples of a job into the files of the cache; return their JSON texts."""
    with job.shard.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        if job.sha256 is not None and hashlib.sha256(content).hexdigest() != job.sha256:
            raise changed(job.shard, "its sha256 is not the one in the manifest")
        members = [
            [content[start : start + size] for start, size in zip(*sample, strict=True)]
            for sample in zip(job.starts.tolist(), job.sizes.tolist(), strict=True)
        ]
    images = np.empty((len(members), 3, *job.shape), np.uint8)
    masks = np.empty((len(members), *job.shape), np.uint8)
    for i, member in enumerate(members):
        try:
            images[i], masks[i] = pixels(member)
        except (ValueError, OSError, SyntaxError) as error:
            raise changed(job.shard, f"sample {job.keys[i]}: {brief(error)}") from None
    _write(job.images, images, job.row)
    _write(job.masks, masks, job.row)
    return [member[FACTS_AT] for member in members]


def _write(path: Path, pixels: Array, row: int) -> None:
    """Write `pixels` (n,...) at row `row` of a file. With pwrite a full disk gives an error, not a SIGBUS."""
    rest = pixels.data.cast("B")
    at = row * pixels[0].nbytes
    with path.open("r+b") as file:
        while rest:
            written = os.pwrite(file.fileno(), rest, at)
            rest, at = rest[written:], at + written
