"""Datasets in object stores: read by way of checked copies on this disk."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from helpers import stores, toy
from helpers.paths import ROOT
from torch.utils.data import DataLoader

from objbench.data.format.manifest import MANIFEST, Manifest, find, read_manifest, refuse_incomplete
from objbench.data.prepare.prepare import prepare
from objbench.data.read.load import load, load_split
from objbench.data.read.located import Located
from objbench.data.read.scenes import Scenes
from objbench.data.read.stream import stream
from objbench.data.read.verify import verify
from objbench.errors import ObjbenchError, RequestError
from objbench.stores import Store, write_whole

TOY = toy.dataset()


@pytest.fixture(autouse=True)
def _toy(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    toy.register(monkeypatch)
    (tmp_path / "toy.yaml").write_text(toy.YAML)


@pytest.fixture(params=["memory", "s3"])
def store(request: pytest.FixtureRequest) -> Store:
    found: Store = request.getfixturevalue(request.param)
    prepare(TOY, "toy", found, workers=1)
    return found


def load_train(store: Store) -> Scenes:
    return load_split(TOY, "train", "toy", store, torch.device("cpu"))


def manifest_of(store: Store) -> tuple[Store, Manifest]:
    folder, manifest = find(store, TOY, None)
    assert isinstance(folder, Store)
    return folder, manifest


def read_again(store: Store) -> list[str]:
    """The names of the files that a load gets from the store."""
    names: list[str] = []
    get = Store.get

    def noting(self: Store, target: Path) -> None:
        names.append(self.name)
        get(self, target)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Store, "get", noting)
        load_train(store)
    return sorted(names)


def spoil(path: Path | Store, at: int = 600) -> bytes:
    """Change one byte of a file; return what it was."""
    content = path.read_bytes()
    path.write_bytes(content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :])
    return content


SHARDS = ["train-000000.tar", "train-000001.tar", "train-000002.tar"]


def test_load_gives_what_a_prepare_on_the_disk_gives(store: Store, tmp_path: Path) -> None:
    prepare(TOY, "toy", tmp_path / "local", workers=1)
    scenes = load("toy", "train", data=str(store), config=tmp_path / "toy.yaml")
    local = load("toy", "train", data=tmp_path / "local", config=tmp_path / "toy.yaml")
    assert torch.equal(scenes.images, local.images)
    assert torch.equal(scenes.masks, local.masks)
    assert scenes.keys == local.keys
    assert scenes.manifest == local.manifest


def test_shards_are_fetched_once_and_again_after_a_change_of_the_copy(store: Store) -> None:
    assert read_again(store) == SHARDS
    assert read_again(store) == []
    here = Located.of(*manifest_of(store)).here
    (here / SHARDS[0]).unlink()
    spoil(here / SHARDS[1])
    with (here / SHARDS[2]).open("ab") as file:
        file.truncate(1000)
    assert read_again(store) == SHARDS
    assert verify(*manifest_of(store), deep=True, workers=1) == []


def test_the_copies_lie_in_the_cache_under_the_address(memory: Store, tmp_path: Path) -> None:
    prepare(TOY, "toy", memory, workers=1)
    load_train(memory)
    here = Located.of(*manifest_of(memory)).here
    assert here.parent == tmp_path / "cache/data/memory/sets/toy/toy"
    assert read_manifest(here) == read_manifest(memory / "toy" / "toy")


def test_another_prepare_in_the_same_place_has_copies_of_its_own(memory: Store) -> None:
    prepare(TOY, "toy", memory, workers=1)
    first = load_train(memory)
    prepare(TOY, "toy", memory, seed=1, workers=1, force=True)
    second = load_train(memory)
    assert not torch.equal(first.images, second.images)


def test_a_cut_object_is_not_read(store: Store) -> None:
    shard = store / "toy" / "toy" / SHARDS[1]
    write_whole(shard, "half")
    message = f"{shard}: not the file that is wanted: it has 4 bytes, expected "
    with pytest.raises(ObjbenchError, match=message) as caught:
        load_train(store)
    assert "prepare --force replaces the dataset" in str(caught.value)
    folder, manifest = manifest_of(store)
    assert not (Located.of(folder, manifest).here / SHARDS[1]).exists()
    with pytest.raises(ObjbenchError, match=r"train-000001\.tar: has 4 bytes, the manifest says"):
        refuse_incomplete(folder, manifest)
    (problem,) = verify(folder, manifest, workers=1)
    assert problem.startswith(f"{shard}: 4 bytes, the manifest says ")


def test_an_object_changed_behind_the_manifest_is_not_read(store: Store, tmp_path: Path) -> None:
    shard = store / "toy" / "toy" / SHARDS[1]
    spoil(shard)
    with pytest.raises(ObjbenchError, match=f"{shard}: not the file that is wanted: its sha256 is"):
        load_train(store)
    samples = stream("toy", "train", data=str(store), config=tmp_path / "toy.yaml")
    seen = []
    with pytest.raises(ObjbenchError, match=f"{shard}: not the file that is wanted: its sha256 is"):
        seen.extend(samples)
    assert len(seen) == 10
    (problem,) = verify(*manifest_of(store), workers=1)
    assert problem == f"{shard}: its sha256 is not the one in the manifest"


def test_verify_reads_the_store_and_not_the_copies(store: Store) -> None:
    load_train(store)
    folder, manifest = manifest_of(store)
    assert verify(folder, manifest, deep=True, workers=1) == []
    spoil(folder / SHARDS[0])
    (folder / SHARDS[2]).unlink()
    write_whole(folder / "train-000009.tar", "")
    unknown, changed, missing = verify(folder, manifest, workers=1)
    assert unknown == f"{folder}/train-000009.tar: not in the manifest"
    assert changed == f"{folder}/{SHARDS[0]}: its sha256 is not the one in the manifest"
    assert missing.startswith(f"{folder}/{SHARDS[2]}: this shard is missing")


def test_stream_fetches_a_shard_when_it_comes_to_it(store: Store, tmp_path: Path) -> None:
    samples = iter(stream("toy", "train", data=str(store), config=tmp_path / "toy.yaml"))
    here = Located.of(*manifest_of(store)).here
    assert not list(here.glob("*.tar"))
    first = next(samples)
    assert [path.name for path in here.glob("*.tar")] == SHARDS[:1]
    keys = [first["__key__"], *(sample["__key__"] for sample in samples)]
    assert keys == load_train(store).keys


def test_workers_of_a_loader_fetch_their_own_shards(s3: Store, tmp_path: Path) -> None:
    prepare(TOY, "toy", s3, workers=1)
    samples = stream("toy", "train", data=str(s3), shuffle=True, config=tmp_path / "toy.yaml")
    keys = [sample["__key__"] for sample in DataLoader(samples, batch_size=None, num_workers=2)]
    assert sorted(keys) == load_train(s3).keys


def test_a_missing_shard_is_said_before_the_stream_begins(store: Store, tmp_path: Path) -> None:
    (store / "toy" / "toy" / SHARDS[2]).unlink()
    with pytest.raises(ObjbenchError, match=r"train-000002\.tar: is missing"):
        stream("toy", "train", data=str(store), config=tmp_path / "toy.yaml")


def test_what_is_not_prepared_is_said_with_the_command(memory: Store) -> None:
    write_whole(memory / "something", "else")
    with pytest.raises(ObjbenchError, match=r"objbench prepare toy --source toy --data memory://sets"):
        find(memory, TOY, None)


def test_a_damaged_manifest_is_named(memory: Store) -> None:
    prepare(TOY, "toy", memory, workers=1)
    write_whole(memory / "toy" / "toy" / MANIFEST, '{"version": 1')
    with pytest.raises(ObjbenchError, match=r"memory://sets/toy/toy/manifest\.json: damaged"):
        find(memory, TOY, None)


def test_a_cache_without_room_names_the_variable(memory: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    prepare(TOY, "toy", memory, workers=1)
    monkeypatch.setattr("objbench.files.free_space", lambda folder: 10)
    with pytest.raises(ObjbenchError, match="name a folder on another disk in OBJBENCH_CACHE"):
        load_train(memory)


FETCHING = """
import sys
from pathlib import Path
from objbench.data.download.copies import Wanted, fetch_copies
from helpers import stores
wanted = Wanted(stores.store(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]), sys.argv[4])
fetch_copies([wanted])
"""


def test_a_fetch_that_is_killed_leaves_nothing_that_is_taken_for_whole(
    s3: Store, s3_server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepare(TOY, "toy", s3, workers=1)
    folder, manifest = manifest_of(s3)
    shard, here = manifest.split("train").shards[0], Located.of(folder, manifest).here
    road = stores.BlockedRoad(s3_server, f"/toy/toy/{shard.name}", get=True, most=5000)
    with monkeypatch.context() as patch:
        stores.use(patch, road.address)
        arguments = [str(folder / shard.name), str(here / shard.name), str(shard.bytes), shard.sha256]
        patch.setenv("PYTHONPATH", os.pathsep.join(map(str, (ROOT, ROOT / "tests"))))
        with subprocess.Popen([sys.executable, "-c", FETCHING, *arguments]) as process:
            assert road.blocked.wait(60)
            process.kill()
    road.close()
    assert not (here / shard.name).exists()
    assert read_again(s3) == SHARDS


def test_a_store_survives_pickling(memory: Store) -> None:
    located = Located(memory, Path("here"))
    assert pickle.loads(pickle.dumps(located)) == located


def test_a_bucket_that_does_not_exist_is_a_wrong_request(
    s3_server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    stores.use(monkeypatch, s3_server)
    with pytest.raises(RequestError, match="no bucket s3://no-such-bucket"):
        find(Store("s3://no-such-bucket/sets"), TOY, None)
