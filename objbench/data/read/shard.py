"""A shard on this disk: opened, compared with what the manifest says of it, and its samples decoded."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from objbench.data.format import png, tar
from objbench.data.format.sample import FACTS, IMAGE, MASK, SUFFIXES, rows
from objbench.data.scene import Array
from objbench.errors import ObjbenchError

if TYPE_CHECKING:  # worker processes need no pydantic
    from objbench.data.format.manifest import Shard

FACTS_AT, MASK_AT, IMAGE_AT = (SUFFIXES.index(suffix) for suffix in (FACTS, MASK, IMAGE))  # among the members


class OpenShard(NamedTuple):
    """A shard mapped into memory.

    Attributes:
        content: Bytes, uint8 (n,).
        keys: Of its samples.
        starts: Where the members of each sample start, int64 (n,3) in the order of SUFFIXES.
        sizes: Their sizes, int64 (n,3).
    """

    path: Path
    content: Array
    keys: list[str]
    starts: Array
    sizes: Array


def open_shard(path: Path, shard: Shard, check: Callable[[], None] | None = None) -> OpenShard:
    """Open a shard and find its samples.

    Args:
        path: The shard on this disk.
        shard: What the manifest says of it.
        check: Called before the samples are looked for, as to compare the hash.

    Raises:
        ObjbenchError: The shard is missing, is no shard, or has not the size or the number of samples that the manifest
            says.
    """
    content = read_shard(path)
    if len(content) != shard.bytes:
        raise changed(path, f"it has {len(content):,} bytes, the manifest says {shard.bytes:,}")
    if check is not None:
        check()
    members = tar.walk(content, path)
    keys = rows(members, path)
    if len(keys) != shard.count:
        raise changed(path, f"it has {len(keys):,} samples, the manifest says {shard.count:,}")
    return OpenShard(path, content, keys, members.starts.reshape(-1, 3), members.sizes.reshape(-1, 3))


def pixels(members: Sequence[bytes]) -> tuple[Array, Array]:
    """The image, uint8 (3,H,W), and the mask, uint8 (H,W), of a sample with these members.

    Raises:
        ValueError, OSError, SyntaxError: They are damaged.
    """
    return png.decode(members[IMAGE_AT], "RGB").transpose(2, 0, 1), png.decode(members[MASK_AT], "L")


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
