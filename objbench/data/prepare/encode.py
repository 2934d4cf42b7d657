"""From a block of scenes to the bytes of their samples in a shard: the work of prepare's worker processes."""

from __future__ import annotations

from dataclasses import dataclass, replace
from operator import attrgetter
from typing import NamedTuple

import numpy as np

from objbench.data.format.sample import KEY_DIGITS, digest, encode, image_digest, samples
from objbench.data.prepare.preprocessing import Preprocessing
from objbench.data.scene import (
    FACTOR_KINDS,
    Array,
    BadScene,
    Block,
    SceneBatch,
    check_shapes,
    not_finite,
)
from objbench.errors import ObjbenchError


class Job(NamedTuple):
    """A block of scenes to decode, preprocess and encode.

    Attributes:
        split: The split under which the source gave the block.
        skip_bad: Report damaged scenes instead of raising an error at the first.
    """

    split: str
    block: Block
    preprocessing: Preprocessing
    skip_bad: bool = False


@dataclass(frozen=True, slots=True)
class EncodedScene:
    """A scene as a sample, or why it was skipped.

    Attributes:
        content: Its archive members.
        digest: Of its decoded content.
        image: Digest of its image alone.
        reason: Why it was skipped, "" if it was not.
    """

    index: int
    content: bytes
    digest: bytes
    image: bytes
    n_objects: int
    reason: str = ""


class Encoded(NamedTuple):
    """The scenes of a job that qualify, by index.

    Attributes:
        types: Of the factors, by name: kind of number or text, and shape. Several if the source mixes them.
    """

    split: str
    scenes: list[EncodedScene]
    types: list[dict[str, str]]


def encode_block(job: Job) -> Encoded:
    """Decode, preprocess and encode the scenes of a block.

    Raises:
        ObjbenchError: A scene is damaged, or the source breaks its contract.
    """
    scenes: list[EncodedScene] = []
    types: list[dict[str, str]] = []
    todo = [job.block]
    while todo:
        block = todo.pop()
        try:
            batch = block.decode()
        except BadScene as bad:
            scenes.append(_skipped(job, bad.index, bad.where, bad.reason))
            todo += [part for part in (block[bad.row + 1 :], block[: bad.row]) if len(part)]
        else:
            batch = _checked(batch)
            if batch.types not in types:
                types.append(batch.types)
            scenes += _encode_batch(job, job.preprocessing(batch))
    return Encoded(job.split, sorted(scenes, key=attrgetter("index")), types)


def qualifying(job: Job) -> list[int]:
    """The indices of the scenes of a block that qualify, without encoding them.

    Raises:
        ObjbenchError: A scene is damaged.
    """
    try:
        batch = job.block.decode()
    except BadScene as bad:
        raise ObjbenchError(
            f"{bad.where}: {bad.reason}; objbench prepare --skip-bad, in one process without --part, leaves it out"
        ) from None
    return [int(index) for index in job.preprocessing.selected(batch).index]


def _encode_batch(job: Job, batch: SceneBatch) -> list[EncodedScene]:
    faults = not_finite(batch.factors)
    scenes = [
        _skipped(job, index, f"record {index}", faults[row])
        for row, index in enumerate(batch.index.tolist())
        if row in faults
    ]
    sound = batch[np.array([row not in faults for row in range(len(batch))], bool)]
    for sample in samples(sound):
        facts = sample.facts
        digests = digest(sample), image_digest(sample.image)
        scenes.append(EncodedScene(facts["index"], encode(sample), *digests, facts["n_objects"]))
    return scenes


def _skipped(job: Job, index: int, where: str, reason: str) -> EncodedScene:
    if not job.skip_bad:
        raise ObjbenchError(f"{where}: {reason}; --skip-bad leaves such scenes out and lists them")
    return EncodedScene(index, b"", b"", b"", 0, reason)


def _checked(batch: SceneBatch) -> SceneBatch:
    """The batch, its factors with one type for all scenes; ObjbenchError if the source breaks its contract."""
    factors = {name: _typed(name, values) for name, values in batch.factors.items()}
    check_shapes("the source", len(batch), batch.images, batch.masks, factors)
    ascending = np.diff(batch.index, prepend=-1) > 0
    if not ascending.all() or (len(batch) and batch.index[-1] >= 10**KEY_DIGITS):
        wrong = batch.index[-1] if ascending.all() else batch.index[int(np.argmin(ascending))]
        raise ObjbenchError(f"indices must ascend and have at most {KEY_DIGITS} digits: found {wrong}")
    return replace(batch, factors=factors)


def _typed(name: str, values: Array) -> Array:
    """A factor with one type for all scenes, also if the source gave Python objects; ObjbenchError if that fails."""
    try:
        typed = np.array(values.tolist()) if values.dtype == object else values
    except ValueError:  # rows of different lengths
        typed = values
    if typed.dtype.kind not in FACTOR_KINDS:
        raise ObjbenchError(
            f"the source gave the factor '{name}' as {typed.dtype}, expected numbers or strings"
        )
    return typed
