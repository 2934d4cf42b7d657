"""The work of verify's worker processes: check one shard, or a part of the cache."""

from __future__ import annotations

import contextlib
import hashlib
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from objbench.data.format import tar
from objbench.data.format.sample import Sample, count_objects, digest, image_digest, parse, rows, visible_ids
from objbench.data.read.shard import FACTS_AT, pixels, read_shard
from objbench.data.scene import Array
from objbench.errors import ObjbenchError
from objbench.stores import Place, Store

MOST_FAULTS = 3  # different faults of a shard's samples that are told; the others are counted


class ShardCheck(NamedTuple):
    """A shard, what the manifest says of it, and whether to decode its samples."""

    path: Place
    size: int
    sha256: str
    samples: int
    shape: tuple[int, int]
    deep: bool


class Findings(NamedTuple):
    """The result of a check.

    Attributes:
        problems: In words.
        keys, digests, images, n_objects: Of the samples, after a deep check.
        form: The fields and types of the first sample's JSON, after a deep check.
    """

    problems: list[str]
    keys: list[str]
    digests: list[bytes]
    images: list[bytes]
    n_objects: list[int]
    form: Any


class CacheCheck(NamedTuple):
    """Samples [row, row + len(keys)) of a cache, with their JSON texts."""

    images: Path
    masks: Path
    row: int
    shape: tuple[int, int]
    keys: list[str]
    texts: list[bytes]


def check_shard(job: ShardCheck) -> Findings:
    """Compare one shard with the manifest: size, hash, number of samples.

    A deep check also compares each sample's JSON with its pixels.
    """
    if isinstance(job.path, Path):
        return _check(job, job.path)
    with tempfile.TemporaryDirectory(prefix="objbench-") as temporary:
        copy = Path(temporary) / job.path.name
        _fetch(job.path, copy)
        found = _check(job, copy)
    problems = [problem.replace(str(copy), str(job.path)) for problem in found.problems]
    return found._replace(problems=problems)


def _fetch(store: Store, copy: Path) -> None:
    """Copy a shard to the disk; do nothing if it is missing."""
    with contextlib.suppress(FileNotFoundError):
        store.get(copy)


def _check(job: ShardCheck, path: Path) -> Findings:
    found = Findings([], [], [], [], [], None)
    try:
        content = read_shard(path)
        if len(content) != job.size:
            found.problems.append(f"{path}: {len(content):,} bytes, the manifest says {job.size:,}")
        elif hashlib.sha256(content.data).hexdigest() != job.sha256:
            found.problems.append(f"{path}: its sha256 is not the one in the manifest")
        if found.problems and not job.deep:
            return found
        members = tar.walk(content, path)
        keys = rows(members, path)
    except ObjbenchError as error:
        return found._replace(problems=[*found.problems, str(error)])
    if len(keys) != job.samples:
        found.problems.append(f"{path}: {len(keys)} samples, the manifest says {job.samples}")
    if not job.deep:
        return found
    parts = zip(members.starts.reshape(-1, 3).tolist(), members.sizes.reshape(-1, 3).tolist(), strict=True)
    faults: dict[str, list[str]] = {}  # what is wrong -> the keys of the samples
    for key, (starts, sizes) in zip(keys, parts, strict=True):
        texts = [content[a : a + n].tobytes() for a, n in zip(starts, sizes, strict=True)]
        try:
            sample = _decode(key, texts, job.shape)
            form = form_of(sample.facts)
            if found.form is None:
                found = found._replace(form=form)
            _check_facts(sample, form, found.form)
            found.digests.append(digest(sample))
            found.images.append(image_digest(sample.image))
            found.n_objects.append(sample.facts["n_objects"])
        except (ValueError, OSError, SyntaxError, TypeError) as error:
            faults.setdefault(str(error), []).append(key)
    found.problems.extend(_told(path, faults))
    found.keys.extend(keys)
    return found


def _told(path: Path, faults: dict[str, list[str]]) -> Iterator[str]:
    for fault, keys in list(faults.items())[:MOST_FAULTS]:
        others = f" and {len(keys) - 1:,} more" if len(keys) > 1 else ""
        yield f"{path}: sample {keys[0]}{others}: {fault}"
    if rest := sum(map(len, list(faults.values())[MOST_FAULTS:])):
        yield f"{path}: {rest:,} more samples with a fault"


def digest_cache(job: CacheCheck) -> list[bytes]:
    """The content digests of a part of the cache."""
    count, (height, width) = len(job.keys), job.shape
    size = height * width
    images = np.fromfile(job.images, np.uint8, 3 * size * count, offset=3 * size * job.row)
    masks = np.fromfile(job.masks, np.uint8, size * count, offset=size * job.row)
    pixels = images.reshape(count, 3, height, width).transpose(0, 2, 3, 1)
    samples = zip(job.keys, pixels, masks.reshape(count, height, width), map(parse, job.texts), strict=True)
    return [digest(Sample(*sample)) for sample in samples]


def form_of(facts: Any) -> Any:
    """The fields and types of a JSON value. A list is described by its length and first element, `visible` by neither."""
    if isinstance(facts, dict):
        return {name: "ids" if name == "visible" else form_of(value) for name, value in facts.items()}
    if isinstance(facts, list):
        return [len(facts), form_of(facts[0]) if facts else None]
    return type(facts).__name__


def _decode(key: str, texts: list[bytes], shape: tuple[int, int]) -> Sample:
    facts = parse(texts[FACTS_AT])
    planes, mask = pixels(texts)
    image = planes.transpose(1, 2, 0)
    _expect("the size of the image", image.shape[:2], shape)
    _expect("the size of the mask", mask.shape, shape)
    return Sample(key, image, mask, facts)


def _check_facts(sample: Sample, form: Any, first_form: Any) -> None:
    facts = sample.facts
    _expect("the form of its JSON", form, first_form)
    _expect("index", facts["index"], int(sample.key))
    _expect("visible", facts["visible"], visible_ids(sample.mask))
    _expect("n_objects", facts["n_objects"], count_objects(sample.mask, _arrays(facts["factors"])))


def _arrays(factors: dict[str, Any]) -> dict[str, Array]:
    return {name: np.array(values) for name, values in factors.items()}


def _expect(what: str, found: Any, expected: Any) -> None:
    if found != expected:
        raise ValueError(f"{what} is {found}, expected {expected}")
