"""Prepare: what it makes, what it refuses, and who can read it."""

from __future__ import annotations

import gc
import os
from pathlib import Path

import datasets
import numpy as np
import pytest
import webdataset
from helpers import toy
from helpers.toy import contents

from objbench.data.format.manifest import MANIFEST, find, prepared, read_manifest
from objbench.data.prepare.prepare import PrepareRequest, prepare
from objbench.data.read.verify import verify
from objbench.data.scene import SceneBatch
from objbench.data.sources.base import SourceRequest
from objbench.errors import ObjbenchError, RequestError
from objbench.progress import silent
from objbench.spec.load import load_spec

TOY = toy.dataset()


@pytest.fixture(autouse=True)
def _toy(monkeypatch: pytest.MonkeyPatch) -> None:
    toy.register(monkeypatch)


def test_shards_are_the_same_whatever_the_number_of_workers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("objbench.data.prepare.pipeline.SCENES_PER_JOB", 3)
    one = prepare(TOY, "toy", tmp_path / "1", workers=1)
    two = prepare(TOY, "toy", tmp_path / "2", workers=2)
    assert one == two
    assert contents(tmp_path / "1/toy/toy") == contents(tmp_path / "2/toy/toy")


def test_the_folder_holds_shards_manifest_and_card(tmp_path: Path) -> None:
    manifest = prepare(TOY, "toy", tmp_path, workers=1)
    shards = [f"train-00000{i}.tar" for i in range(3)] + ["val-000000.tar", "test-000000.tar"]
    assert set(contents(tmp_path / "toy/toy")) == {*shards, "manifest.json", "README.md"}
    assert not (tmp_path / "toy/toy/.prepare").exists()
    assert [shard.count for shard in manifest.splits["train"].shards] == [10, 10, 3]
    assert manifest.splits["train"].object_counts == {2: 12, 3: 11}
    assert manifest.generator == {"version": 1, "seed": 0}
    assert read_manifest(tmp_path / "toy/toy") == manifest


def test_the_fingerprint_is_of_the_content_not_of_the_shards(tmp_path: Path) -> None:
    large = prepare(toy.dataset(10), "toy", tmp_path / "10", workers=1)
    small = prepare(toy.dataset(4), "toy", tmp_path / "4", workers=1)
    other = prepare(TOY, "toy", tmp_path / "seed", seed=1, workers=1)
    prints = [{name: s.fingerprint for name, s in m.splits.items()} for m in (large, small, other)]
    assert prints[0] == prints[1]
    assert not set(prints[0].values()) & set(prints[2].values())


def test_source_files_are_hashed_into_the_manifest(tmp_path: Path) -> None:
    (tmp_path / "toy.h5").write_bytes(b"abc")
    manifest = prepare(TOY, "toy", tmp_path, raw=tmp_path / "toy.h5", workers=1)
    digest = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert [file.model_dump() for file in manifest.files] == [
        {"name": "toy.h5", "bytes": 3, "sha256": digest}
    ]
    assert manifest.generator is None


def test_a_finished_prepare_answers_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = prepare(TOY, "toy", tmp_path, workers=1)
    monkeypatch.setattr(toy.ToySource, "read", None)
    assert prepare(TOY, "toy", tmp_path, workers=1) == first


def test_a_finished_release_is_not_needed_any_more(tmp_path: Path) -> None:
    raw = tmp_path / "toy.h5"
    raw.write_bytes(b"abc")
    first = prepare(TOY, "toy", tmp_path, raw=raw, workers=1)
    raw.unlink()
    assert prepare(TOY, "toy", tmp_path, raw=raw, workers=1) == first


def test_other_settings_in_the_same_place_are_refused(tmp_path: Path) -> None:
    prepare(TOY, "toy", tmp_path, sizes={"train": 5}, workers=1)
    with pytest.raises(
        RequestError,
        match=r"toy/toy: .* seed is 0 there, 3 asked; sizes.train is 5 there, none asked.*--force",
    ):
        prepare(TOY, "toy", tmp_path, seed=3, workers=1)


def test_force_replaces_what_stands_there(tmp_path: Path) -> None:
    prepare(TOY, "toy", tmp_path, workers=1)
    manifest = prepare(TOY, "toy", tmp_path, sizes={"train": 5, "val": 0}, force=True, workers=1)
    assert list(manifest.splits) == ["train", "test"]
    assert not manifest.splits["train"].standard
    folder = tmp_path / "toy/toy"
    assert sorted(path.name for path in folder.glob("*.tar")) == ["test-000000.tar", "train-000000.tar"]
    assert verify(folder, manifest, deep=True) == []


def test_shards_of_unknown_origin_are_not_overwritten(tmp_path: Path) -> None:
    prepare(TOY, "toy", tmp_path, workers=1)
    (tmp_path / "toy/toy/manifest.json").unlink()
    with pytest.raises(RequestError, match="holds shards, but neither a manifest nor a sound journal"):
        prepare(TOY, "toy", tmp_path, workers=1)


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ({"train": -1}, "--train -1: a split cannot have fewer than 0 scenes"),
        ({"dev": 1}, "sizes are given for train, val, test, not for 'dev'"),
        ({"train": 0, "val": 0, "test": 0}, "all splits are of size 0"),
    ],
)
def test_impossible_sizes_are_refused(tmp_path: Path, sizes: dict[str, int], message: str) -> None:
    with pytest.raises(RequestError, match=message):
        prepare(TOY, "toy", tmp_path, sizes=sizes)


def test_an_unknown_source_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="unknown source of toy 'toi': did you mean 'toy'"):
        prepare(TOY, "toi", tmp_path)


def test_planning_writes_nothing(tmp_path: Path) -> None:
    preparation = PrepareRequest(TOY, "toy", tmp_path / "data", sizes={"val": 2}).plan()
    assert [(p.split, len(p)) for p in preparation.plans] == [("train", 23), ("val", 2), ("test", 4)]
    assert preparation.scenes == 29
    assert not (tmp_path / "data").exists()


def test_the_estimate_bounds_the_real_size(tmp_path: Path) -> None:
    preparation = PrepareRequest(TOY, "toy", tmp_path).plan()
    manifest = preparation.run(1, silent)
    assert preparation.bytes_at_most >= sum(
        shard.bytes for s in manifest.splits.values() for shard in s.shards
    )


def broken(change: str) -> list[tuple[str, SceneBatch]]:
    source = toy.ToySource(SourceRequest(TOY, "toy", sizes={"train": 4, "val": 0, "test": 0}))
    ((split, batch),) = source.read(source.plan(), {})
    if change == "missing":
        return [(split, batch[:3])]
    if change == "order":
        return [(split, SceneBatch(batch.index[::-1], batch.images, batch.masks, batch.factors))]
    if change == "too many":
        more = SceneBatch(batch.index + 100, batch.images, batch.masks, batch.factors)
        return [(split, batch), (split, more)]
    if change == "twice":
        return [(split, batch[:3]), (split, batch[:1])]
    masks = batch.masks[:, 1:] if change == "size" else batch.masks
    if change in ("types", "names"):
        factors = {**batch.factors, "color": batch.factors["color"] * 0.5} if change == "types" else {}
        return [(split, batch[:2]), (split, SceneBatch(batch.index, batch.images, batch.masks, factors)[2:])]
    if change == "objects":
        text = np.array([["a", None, "b", "c"]] * 4, object)
        return [(split, SceneBatch(batch.index, batch.images, batch.masks, {"word": text}))]
    return [(split, SceneBatch(batch.index, batch.images[:, 1:], masks, batch.factors))]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("missing", "split train should have 4 scenes, 1 are missing"),
        ("order", "indices must ascend .* found 4"),
        ("too many", "more than the 4 scenes of train"),
        ("twice", "the indices of train must ascend: found 0"),
        ("types", r"the factors of train must .*'color': 'float \(4, 3\)'.* after .*'color': 'int \(4, 3\)'"),
        (
            "names",
            r"the factors of train must have the same names, types and shapes .* found {} after {'visib",
        ),
        ("objects", "the source gave the factor 'word' as object, expected numbers or strings"),
        ("image size", r"the source gave images \(4, 4, 7, 3\) and masks \(4, 5, 7\) for 4 scenes"),
        ("size", r"scenes must be 5x7; the source gave images \(4, 4, 7, 3\) and masks \(4, 4, 7\)"),
    ],
)
def test_a_source_that_breaks_its_contract(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: str, message: str
) -> None:
    scenes = broken(change)
    monkeypatch.setattr(toy.ToySource, "read", lambda *_: iter(scenes))
    with pytest.raises(ObjbenchError, match=message):
        prepare(TOY, "toy", tmp_path, sizes={"train": 4, "val": 0, "test": 0}, workers=1)


@pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning")  # webdataset's own habit
def test_webdataset_reads_the_shards(tmp_path: Path) -> None:
    prepare(TOY, "toy", tmp_path, workers=1)
    shards = sorted(str(path) for path in (tmp_path / "toy/toy").glob("train-*.tar"))
    samples = list(webdataset.WebDataset(shards, shardshuffle=False).decode("rgb8"))
    image, _, factors = toy.scene("train", 2)
    assert [sample["__key__"] for sample in samples] == [f"{2 * i:08d}" for i in range(23)]
    assert np.array_equal(samples[1]["png"], image)
    assert samples[1]["json"]["factors"]["size"] == factors["size"].tolist()
    gc.collect()


def test_hugging_face_reads_the_shards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    prepare(TOY, "toy", tmp_path, workers=1)
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    loaded = datasets.load_dataset(
        "webdataset",
        data_files={"train": str(tmp_path / "toy/toy/train-*.tar")},
        split="train",
        cache_dir=str(tmp_path / "cache"),
    )
    image, mask, factors = toy.scene("train", 2)
    assert len(loaded) == 23
    assert np.array_equal(np.asarray(loaded[1]["png"]), image)
    assert np.array_equal(np.asarray(loaded[1]["mask.png"]), mask)
    assert loaded[1]["json"]["factors"]["color"] == factors["color"].tolist()


def test_prepared_sets_are_found(tmp_path: Path) -> None:
    assert prepared(tmp_path, TOY) == {}
    manifest = prepare(TOY, "toy", tmp_path, workers=1)
    assert prepared(tmp_path, TOY) == {"toy": manifest}
    assert find(tmp_path, TOY, None) == (tmp_path / "toy/toy", manifest)


@pytest.mark.parametrize("text", ['{"version": 2}', "[]"])
def test_a_damaged_manifest_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / MANIFEST).write_text(text)
    with pytest.raises(ObjbenchError, match=r"manifest\.json: not a manifest of this version"):
        read_manifest(tmp_path)


@pytest.mark.parametrize("damage", ["gone", "short"])
def test_a_finished_set_with_a_broken_shard_is_not_called_prepared(tmp_path: Path, damage: str) -> None:
    prepare(TOY, "toy", tmp_path, workers=1)
    shard = tmp_path / "toy/toy/test-000000.tar"
    if damage == "gone":
        shard.unlink()
    else:
        os.truncate(shard, 512)
    found = "is missing" if damage == "gone" else "has 512 bytes"
    with pytest.raises(
        ObjbenchError, match=f"test-000000.tar: {found}, .* prepare --force replaces the dataset"
    ):
        prepare(TOY, "toy", tmp_path, workers=1)


def test_a_transform_that_no_source_follows_is_refused(tmp_path):
    layer = tmp_path / "mine.yaml"
    rule = "{description: d, transform: {crop: [5, 5, 30, 30], image: bilinear, mask: nearest}, sources: {generated: {train: {stop: 4}}}}"
    layer.write_text(f"datasets: {{tetrominoes: {{protocols: {{cropped: {rule}}}}}}}")
    with pytest.raises(
        RequestError, match="transform: the source 'generated' makes scenes of their final size"
    ):
        prepare(load_spec(layer).dataset("tetrominoes@cropped"), "generated", tmp_path, workers=1)
