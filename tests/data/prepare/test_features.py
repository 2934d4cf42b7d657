"""Hugging Face and Parquet read what prepare wrote, whatever the first scenes hold."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pytest
from helpers import toy

import objbench
from objbench.data.format.manifest import read_manifest
from objbench.data.prepare.features import features, first_factors
from objbench.data.prepare.prepare import prepare
from objbench.data.read.verify import verify
from objbench.data.scene import Array, SceneBatch
from objbench.data.sources.base import SplitPlan
from objbench.spec.load import load_spec

SIZES = {"train": 23, "val": 12, "test": 11}
EMPTY = 8  # the first scenes of each split have no object; Hugging Face infers types from five samples


class EmptyFirst(toy.ToySource):
    """The toy's scenes, the first ones of each split without objects, with factors of every type."""

    def read(self, plans: list[SplitPlan], done: Mapping[str, int]) -> Iterator[tuple[str, SceneBatch]]:
        for split, batch in super().read(plans, done):
            masks = np.where(batch.index[:, None, None] < 2 * EMPTY, 0, batch.masks).astype(np.uint8)
            yield split, SceneBatch(batch.index, batch.images, masks, self.factors(split, batch))

    def factors(self, split: str, batch: SceneBatch) -> dict[str, Array]:
        words = np.array(["", "a", "bc", "def"])[None].repeat(len(batch), 0)
        return {
            **{name: batch.factors[name] for name in ("size", "color")},
            "word": words,
            "scene": batch.index / 2.0,
            "code": batch.index,
        }


class WithoutFactors(EmptyFirst):
    """The same without factors."""

    def factors(self, split: str, batch: SceneBatch) -> dict[str, Array]:
        return {}


class InTestOnly(EmptyFirst):
    """The same with factors in test only, as some releases have them."""

    def factors(self, split: str, batch: SceneBatch) -> dict[str, Array]:
        return super().factors(split, batch) if split == "test" else {}


FACTORS = {
    "code": datasets.Value("int64"),
    "color": datasets.List(datasets.List(datasets.Value("int64"))),
    "scene": datasets.Value("float64"),
    "size": datasets.List(datasets.Value("float64")),
    "word": datasets.List(datasets.Value("string")),
}
FACTS = {
    "index": datasets.Value("int64"),
    "n_objects": datasets.Value("int64"),
    "visible": datasets.List(datasets.Value("int64")),
}


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Path:
    toy.register(monkeypatch, f"{__name__}:{request.param.__name__}")
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    (tmp_path / "toy.yaml").write_text(toy.YAML)
    prepare(load_spec(tmp_path / "toy.yaml").dataset("toy"), "toy", tmp_path, sizes=SIZES, workers=1)
    return tmp_path


def check(loaded: datasets.Dataset, split: str, data: Path, factors: dict[str, Any]) -> None:
    """Types and content of a split, before and after Parquet, are those of the shards."""
    assert loaded.features["json"] == ({"factors": factors, **FACTS} if factors else FACTS)
    assert len(loaded) == SIZES[split]
    loaded.to_parquet(str(data / f"{split}.parquet"))
    again = datasets.Dataset.from_parquet(str(data / f"{split}.parquet"), cache_dir=str(data / "parquet"))
    assert again.features == loaded.features
    scenes = objbench.load("toy", split, data=data, config=data / "toy.yaml")
    for row in (0, EMPTY, SIZES[split] - 1):
        facts = again[row]["json"]
        assert facts["visible"] == [label for label in scenes.masks[row].unique().tolist() if label] or [0]
        assert facts["index"] == 2 * row
        expected = {name: values[row].tolist() for name, values in scenes.factors.items()}
        assert (facts.get("factors") or {}) == expected
        assert np.array_equal(np.asarray(again[row]["png"]), scenes.images[row].permute(1, 2, 0))
        assert np.array_equal(np.asarray(again[row]["mask.png"]), scenes.masks[row])
    shuffled = loaded.shuffle(seed=1)
    assert sorted(shuffled["__key__"]) == scenes.keys != list(shuffled["__key__"])


@pytest.mark.parametrize("data", [EmptyFirst, WithoutFactors, InTestOnly], indirect=True)
@pytest.mark.parametrize("split", SIZES)
def test_a_split_is_read_by_its_files(data: Path, split: str) -> None:
    loaded = datasets.load_dataset(
        "webdataset",
        data_files=str(data / f"toy/toy/{split}-*.tar"),
        split="train",
        cache_dir=str(data / "hf"),
    )
    folder = data / "toy/toy"
    manifest = read_manifest(folder)
    here = dict(zip(manifest.splits, first_factors(folder, manifest), strict=True))[split]
    check(loaded, split, data, FACTORS if here else {})


@pytest.mark.parametrize("data", [EmptyFirst, WithoutFactors, InTestOnly], indirect=True)
def test_all_splits_are_read_by_the_card(data: Path) -> None:
    folder = data / "toy/toy"
    loaded = datasets.load_dataset(str(folder), cache_dir=str(data / "hf"))
    factors = FACTORS if any(first_factors(folder, read_manifest(folder))) else {}
    assert set(loaded) == set(SIZES)
    for split in SIZES:
        check(loaded[split], split, data, factors)
    streamed = datasets.load_dataset(str(folder), streaming=True)["test"].shuffle(seed=1, buffer_size=5)
    assert sorted(sample["__key__"] for sample in streamed) == sorted(loaded["test"]["__key__"])


@pytest.mark.parametrize("data", [EmptyFirst, WithoutFactors, InTestOnly], indirect=True)
def test_objbench_reads_it_too(data: Path) -> None:
    folder = data / "toy/toy"
    assert verify(folder, read_manifest(folder), deep=True) == []
    for split in SIZES:
        scenes = objbench.load("toy", split, data=data, config=data / "toy.yaml")
        samples = list(objbench.stream("toy", split, data=data, config=data / "toy.yaml"))
        for row, sample in enumerate(samples):
            assert sample["factors"].keys() == scenes.factors.keys()
            assert sample["n_objects"] == int((scenes.masks[row].unique() > 0).sum())
    assert verify(folder, read_manifest(folder), deep=True) == []


def test_types_are_those_of_all_splits() -> None:
    json = features([{"a": [1], "b": True}, {"a": [0.5], "c": [[""]]}, {"a": [], "d": []}])[0]
    assert json["struct"][0] == {
        "name": "factors",
        "struct": [
            {"name": "a", "list": "float64"},
            {"name": "b", "dtype": "bool"},
            {"name": "c", "list": {"list": "string"}},
            {"name": "d", "list": "float64"},
        ],
    }
