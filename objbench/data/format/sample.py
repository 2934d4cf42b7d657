"""One sample of a shard: its three members, the content of its JSON, and the digest of its decoded content.

Encoding and decoding workers import this module, so it may import nothing heavier than numpy and Pillow.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from objbench.data.format import png, tar
from objbench.data.scene import Array, SceneBatch
from objbench.errors import ObjbenchError

IMAGE, MASK, FACTS = ".png", ".mask.png", ".json"
SUFFIXES = (FACTS, MASK, IMAGE)  # in the order of the archive
KEY_DIGITS = 8
IMAGE_DIGEST = 8  # bytes
_FIELDS = {"index", "n_objects", "visible"}  # and, of a source that has them, "factors"
_NONE_VISIBLE = [0]  # the background
_JSON = json.JSONEncoder(sort_keys=True, separators=(",", ":"), allow_nan=False)


class Sample(NamedTuple):
    """A decoded sample: image uint8 (H,W,3), mask uint8 (H,W), and the facts: index, n_objects, visible, factors."""

    key: str
    image: Array
    mask: Array
    facts: dict[str, Any]


def key_of(index: int) -> str:
    """The key of record `index` of a source.

    >>> key_of(60319)
    '00060319'
    """
    return f"{index:0{KEY_DIGITS}d}"


def visible_ids(mask: Array) -> list[int]:
    """The ids of a label map that have at least one pixel, without the background 0."""
    ids: list[int] = (np.flatnonzero(np.bincount(mask.ravel())[1:]) + 1).tolist()
    return ids


def count_objects(mask: Array, factors: Mapping[str, Any]) -> int:
    """The number of objects of a scene: by its `visibility` factor without the background, else by the visible ids."""
    if "visibility" in factors:
        return round(float(np.sum(factors["visibility"][1:])))
    return len(visible_ids(mask))


def samples(batch: SceneBatch) -> Iterator[Sample]:
    """The samples of a batch, in its order."""
    for row, index in enumerate(batch.index.tolist()):
        mask = batch.masks[row]
        factors = {name: values[row] for name, values in batch.factors.items()}
        facts = {
            "index": index,
            "n_objects": count_objects(mask, factors),
            "visible": visible_ids(mask),
            "factors": {name: values.tolist() for name, values in factors.items()},
        }
        yield Sample(key_of(index), batch.images[row], mask, facts)


def encode(sample: Sample) -> bytes:
    """The archive members of a sample; every call gives the same bytes."""
    contents = (facts_text(sample.facts), png.encode(sample.mask), png.encode(sample.image))
    pairs = zip(SUFFIXES, contents, strict=True)
    return b"".join(tar.member(sample.key + suffix, content) for suffix, content in pairs)


def digest(sample: Sample) -> bytes:
    """sha256 of the decoded content: key, shape, pixels, labels and factors. Settings of the PNG do not change it."""
    sha = hashlib.sha256(f"{sample.key} {sample.image.shape}\n".encode())
    sha.update(np.ascontiguousarray(sample.image).data)
    sha.update(np.ascontiguousarray(sample.mask).data)
    sha.update(canonical(sample.facts["factors"]))
    return sha.digest()


def image_digest(image: Array) -> bytes:
    """Eight bytes by which equal images are found: of the pixels (H,W,3) alone, whatever their key and labels."""
    return hashlib.sha256(np.ascontiguousarray(image).data).digest()[:IMAGE_DIGEST]


def repeated_images(images: Mapping[str, Sequence[bytes]]) -> dict[str, int | None]:
    """Split -> how many of its images train has, too; for train itself, how many stand there a second time.

    Args:
        images: Split -> the `image_digest` of each of its images.

    Returns:
        None for each split if there is no train.

    >>> repeated_images({"train": [b"a", b"b", b"b"], "test": [b"b", b"c"]})
    {'train': 1, 'test': 1}
    """
    if "train" not in images:
        return dict.fromkeys(images)
    known = set(images["train"])
    among = {split: sum(image in known for image in found) for split, found in images.items()}
    return {**among, "train": len(images["train"]) - len(known)}


def fingerprint(digests: Iterable[bytes]) -> str:
    """The fingerprint of a split: sha256 over the digests of its samples in the order of their keys."""
    return hashlib.sha256(b"".join(digests)).hexdigest()


def canonical(content: Any) -> bytes:
    """The JSON text of `content` with sorted keys and no spaces."""
    return _JSON.encode(content).encode()


def facts_text(facts: Mapping[str, Any]) -> bytes:
    """The JSON of a sample's facts, without empty objects and lists.

    Whoever reads types off the first samples, as Hugging Face does, finds none in those; Parquet refuses the former.
    So `factors` is left out if the source has none, and `visible` is [0], the background, if no object is visible.
    """
    written = {name: value for name, value in facts.items() if name != "factors" or value}
    if written.get("visible") == []:
        written["visible"] = _NONE_VISIBLE
    return canonical(written)


def parse(text: bytes) -> dict[str, Any]:
    """The facts of a sample from its JSON, as `facts_text` writes it.

    Raises:
        ValueError: It is no JSON, or has other fields.
    """
    try:
        facts = json.loads(text)
    except RecursionError:
        raise ValueError("its JSON is nested too deeply") from None
    factors = facts.get("factors", {}) if isinstance(facts, dict) else None
    if not isinstance(factors, dict) or set(facts) - {"factors"} != _FIELDS:
        raise ValueError(
            f"its JSON must have the fields {', '.join(sorted(_FIELDS))} and, if there are any, factors"
        )
    visible = [] if facts["visible"] == _NONE_VISIBLE else facts["visible"]
    return {**facts, "visible": visible, "factors": factors}


def rows(members: tar.Members, path: Path) -> list[str]:
    """The keys of a shard, in order: its members are `<key>.json`, `<key>.mask.png`, `<key>.png` and so on.

    Sample i has the members 3i to 3i + 2.

    Raises:
        ObjbenchError: The archive holds anything else.
    """
    names = members.names.reshape(-1, 3) if len(members) % 3 == 0 else np.empty((0, 3), "S")
    keys = [name.removesuffix(FACTS.encode()) for name in names[:, 0].tolist()]
    for column, suffix in enumerate(SUFFIXES):
        if not keys or names[:, column].tolist() != [key + suffix.encode() for key in keys]:
            raise ObjbenchError(
                f"{path}: not a shard: its members are not {', '.join('KEY' + s for s in SUFFIXES)}"
            )
    return [key.decode("ascii", "replace") for key in keys]
