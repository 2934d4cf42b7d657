"""From the scenes of a source to finished shards: one process reads, the others decode, preprocess and encode."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import chain, islice

from objbench import progress
from objbench.data.format.settings import Settings
from objbench.data.prepare.encode import Job
from objbench.data.prepare.preprocessing import Preprocessing
from objbench.data.prepare.splits import SplitAssigner, shared_ranges
from objbench.data.prepare.writer import ShardWriter
from objbench.data.scene import SCENES_PER_JOB, Block
from objbench.data.sources.base import Source, SplitPlan
from objbench.data.workers import run
from objbench.errors import ObjbenchError


def write_splits(
    source: Source,
    plans: list[SplitPlan],
    settings: Settings,
    writers: Mapping[str, ShardWriter],
    workers: int,
    skip_bad: bool,
    advance: progress.Advance,
) -> None:
    """Write what is still missing of each split, and close it.

    Args:
        advance: Counts samples.

    Raises:
        ObjbenchError: A scene is damaged (unless `skip_bad` leaves it out), the source gives other scenes than it
            planned, or the shards will not fit on the disk.
    """
    assigners = [SplitAssigner(group, writers) for group in shared_ranges(plans)]
    assigners = [assigner for assigner in assigners if not assigner.complete]
    if not assigners:
        return
    left = remaining = sum(map(len, plans)) - sum(writer.written for writer in writers.values())
    if any(assigner.resume for assigner in assigners):
        advance(0, note="reading past what is prepared")
    done = {assigner.lead.split: assigner.resume for assigner in assigners}
    blocks = source.read([assigner.lead for assigner in assigners], done)
    jobs = jobs_of(blocks, preprocessing_of(settings), skip_bad)
    first = list(islice(jobs, workers))  # a small source has fewer jobs than workers
    checked = False
    for encoded in run(
        "objbench.data.prepare.encode:encode_block", chain(first, jobs), min(workers, len(first))
    ):
        assigners = _from_split(encoded.split, assigners)
        assigners[0].add(encoded)
        samples = [len(scene.content) for scene in encoded.scenes if not scene.reason]
        if samples and not checked:
            writers[plans[0].split].check_space(samples, remaining)
            checked = True
        counted = min(len(samples), left)  # of a block, those behind the end of a split are read, too
        left -= counted
        advance(counted, note="")
        if assigners[0].complete and len(assigners) == 1:
            return
    for assigner in assigners:
        assigner.finish()


def jobs_of(
    blocks: Iterable[tuple[str, Block]], preprocessing: Preprocessing, skip_bad: bool
) -> Iterator[Job]:
    """The undecoded scenes, at most SCENES_PER_JOB of a block in each job."""
    for split, block in blocks:
        for start in range(0, len(block), SCENES_PER_JOB):
            yield Job(split, block[start : start + SCENES_PER_JOB], preprocessing, skip_bad)


def preprocessing_of(settings: Settings) -> Preprocessing:
    """What the settings of a prepare do to every scene."""
    return Preprocessing(
        size=(settings.height, settings.width),
        max_visible=settings.select.max_visible if settings.select else None,
        **(settings.transform.model_dump() if settings.transform else {}),
    )


def _from_split(split: str, assigners: list[SplitAssigner]) -> list[SplitAssigner]:
    """The assigners from that of `split` on; those before it are finished, as the source is past them."""
    while assigners[0].lead.split != split:
        assigners[0].finish()
        assigners = assigners[1:]
        if not assigners:
            raise ObjbenchError(f"the source gave scenes of {split} that were not asked for, or not in order")
    return assigners
