"""DeepMind's multi-object datasets: one TFRecord file per dataset, without splits of its own.

Kabra et al., Multi-Object Datasets, 2019. The order in the file is the only index there is.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from functools import cached_property
from itertools import islice
from pathlib import Path

from objbench.data.scene import BYTES_PER_JOB, SCENES_PER_JOB, Block
from objbench.data.sources import release
from objbench.data.sources.base import Source, SourceRequest, SplitPlan
from objbench.data.sources.deepmind_records import RecordBlock, objects
from objbench.data.sources.layouts import LAYOUTS
from objbench.data.sources.tfrecord import Frame, Reader, is_example
from objbench.errors import RequestError

ROLE = "data"


class DeepMindSource(Source):
    """A TFRecord file of the release, given as the file or its folder; read in one pass, never unpacked to disk."""

    selects = ("max_objects", "max_visible")

    def __init__(self, request: SourceRequest) -> None:
        super().__init__(request)
        self._layout = release.option(request, "layout", LAYOUTS)
        entities = release.source_spec(request).entities
        if len(entities) != 1:
            raise RequestError(
                f"{release.label(request)}: expected one number of `entities` in its block, found {entities}"
            )
        self._entities = entities[0]
        select = request.dataset.rule.select.get(request.source)
        self._max_objects = select.max_objects if select else None
        if self._max_objects is not None and "visibility" not in LAYOUTS[self._layout].factors:
            raise RequestError(
                f"{release.label(request)}: records of the layout '{self._layout}' have no `visibility`, by which "
                "max_objects selects"
            )
        raw = release.raw_path(request)
        found = release.find_file(request, raw, ROLE) if raw.is_dir() else raw
        if found is None:
            raise release.missing_file(request, raw, ROLE)
        self._path = found
        self._look_at_first_record()

    @property
    def files(self) -> list[Path]:
        """The TFRecord file."""
        return [self._path]

    def plan(self) -> list[SplitPlan]:
        """The protocol's records; if all sizes are given and the file is too short, one split after the other.

        Records are counted only if all sizes are given, and only as far as needed; or if a split goes to the end of a
        file of which benchmarks.yaml does not say how many it holds.
        """
        return self._plan

    @cached_property
    def _plan(self) -> list[SplitPlan]:
        rows = {ROLE: self._count(sys.maxsize)} if release.needs_count(self.request, ROLE) else {}
        plans = release.protocol_plan(self.request, rows)
        needed = max((plan.stop for plan in plans), default=0)
        if not release.all_sizes_given(self.request) or not needed:
            return plans
        found = self._count(needed)
        if found == needed:
            return plans
        return release.consecutive_plan(self.request, {ROLE: found}, {ROLE: self._path})

    def _count(self, most: int) -> int:
        """The number of records in the file, counted up to `most`."""
        with Reader(self._path) as reader:
            return reader.skip(most)

    def read(self, plans: list[SplitPlan], done: Mapping[str, int]) -> Iterator[tuple[str, Block]]:
        """The scenes, in one pass over the file; prepared ones are skipped without parsing."""
        with ExitStack() as opened:
            reader = opened.enter_context(Reader(self._path))
            for plan in plans:
                start = max(plan.start, done.get(plan.split, 0))
                if start >= plan.stop:
                    continue
                if start < reader.position:  # a protocol whose splits share records
                    reader = opened.enter_context(Reader(self._path))
                reader.skip(start - reader.position)
                for frames in self._jobs(islice(reader, plan.stop - start)):
                    yield plan.split, self._block(frames)
                if reader.position < plan.stop:
                    needed = max(plan.stop for plan in plans)
                    expected = f"needs the first {needed:,}"
                    raise release.incomplete(self.request, self._path, reader.position, expected)

    def _block(self, frames: list[Frame]) -> RecordBlock:
        return RecordBlock(self._layout, self._entities, self._path, frames)

    def _jobs(self, records: Iterator[Frame]) -> Iterator[list[Frame]]:
        """The qualifying and the damaged records, in portions of one job each."""
        frames: list[Frame] = []
        size = 0
        for frame in records:
            if self._max_objects is not None:
                found = objects(frame, self._layout, self._entities)
                if found is not None and found > self._max_objects:
                    continue
            frames.append(frame)
            size += len(frame.payload)
            if len(frames) == SCENES_PER_JOB or size >= BYTES_PER_JOB:
                yield frames
                frames, size = [], 0
        if frames:
            yield frames

    def _look_at_first_record(self) -> None:
        """Raise ObjbenchError if the file is of another kind or dataset; a damaged record is left to `read`."""
        with Reader(self._path) as reader:
            first = next(iter(reader))
        if first.intact and is_example(first.payload):
            self._block([first]).parse(0)
