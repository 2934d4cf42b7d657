"""DeepMind's multi-object datasets: one TFRecord file per dataset, without splits of its own.

Kabra et al., Multi-Object Datasets, 2019. The order in the file is the only index there is.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from pathlib import Path

import numpy as np

from objbench.data.scene import Array, SceneBatch
from objbench.data.sources import release
from objbench.data.sources.base import Source, SourceRequest, SplitPlan
from objbench.data.sources.release import SceneError
from objbench.data.sources.tfrecord import Feature, Frame, SizeError, damaged, frames, parse_example
from objbench.errors import ObjbenchError, RequestError

ROLE = "data"
BATCH = 250  # scenes


@dataclass(frozen=True)
class Layout:
    """How the records of one dataset store a scene: image (H,W,3), masks with the entity axis at `entity_axis`."""

    height: int
    width: int
    entities: int
    entity_axis: int  # 0: (E,H,W,1); 2: (H,W,E,1)
    factors: Mapping[str, Feature]

    @cached_property
    def features(self) -> dict[str, Feature]:
        """All features of a record."""
        mask = [self.height, self.width, 1]
        mask.insert(self.entity_axis, self.entities)
        image = Feature("bytes", (self.height, self.width, 3))
        return {"image": image, "mask": Feature("bytes", tuple(mask)), **self.factors}


def _floats(entities: int, *names: str) -> dict[str, Feature]:
    return {name: Feature("float", (entities,)) for name in names}


LAYOUTS = {
    "tetrominoes": Layout(
        *release.NATIVE_SIZE["tetrominoes"],
        entities=4,
        entity_axis=0,
        factors={**_floats(4, "x", "y", "shape", "visibility"), "color": Feature("float", (4, 3))},
    ),
}


class DeepMindSource(Source):
    """A TFRecord file of the release, given as the file or its folder; read in one pass, never unpacked to disk."""

    def __init__(self, request: SourceRequest) -> None:
        super().__init__(request)
        if request.dataset.name not in LAYOUTS:
            raise RequestError(
                f"the source 'deepmind' cannot read {request.dataset.name}; it reads: {', '.join(LAYOUTS)}"
            )
        self._layout = LAYOUTS[request.dataset.name]
        raw = release.raw_path(request)
        found = release.find_file(request, raw, ROLE) if raw.is_dir() else raw
        if found is None:
            raise release.missing_file(request, raw, ROLE)
        self._path = found
        self._parse(next(frames(found)))

    @property
    def files(self) -> list[Path]:
        """The TFRecord file."""
        return [self._path]

    def plan(self) -> list[SplitPlan]:
        """The protocol's records; all sizes given and the file too short for them: one split after the other.

        Only then are the records counted, as far as they are needed.
        """
        return self._plan

    @cached_property
    def _plan(self) -> list[SplitPlan]:
        plans = release.protocol_plan(self.request)
        needed = max((plan.stop for plan in plans), default=0)
        if not release.all_sizes_given(self.request) or not needed:
            return plans
        found = sum(1 for _ in islice(frames(self._path), needed))
        if found == needed:
            return plans
        return release.consecutive_plan(self.request, {ROLE: found}, {ROLE: self._path})

    def read(self, plans: list[SplitPlan], done: Mapping[str, int]) -> Iterator[tuple[str, SceneBatch]]:
        """The scenes, in one pass over the file; what is done already is skipped unparsed."""
        stream, position = frames(self._path), 0
        for plan in plans:
            start = plan.start + done.get(plan.split, 0)
            if start >= plan.stop:
                continue
            if start < position:  # a protocol whose splits share records
                stream, position = frames(self._path), 0
            wanted = islice(stream, start - position, plan.stop - position)
            position = plan.stop
            end = start
            while batch := [(frame.number, self._parse(frame)) for frame in islice(wanted, BATCH)]:
                end += len(batch)
                yield plan.split, self._scenes(batch)
            if end < plan.stop:
                raise self._too_short(plans)

    def _parse(self, frame: Frame) -> dict[str, Array]:
        try:
            return parse_example(frame.payload, self._layout.features)
        except SizeError as error:
            hint = release.looks_like(error.count) if error.name == "image" else ""
            raise damaged(self._path, frame.number, frame.offset, f"{error}{hint}") from None
        except ValueError as error:
            raise damaged(self._path, frame.number, frame.offset, str(error)) from None

    def _scenes(self, records: list[tuple[int, dict[str, Array]]]) -> SceneBatch:
        index = np.array([number for number, _ in records])
        stacked = {name: np.stack([record[name] for _, record in records]) for name in self._layout.features}
        planes = np.moveaxis(stacked.pop("mask")[..., 0], self._layout.entity_axis + 1, 1)
        try:
            masks = release.label_map(planes, values=(255,))
        except SceneError as error:
            raise ObjbenchError(f"{self._path}: record {index[error.row]}: {error}") from None
        return SceneBatch(index, stacked.pop("image"), masks, stacked)

    def _too_short(self, plans: list[SplitPlan]) -> ObjbenchError:
        found = sum(1 for _ in frames(self._path))
        needed = max(plan.stop for plan in plans)
        return release.incomplete(self.request, self._path, found, f"needs the first {needed:,}")
