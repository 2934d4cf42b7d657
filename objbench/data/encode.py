"""From a batch of scenes to the bytes of its samples in a shard: what the workers of prepare do."""

from __future__ import annotations

from typing import NamedTuple

from objbench.data.sample import Sample, describe, digest, encode, key_of
from objbench.data.scene import SceneBatch
from objbench.errors import ObjbenchError

SCENES_PER_JOB = 250


class Encoded(NamedTuple):
    """The samples of one batch: their archive members, content digests and numbers of objects."""

    content: bytes
    digests: list[bytes]
    n_objects: list[int]


def encode_batch(batch: SceneBatch) -> Encoded:
    """Encode a batch, scene by scene; ObjbenchError for a factor that is not a finite number."""
    contents, digests, n_objects = [], [], []
    for row, index in enumerate(batch.index.tolist()):
        mask = batch.masks[row]
        facts = describe(index, mask, {name: values[row] for name, values in batch.factors.items()})
        sample = Sample(key_of(index), batch.images[row], mask, facts)
        try:
            contents.append(encode(sample))
        except ValueError as error:
            raise ObjbenchError(f"record {index}: its factors cannot be written as JSON: {error}") from None
        digests.append(digest(sample))
        n_objects.append(facts["n_objects"])
    return Encoded(b"".join(contents), digests, n_objects)
