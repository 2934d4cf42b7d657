"""A source and a dataset of small random scenes, for the tests of everything that comes after a source."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import pytest

from objbench import registry
from objbench.data.scene import SceneBatch
from objbench.data.sources.base import Source, SplitPlan
from objbench.spec.datasets import SPLITS, DatasetRef, DatasetSpec, ProtocolSpec, SplitRule
from objbench.spec.sources import SourceSpec

HEIGHT, WIDTH, ENTITIES = 5, 7, 4
SIZES = {"train": 23, "val": 3, "test": 4}
YAML = """
datasets:
  toy:
    title: Toy scenes
    description: Random pixels.
    slots: 4
    height: 5
    width: 7
    scenes_per_shard: 10
    citation: [kabra2019]
    default_source: toy
    errata: [These are no scenes at all.]
    sources:
      toy: {title: A random number generator, licence: Apache-2.0, url: "https://example.org/toy", factors: {size: in pixels}}
    protocols:
      standard:
        description: All of them.
        sources:
          toy: {train: {stop: 23}, val: {stop: 3}, test: {stop: 4}}
"""


def dataset(scenes_per_shard: int = 10) -> DatasetRef:
    rules = {split: SplitRule(stop=size) for split, size in SIZES.items()}
    spec = DatasetSpec(
        title="Toy scenes",
        description="Random pixels.",
        slots=4,
        height=HEIGHT,
        width=WIDTH,
        scenes_per_shard=scenes_per_shard,
        citation=[],
        default_source="toy",
        sources={"toy": SourceSpec(title="Random", licence="Apache-2.0")},
        protocols={"standard": ProtocolSpec(description="All of them.", sources={"toy": rules})},
    )
    return DatasetRef("toy", "standard", spec)


def scene(split: str, index: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray, dict[str, np.ndarray]]:
    """Image, mask and factors of one scene: a function of its arguments alone."""
    random = np.random.default_rng([seed, SPLITS.index(split), index])
    image = random.integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)
    mask = random.integers(0, ENTITIES, (HEIGHT, WIDTH), np.uint8)
    visibility = np.array([1.0, 1.0, 1.0, float(index // 2 % 2)])
    mask[mask == 3 * (1 - index // 2 % 2)] = 0
    factors = {
        "visibility": visibility,
        "size": random.normal(size=ENTITIES),
        "color": random.integers(0, 2, (ENTITIES, 3)),
    }
    return image, mask, factors


class ToySource(Source):
    """Scenes made of `scene`, every second index, in batches of 4."""

    @property
    def files(self) -> list[Path]:
        return [self.request.raw] if self.request.raw else []

    @property
    def generator(self) -> dict[str, int] | None:
        return None if self.request.raw else {"version": 1, "seed": self.request.seed}

    def plan(self) -> list[SplitPlan]:
        sizes = {**SIZES, **self.request.sizes}
        return [SplitPlan(split, "data", 0, n, n == SIZES[split]) for split, n in sizes.items() if n]

    def read(self, plans: list[SplitPlan], done: Mapping[str, int]) -> Iterator[tuple[str, SceneBatch]]:
        for plan in plans:
            for start in range((done.get(plan.split, 0) + 1) // 2, len(plan), 4):
                index = 2 * np.arange(start, min(start + 4, len(plan)))
                scenes = [scene(plan.split, i, self.request.seed) for i in index.tolist()]
                images, masks, factors = zip(*scenes, strict=True)
                names = factors[0]
                stacked = {name: np.stack([values[name] for values in factors]) for name in names}
                yield plan.split, SceneBatch(index, np.stack(images), np.stack(masks), stacked)


def register(monkeypatch: pytest.MonkeyPatch, source: str = "helpers.toy:ToySource") -> None:
    """Make the source `toy` known, for one test."""
    monkeypatch.setitem(registry.BUILT_IN["sources"], "toy", source)
    registry.names.cache_clear()


def contents(folder: Path) -> dict[str, bytes]:
    """The files of a prepared dataset."""
    return {
        path.name: path.read_bytes() for path in folder.iterdir() if path.is_file() and path.name != ".lock"
    }
