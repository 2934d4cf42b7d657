"""From the scenes of a source to finished shards: one process reads, the others decode, transform and encode."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping
from itertools import chain, islice

from objbench import progress
from objbench.data.format.manifest import Settings
from objbench.data.prepare.encode import Job
from objbench.data.prepare.splits import Cutter, stretches
from objbench.data.prepare.transform import Transform
from objbench.data.prepare.writer import ShardWriter
from objbench.data.scene import SCENES_PER_JOB
from objbench.data.sources.base import Source, SplitPlan
from objbench.data.workers import run
from objbench.errors import ObjbenchError
from objbench.files import check_space

_SPARE = 1.05
_ROOM = "free some space, choose another place with --data, or make smaller splits"


def fill(
    source: Source,
    plans: list[SplitPlan],
    settings: Settings,
    writers: Mapping[str, ShardWriter],
    workers: int,
    skip_bad: bool,
    advance: progress.Advance,
) -> None:
    """Write what is still missing of each split, and close it. `advance` counts samples.

    ObjbenchError for a damaged scene (unless skip_bad leaves it out), for a source that gives other scenes than it
    planned, and where the shards will find no room.
    """
    cutters = [Cutter(group, writers) for group in stretches(plans)]
    cutters = [cutter for cutter in cutters if not cutter.complete]
    if not cutters:
        return
    remaining = sum(map(len, plans)) - sum(writer.written for writer in writers.values())
    if any(cutter.resume for cutter in cutters):
        advance(0, note="reading past what is prepared")
    names: deque[str] = deque()
    jobs = _jobs(source, cutters, names, _transform(settings), skip_bad)
    first = list(islice(jobs, workers))  # of a small source there is no job for every worker
    checked = False
    for encoded in run(
        "objbench.data.prepare.encode:encode_block", chain(first, jobs), min(workers, len(first))
    ):
        cutters = _at(names.popleft(), cutters)
        cutters[0].add(encoded)
        samples = [len(scene.content) for scene in encoded.scenes if not scene.reason]
        if samples and not checked:
            check_space(
                writers[plans[0].split].folder,
                int(remaining * sum(samples) / len(samples) * _SPARE),
                "the shards still need about",
                _ROOM,
            )
            checked = True
        advance(len(samples), note=" ")
        if cutters[0].complete and len(cutters) == 1:
            return
    for cutter in cutters:
        cutter.finish()


def _jobs(
    source: Source, cutters: list[Cutter], names: deque[str], transform: Transform, skip_bad: bool
) -> Iterator[Job]:
    """The undecoded scenes, of any block at most SCENES_PER_JOB, with the name of their split put into `names`."""
    done = {cutter.lead.split: cutter.resume for cutter in cutters}
    for split, block in source.read([cutter.lead for cutter in cutters], done):
        for start in range(0, len(block), SCENES_PER_JOB):
            names.append(split)
            yield Job(block[start : start + SCENES_PER_JOB], transform, skip_bad)


def _transform(settings: Settings) -> Transform:
    asked, select = settings.transform, settings.select
    return Transform(
        size=(settings.height, settings.width),
        crop=asked.crop if asked else None,
        image=asked.image if asked else None,
        mask=asked.mask if asked else None,
        max_visible=select.max_visible if select else None,
    )


def _at(split: str, cutters: list[Cutter]) -> list[Cutter]:
    """The cutters from that of `split` on; those before it are finished, the source is past them."""
    while cutters[0].lead.split != split:
        cutters[0].finish()
        cutters = cutters[1:]
        if not cutters:
            raise ObjbenchError(f"the source gave scenes of {split} that were not asked for, or not in order")
    return cutters
