"""A prepared dataset is refused once the layers of benchmarks.yaml describe another one."""

from __future__ import annotations

from pathlib import Path

import pytest
from helpers import toy

from objbench.data.format.manifest import find
from objbench.data.prepare.prepare import prepare
from objbench.errors import RequestError
from objbench.spec.datasets import DatasetRef


@pytest.fixture(autouse=True)
def _toy(monkeypatch: pytest.MonkeyPatch) -> None:
    toy.register(monkeypatch)


def changed(**options: int) -> DatasetRef:
    """The dataset `toy` with other options of its source, or another height."""
    dataset = toy.dataset(4)  # another number of scenes in a shard, which changes no scene
    source = dataset.spec.sources["toy"].model_copy(update={"options": options})
    spec = dataset.spec.model_copy(update={"sources": {"toy": source}})
    return DatasetRef("toy", "standard", spec)


def test_a_dataset_is_found_as_long_as_its_scenes_are_described_as_they_were(tmp_path: Path) -> None:
    prepare(toy.dataset(), "toy", tmp_path, sizes={"train": 5}, seed=3, workers=1)
    folder, manifest = find(tmp_path, changed(), None)
    assert (folder, manifest.settings.sizes) == (tmp_path / "toy/toy", {"train": 5})


def test_changed_options_of_a_source_are_refused_by_prepare_and_by_readers(tmp_path: Path) -> None:
    prepare(toy.dataset(), "toy", tmp_path, workers=1)
    change = "source.options.side is not given there, 8 asked"
    with pytest.raises(RequestError, match=f"toy/toy: prepared with other settings .*: {change}.*--force"):
        find(tmp_path, changed(side=8), "toy")
    with pytest.raises(RequestError, match=f"a dataset with other settings is here: .*{change}"):
        prepare(changed(side=8), "toy", tmp_path, workers=1)


def test_a_changed_height_is_refused(tmp_path: Path) -> None:
    prepare(toy.dataset(), "toy", tmp_path, workers=1)
    taller = changed()
    taller.spec = taller.spec.model_copy(update={"height": 9})
    with pytest.raises(RequestError, match="height is 5 there, 9 asked"):
        find(tmp_path, taller, None)
