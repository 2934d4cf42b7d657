"""From the shards of a split to its decoded pixels, on all cores."""

from __future__ import annotations

import hashlib
import mmap
import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from objbench.data.format import png, tar
from objbench.data.format.sample import FACTS, IMAGE, MASK, SUFFIXES, rows
from objbench.data.scene import Array
from objbench.errors import ObjbenchError

_FACTS, _MASK, _IMAGE = (SUFFIXES.index(suffix) for suffix in (FACTS, MASK, IMAGE))


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
    shard: Path,
    size: int,
    sha256: str,
    count: int,
    first_row: int,
    shape: tuple[int, int],
    targets: tuple[Path, Path],
    step: int,
) -> Iterator[Slice]:
    """The jobs that decode a shard, `step` samples each. The first one also checks its hash.

    Raises:
        ObjbenchError: The shard is missing, is no shard, or has not the `size` or the `count` of samples that the
            manifest says.
    """
    content = read_shard(shard)
    if len(content) != size:
        raise changed(shard, f"it has {len(content):,} bytes, the manifest says {size:,}")
    members = tar.walk(content, shard)
    keys = rows(members, shard)
    if len(keys) != count:
        raise changed(shard, f"it has {len(keys):,} samples, the manifest says {count:,}")
    starts, sizes = members.starts.reshape(-1, 3), members.sizes.reshape(-1, 3)
    for at in range(0, len(keys), step):
        part = slice(at, at + step)
        check = sha256 if at == 0 else None
        yield Slice(shard, starts[part], sizes[part], keys[part], first_row + at, shape, *targets, check)


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
            images[i] = png.decode(member[_IMAGE], "RGB").transpose(2, 0, 1)
            masks[i] = png.decode(member[_MASK], "L")
        except (ValueError, OSError, SyntaxError) as error:
            raise changed(job.shard, f"sample {job.keys[i]}: {error}") from None
    _write(job.images, images, job.row)
    _write(job.masks, masks, job.row)
    return [member[_FACTS] for member in members]


def read_shard(path: Path) -> Array:
    """The bytes of a shard, uint8 (n,), mapped into memory; ObjbenchError if it is missing, empty or unreadable."""
    try:
        return np.memmap(path, np.uint8, "r")
    except FileNotFoundError:
        raise ObjbenchError(
            f"{path}: this shard is missing; objbench verify lists all differences, prepare --force replaces the dataset"
        ) from None
    except OSError as error:
        raise unreadable(path, error) from None
    except ValueError:
        raise ObjbenchError(
            f"{path}: not a shard: the file is empty; prepare --force replaces the dataset"
        ) from None


def changed(shard: Path, how: str) -> ObjbenchError:
    """The error for a shard that is not what prepare wrote."""
    return ObjbenchError(
        f"{shard}: was changed after prepare: {how}; objbench verify lists all differences, prepare --force replaces the dataset"
    )


def unreadable(shard: Path, error: OSError) -> ObjbenchError:
    """The error for a shard that the operating system does not give."""
    return ObjbenchError(f"{shard}: this shard cannot be read: {error.strerror or error}")


def _write(path: Path, pixels: Array, row: int) -> None:
    """Write `pixels` (n,...) at row `row` of a file. With pwrite a full disk gives an error, not a SIGBUS."""
    rest = pixels.data.cast("B")
    at = row * pixels[0].nbytes
    with path.open("r+b") as file:
        while rest:
            written = os.pwrite(file.fileno(), rest, at)
            rest, at = rest[written:], at + written
