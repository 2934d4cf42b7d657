"""stream: every sample once per epoch, in tensors, over workers and nodes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers import toy
from torch.utils.data import DataLoader

import objbench
from objbench.data.read import stream as stream_module
from objbench.errors import ObjbenchError, RequestError
from objbench.files import sha256_of

KEYS = [f"{2 * i:08d}" for i in range(23)]


def stream(data: Path, **options: Any) -> object:
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


def keys_of(pipeline: object) -> list[str]:
    return [sample["__key__"] for sample in pipeline]


def test_the_order_is_a_function_of_seed_and_epoch(data: Path) -> None:
    pipeline = stream(data, shuffle=5, seed=1)
    first, second = keys_of(pipeline), keys_of(pipeline)
    torch.manual_seed(4)
    state = torch.get_rng_state()
    again = stream(data, shuffle=5, seed=1)
    assert [keys_of(again), keys_of(again)] == [first, second]
    assert torch.equal(torch.get_rng_state(), state)
    other = keys_of(stream(data, shuffle=5, seed=2))
    assert len({tuple(keys) for keys in (KEYS, first, second, other)}) == 4
    assert sorted(first) == sorted(second) == sorted(other) == KEYS


@pytest.mark.parametrize("pool", [1, 10])
def test_shuffling_mixes_the_shards(data: Path, pool: int) -> None:
    pipeline = stream(data, shuffle=pool)  # one random order of 23: correlation 0, standard deviation 0.21
    orders = np.array([[int(key) for key in keys_of(pipeline)] for _ in range(100)])
    assert abs(np.mean([np.corrcoef(range(23), order)[0, 1] for order in orders])) < 0.08
    assert np.all(np.abs(orders.mean(0) - 22) < 5)  # the deviation of each mean is 1.3


@pytest.mark.parametrize("seed", range(3))
def test_few_shards_are_open_at_once(data: Path, monkeypatch: pytest.MonkeyPatch, seed: int) -> None:
    monkeypatch.setattr(stream_module, "_OPEN_SHARDS", 2)
    shards = [int(key) // 20 for key in keys_of(stream(data, shuffle=1, seed=seed))]
    starts = [shards.index(shard) for shard in range(3)]
    ends = [len(shards) - 1 - shards[::-1].index(shard) for shard in range(3)]
    assert max(starts) > min(ends)  # the third shard begins when another has ended


@pytest.mark.parametrize("shuffle", [-1, 1.5, "yes", None])
def test_other_pools_are_refused(data: Path, shuffle: Any) -> None:
    with pytest.raises(
        RequestError, match=rf"shuffle \(True, False or a number of samples\): .* found '?{shuffle}"
    ):
        stream(data, shuffle=shuffle)


def test_numbers_of_numpy_are_those_of_python(data: Path) -> None:
    assert keys_of(stream(data, shuffle=np.int64(5), seed=np.uint8(1))) == keys_of(
        stream(data, shuffle=5, seed=1)
    )
    with pytest.raises(RequestError, match=r"seed: expected a whole number of at least 0, found 1\.0"):
        stream(data, shuffle=5, seed=1.0)


def test_loaders_continue_the_epochs(data: Path) -> None:
    pipeline = stream(data, shuffle=True)
    loader = DataLoader(pipeline, batch_size=None, num_workers=2, multiprocessing_context="fork")
    first, second = keys_of(loader), keys_of(loader)
    assert first != second
    assert sorted(first) == sorted(second) == KEYS
    pipeline = stream(data, shuffle=True)
    loader = DataLoader(pipeline, batch_size=None, num_workers=2, multiprocessing_context="fork")
    assert [keys_of(loader), keys_of(loader)] == [first, second]


def test_every_mutation_of_a_shard_is_named(data: Path) -> None:
    path = data / "toy/toy/val-000000.tar"
    content = path.read_bytes()
    random = np.random.default_rng(5)
    for trial in range(200):
        damaged = bytearray(content)
        at = int(random.integers(len(content)))
        if trial % 4 == 0:
            damaged[at] ^= 1 << int(random.integers(8))
        elif trial % 4 == 1:
            damaged[at : at + 64] = bytes(byte ^ 255 for byte in damaged[at : at + 64])
        elif trial % 4 == 2:
            del damaged[at:]
        else:
            damaged[at:at] = bytes([int(random.integers(256))])
        path.write_bytes(damaged)
        with pytest.raises(ObjbenchError, match=r"val-000000\.tar: "):
            list(objbench.stream("toy", "val", data=data, config=data / "toy.yaml"))


@pytest.mark.parametrize(
    ("new", "message"),
    [
        (b'"index"!2', "Expecting"),
        (
            b'"indes":2',
            "its JSON must have the fields index, n_objects, visible and, if there are any, factors",
        ),
        (b'"\xffndex":2', "'utf-8' codec can't decode"),
    ],
)
def test_a_damaged_sample_under_a_right_hash_is_named(data: Path, new: bytes, message: str) -> None:
    path = data / "toy/toy/val-000000.tar"
    content = path.read_bytes()
    assert content.count(b'"index":2') == 1
    path.write_bytes(content.replace(b'"index":2', new))
    manifest = json.loads((data / "toy/toy/manifest.json").read_text())
    manifest["splits"]["val"]["shards"][0]["sha256"] = sha256_of(path)
    (data / "toy/toy/manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(ObjbenchError, match=rf"val-000000\.tar: was .* sample 00000002: {message}"):
        list(objbench.stream("toy", "val", data=data, config=data / "toy.yaml"))


@pytest.mark.parametrize("workers", [0, 2])
def test_a_shard_is_hashed_once(data: Path, monkeypatch: pytest.MonkeyPatch, workers: int) -> None:
    def hashing(path: Path) -> str:
        with (data / "hashed").open("a") as file:
            file.write(f"{path.name}\n")
        return sha256_of(path)

    monkeypatch.setattr(stream_module, "sha256_of", hashing)
    context = "fork" if workers else None
    loader = DataLoader(stream(data), batch_size=None, num_workers=workers, multiprocessing_context=context)
    for _ in range(2):
        assert sorted(keys_of(loader)) == KEYS
    assert sorted((data / "hashed").read_text().split()) == [f"train-00000{i}.tar" for i in range(3)]


def test_a_shard_that_is_changed_between_epochs_is_refused(data: Path) -> None:
    pipeline = stream(data)
    assert keys_of(pipeline) == KEYS
    path = data / "toy/toy/train-000001.tar"
    content = bytearray(path.read_bytes())
    content[600] ^= 1
    path.write_bytes(content)
    with pytest.raises(ObjbenchError, match=r"train-000001\.tar: was changed after prepare: its sha256"):
        keys_of(pipeline)


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
