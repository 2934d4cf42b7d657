"""load: what was prepared, from the shards or from the cache, and plain words when it is not there."""

from __future__ import annotations

import errno
import json
import logging
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from filelock import FileLock
from helpers import toy

import objbench
from objbench.data.format import tar
from objbench.data.format.manifest import MANIFEST, read_manifest, refuse_incomplete
from objbench.data.read import cache as cache_module
from objbench.data.read import load as load_module
from objbench.data.read.scenes import Scenes
from objbench.data.scene import SceneBatch
from objbench.errors import ObjbenchError, RequestError


def load(data: Path, split: str = "train", source: str | None = None, device: str | None = None) -> Scenes:
    return objbench.load("toy", split, source, data, device, config=data / "toy.yaml")


def no_decoding(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(load_module, "_decode", None)


def check_train(scenes: Scenes) -> None:
    assert len(scenes) == 23
    assert scenes.images.shape == (23, 3, 5, 7)
    assert scenes.masks.shape == (23, 5, 7)
    assert scenes.images.dtype == scenes.masks.dtype == torch.uint8
    for i in range(23):
        image, mask, factors = toy.scene("train", 2 * i)
        assert np.array_equal(scenes.images[i].permute(1, 2, 0).numpy(), image)
        assert np.array_equal(scenes.masks[i].numpy(), mask)
        assert scenes.keys[i] == f"{2 * i:08d}"
        assert scenes.n_objects[i] == 2 + i % 2
        assert {name: values[i].tolist() for name, values in scenes.factors.items()} == {
            name: values.tolist() for name, values in factors.items()
        }


def test_load_gives_what_the_source_gave(data: Path) -> None:
    scenes = load(data)
    check_train(scenes)
    assert (str(scenes.spec), scenes.split) == ("toy", "train")
    assert scenes.manifest is not None
    assert scenes.manifest.source == "toy"
    assert {name: values.dtype for name, values in scenes.factors.items()} == {
        "color": np.int64,
        "size": np.float64,
        "visibility": np.float64,
    }


def test_workers_decode_the_same(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(load_module, "_INLINE", 0)
    monkeypatch.setattr(load_module, "SCENES_PER_JOB", 4)
    monkeypatch.setattr(load_module, "available", lambda: 2)
    check_train(load(data))


def test_the_second_load_decodes_nothing(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    load(data)
    no_decoding(monkeypatch)
    check_train(load(data))


@pytest.mark.parametrize("what", ["shard", "manifest", "cache", "keys"])
def test_a_cache_that_does_not_fit_is_made_again(data: Path, what: str) -> None:
    load(data)
    folder = data / "toy/toy"
    if what == "shard":
        os.utime(folder / "train-000000.tar", ns=(1, 1))
    elif what == "manifest":
        (folder / MANIFEST).write_text((folder / MANIFEST).read_text() + "\n")
    elif what == "keys":
        (folder / ".cache/train/keys.txt").unlink()
    else:
        with (folder / ".cache/train/masks.u8").open("r+b") as file:
            file.truncate(100)
    stamp = folder / ".cache/train/sealed.json"
    before = stamp.stat().st_mtime_ns
    check_train(load(data))
    assert stamp.stat().st_mtime_ns > before


@pytest.mark.parametrize("name", ["keys.txt", "samples.jsonl", "sealed.json"])
def test_a_cache_with_a_damaged_text_is_made_again(data: Path, name: str) -> None:
    load(data)
    path = data / "toy/toy/.cache/train" / name
    content = path.read_bytes()
    path.write_bytes(content[:20] + bytes([content[20] ^ 0x80]) + content[21:])
    check_train(load(data))
    assert path.read_bytes() == content


def test_the_disk_has_the_cache_before_it_is_declared_complete(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    events: list[str] = []
    for module in (cache_module, load_module):
        monkeypatch.setattr(module, "sync", lambda path: events.append(path.name))
    save = cache_module.CacheEntry.save

    def spy(entry: cache_module.CacheEntry, path: Path) -> None:
        events.append(path.name)
        save(entry, path)

    monkeypatch.setattr(cache_module.CacheEntry, "save", spy)
    load(data)
    assert events == ["images.u8", "masks.u8", "samples.jsonl", "keys.txt", "sealed.json", ".cache"]


def stream(data: Path, split: str) -> list[object]:
    return list(objbench.stream("toy", split, data=data, config=data / "toy.yaml"))


@pytest.mark.parametrize(
    ("split", "shard", "message"),
    [
        (
            4,
            3,
            r"toy@standard \(toy\): split 'val' has 4 samples, but its shards have 3 together; prepare it",
        ),
        (2, 3, r"split 'val' has 2 samples, but its shards have 3 together"),
        (4, 4, r"val-000000\.tar: was changed after prepare: it has 3 samples, the manifest says 4"),
    ],
)
def test_a_manifest_with_wrong_counts_is_refused(data: Path, split: int, shard: int, message: str) -> None:
    manifest = json.loads((data / "toy/toy" / MANIFEST).read_text())
    manifest["splits"]["val"]["count"] = split
    manifest["splits"]["val"]["shards"][0]["count"] = shard
    (data / "toy/toy" / MANIFEST).write_text(json.dumps(manifest))
    for read in (load, stream):
        with pytest.raises(ObjbenchError, match=message):
            read(data, "val")


def test_an_empty_split_is_refused(data: Path) -> None:
    manifest = json.loads((data / "toy/toy" / MANIFEST).read_text())
    manifest["splits"]["val"].update(count=0, shards=[])
    (data / "toy/toy" / MANIFEST).write_text(json.dumps(manifest))
    for read in (load, stream):
        with pytest.raises(
            ObjbenchError, match=r"toy@standard \(toy\): split 'val' is empty; prepare it again"
        ):
            read(data, "val")
    with pytest.raises(ObjbenchError, match="split 'val' is empty"):
        refuse_incomplete(data / "toy/toy", read_manifest(data / "toy/toy"))


def test_the_cache_is_trusted_by_size_and_time(data: Path) -> None:
    load(data)
    shard = data / "toy/toy/train-000000.tar"
    state = shard.stat()
    content = bytearray(shard.read_bytes())
    content[600] ^= 1
    shard.write_bytes(content)
    os.utime(shard, ns=(state.st_atime_ns, state.st_mtime_ns))
    check_train(load(data))


def test_an_unwritable_cache_is_done_without(data: Path, caplog: pytest.LogCaptureFixture) -> None:
    (data / "toy/toy/.cache").write_text("a file where the folder should be")
    with caplog.at_level(logging.WARNING):
        check_train(load(data))
    assert "decoding without a cache" in caplog.text


def test_a_file_system_without_locks_is_done_without_a_cache(
    data: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(lock: FileLock, timeout: float) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(FileLock, "acquire", refuse)
    with caplog.at_level(logging.WARNING):
        check_train(load(data))
    assert f"{data}/toy/toy/.cache/train.lock: No locks available; decoding without a cache" in caplog.text
    assert "write access and file locks" in caplog.text


def test_a_shard_that_was_edited_is_refused(data: Path) -> None:
    shard = data / "toy/toy/train-000001.tar"
    content = bytearray(shard.read_bytes())
    content[600] ^= 1
    shard.write_bytes(content)
    with pytest.raises(
        ObjbenchError, match=r"train-000001\.tar: was changed after prepare: its sha256 .*--force"
    ):
        load(data)
    assert not (data / "toy/toy/.cache/train").exists()
    assert not (data / "toy/toy/.cache/train.partial").exists()


def test_a_shard_of_another_size_is_refused(data: Path) -> None:
    with (data / "toy/toy/train-000001.tar").open("ab") as file:
        file.write(bytes(512))
    with pytest.raises(
        ObjbenchError, match="was changed after prepare: it has 32,256 bytes, the manifest says 31,744"
    ):
        load(data)


@pytest.mark.parametrize("cached", [False, True])
def test_a_missing_shard_is_named(data: Path, cached: bool) -> None:
    if cached:
        load(data)
    (data / "toy/toy/train-000002.tar").unlink()
    with pytest.raises(ObjbenchError, match=r"train-000002\.tar: this shard is missing"):
        load(data)


def test_a_file_that_became_shorter_is_named(tmp_path: Path) -> None:
    path = tmp_path / "images.bin"
    path.write_bytes(bytes(10))
    with pytest.raises(ObjbenchError, match=r"images\.bin: was changed while it was read"):
        load_module._read(path, (2, 10))


def test_a_tar_that_is_no_shard_is_named(data: Path) -> None:
    shard = data / "toy/toy/val-000000.tar"
    content = tar.member("hello.txt", bytes(shard.stat().st_size - 1536)) + tar.END
    shard.write_bytes(content)
    with pytest.raises(ObjbenchError, match=r"val-000000\.tar: not a shard: its members are not KEY\.json"):
        load(data, "val")


def test_a_split_that_is_not_there_lists_those_that_are(data: Path) -> None:
    with pytest.raises(RequestError, match=r"unknown split 'tst': did you mean 'test'\?"):
        load(data, "tst")


def test_an_unprepared_dataset_names_the_command(data: Path) -> None:
    message = f"toy is not prepared in {data}/none/toy: objbench prepare toy --source toy --data {data}/none"
    with pytest.raises(ObjbenchError, match=message):
        objbench.load("toy", data=data / "none", config=data / "toy.yaml")


def test_several_sources_must_be_chosen_from(data: Path) -> None:
    (data / "toy/other").mkdir()
    (data / "toy/other" / MANIFEST).write_text((data / "toy/toy" / MANIFEST).read_text())
    assert len(load(data)) == 23  # one that the dataset does not have
    layer = yaml.safe_load((data / "toy.yaml").read_text())
    block = layer["datasets"]["toy"]
    for sources in (block["sources"], block["protocols"]["standard"]["sources"]):
        sources["other"] = sources["toy"]
    (data / "toy.yaml").write_text(yaml.safe_dump(layer))
    with pytest.raises(RequestError, match="prepared from several sources: give --source other or toy"):
        load(data)
    assert len(load(data, source="toy")) == 23


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"dataset": "toi"}, "unknown dataset 'toi': did you mean 'toy'"),
        ({"dataset": "toy@easy"}, "unknown protocol of toy 'easy'"),
        ({"dataset": "toy", "source": "emorl"}, "unknown source of toy 'emorl'"),
        ({"dataset": "toy", "device": "gpu"}, "unknown device 'gpu'"),
    ],
)
def test_wrong_requests(data: Path, arguments: dict[str, str], message: str) -> None:
    with pytest.raises(RequestError, match=message):
        objbench.load(data=data, config=data / "toy.yaml", **arguments)


def test_the_environment_says_where_the_data_is(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OBJBENCH_DATA", str(data))
    assert len(objbench.load("toy", "val", config=data / "toy.yaml")) == 3


def test_a_script_without_a_main_guard_may_load(data: Path) -> None:
    script = data / "script.py"
    script.write_text(
        "import objbench, objbench.data.read.load as module\n"
        "module._INLINE, module.SCENES_PER_JOB, module.available = 0, 4, lambda: 2\n"
        f"print(len(objbench.load('toy', data={str(data)!r}, config=module.Path({str(data / 'toy.yaml')!r}))))\n"
    )
    found = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, check=True)
    assert found.stdout == "23\n"


def test_selected_scenes(data: Path) -> None:
    scenes = load(data)
    some = scenes.select([5, 2])
    assert some.keys == ["00000010", "00000004"]
    assert torch.equal(some.images, scenes.images[[5, 2]])
    assert np.array_equal(some.factors["size"], scenes.factors["size"][[5, 2]])
    assert scenes.select(slice(3)).keys == scenes.keys[:3]


def test_scenes_straight_from_a_generator() -> None:
    image, mask, _ = toy.scene("val", 2)
    batch = SceneBatch(np.array([2]), image[None], mask[None], {})
    scenes = Scenes.of(batch, toy.dataset(), split="val")
    assert scenes.keys == ["00000002"]
    assert torch.equal(scenes.images[0].permute(1, 2, 0), torch.from_numpy(image))
    assert scenes.n_objects.tolist() == [len(set(mask.ravel().tolist()) - {0})]
    assert (scenes.split, scenes.manifest, scenes.factors) == ("val", None, {})


def test_the_manifest_is_the_one_that_was_written(data: Path) -> None:
    manifest = load(data).manifest
    assert manifest is not None
    assert json.loads(manifest.model_dump_json()) == json.loads((data / "toy/toy" / MANIFEST).read_text())
