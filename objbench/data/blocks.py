"""From the batches of a source, of any size, to the blocks that are encoded one by one."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np

from objbench.data.encode import SCENES_PER_JOB
from objbench.data.sample import KEY_DIGITS
from objbench.data.scene import SceneBatch
from objbench.data.shards import ShardWriter
from objbench.errors import ObjbenchError


def blocks(
    scenes: Iterable[tuple[str, SceneBatch]], writers: dict[str, ShardWriter], height: int, width: int
) -> Iterator[SceneBatch]:
    """The same scenes in blocks that never cross a shard's border, of SCENES_PER_JOB where they can be.

    Every writer gets exactly as many scenes as it still wants, one writer after the other, as checked here:
    ObjbenchError for a source that breaks its contract.
    """
    held: list[SceneBatch] = []
    position = {split: writer.written for split, writer in writers.items()}
    last_index = dict.fromkeys(writers, -1)
    for split, batch in scenes:
        _check(split, batch, last_index[split], height, width)
        last_index[split] = int(batch.index[-1]) if len(batch) else last_index[split]
        at = 0
        while at < len(batch):
            size = min(SCENES_PER_JOB, writers[split].room(position[split]))
            if size <= 0:
                raise ObjbenchError(f"the source gave more than the {writers[split].count} scenes of {split}")
            held.append(batch[at : at + size - sum(map(len, held))])
            at += len(held[-1])
            if sum(map(len, held)) == size:
                yield SceneBatch.concatenate(held)
                held = []
                position[split] += size
    for split, writer in writers.items():
        if position[split] != writer.count:
            raise ObjbenchError(
                f"the source ended early: split {split} was to have {writer.count} scenes, "
                f"at least {writer.count - position[split] - sum(map(len, held))} are missing"
            )


def _check(split: str, batch: SceneBatch, last_index: int, height: int, width: int) -> None:
    count = len(batch)
    if batch.images.shape != (count, height, width, 3) or batch.masks.shape != (count, height, width):
        raise ObjbenchError(
            f"scenes of {split} must be {height}x{width}; the source gave images {batch.images.shape} "
            f"and masks {batch.masks.shape}"
        )
    if batch.images.dtype != np.uint8 or batch.masks.dtype != np.uint8:
        raise ObjbenchError(
            f"the source gave {batch.images.dtype} images and {batch.masks.dtype} masks, not uint8"
        )
    ascending = np.diff(batch.index, prepend=last_index) > 0
    if not ascending.all() or (count and batch.index[-1] >= 10**KEY_DIGITS):
        wrong = batch.index[-1] if ascending.all() else batch.index[int(np.argmin(ascending))]
        raise ObjbenchError(
            f"the indices of {split} must ascend and have at most {KEY_DIGITS} digits: found {wrong}"
        )
