"""stream: every sample once per epoch, in tensors, over workers and nodes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from helpers import toy
from torch.utils.data import DataLoader

import objbench
from objbench.data.prepare.prepare import prepare
from objbench.errors import ObjbenchError
from objbench.spec.load import load_spec

KEYS = [f"{2 * i:08d}" for i in range(23)]


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    toy.register(monkeypatch)
    (tmp_path / "toy.yaml").write_text(toy.YAML)
    prepare(load_spec(tmp_path / "toy.yaml").dataset("toy"), "toy", tmp_path, workers=1)
    return tmp_path


def stream(data: Path, **options: bool | int) -> object:
    return objbench.stream("toy", "train", data=data, config=data / "toy.yaml", **options)


def test_samples_are_decoded(data: Path) -> None:
    samples = list(stream(data))
    image, mask, factors = toy.scene("train", 2)
    assert [sample["__key__"] for sample in samples] == KEYS
    assert set(samples[1]) == {"__key__", "index", "n_objects", "image", "mask", "factors"}
    assert torch.equal(samples[1]["image"], torch.from_numpy(image).permute(2, 0, 1))
    assert torch.equal(samples[1]["mask"], torch.from_numpy(mask))
    assert (samples[1]["index"], samples[1]["n_objects"]) == (2, 3)
    assert {name: values.tolist() for name, values in samples[1]["factors"].items()} == {
        name: values.tolist() for name, values in factors.items()
    }


def test_every_epoch_has_every_sample(data: Path) -> None:
    pipeline = stream(data, shuffle=True)
    for _ in range(2):
        assert sorted(sample["__key__"] for sample in pipeline) == KEYS


def test_shuffling_changes_the_order(data: Path) -> None:
    assert [sample["__key__"] for sample in stream(data, shuffle=100)] != KEYS


@pytest.mark.parametrize("workers", [0, 2])
def test_a_loader_gives_every_sample_once(data: Path, workers: int) -> None:
    loader = DataLoader(
        stream(data, shuffle=True),
        batch_size=4,
        num_workers=workers,
        multiprocessing_context="spawn" if workers else None,
    )
    batches = list(loader)
    assert sorted(key for batch in batches for key in batch["__key__"]) == KEYS
    assert batches[0]["image"].shape == (4, 3, 5, 7)
    assert batches[0]["factors"]["color"].shape == (4, 4, 3)


def test_nodes_share_the_shards(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    seen = []
    for rank in ("0", "1"):
        monkeypatch.setenv("RANK", rank)
        seen.append([sample["__key__"] for sample in stream(data)])
    assert sorted(seen[0] + seen[1]) == KEYS
    assert np.all([len(keys) > 0 for keys in seen])


def test_a_missing_shard_is_named_before_the_first_sample(data: Path) -> None:
    (data / "toy/toy/train-000001.tar").unlink()
    with pytest.raises(ObjbenchError, match=r"train-000001\.tar: this shard is missing"):
        stream(data)
