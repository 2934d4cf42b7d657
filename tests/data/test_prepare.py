"""prepare: reproducible, resumable, one at a time, and plain about what goes wrong; verify: finds what was changed."""

from __future__ import annotations

import gc
import hashlib
import json
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import datasets
import numpy as np
import pytest
import toy
import webdataset
import yaml

from objbench.data import prepare as prepare_module
from objbench.data import tar
from objbench.data.load import load
from objbench.data.manifest import MANIFEST, find, prepared, read_manifest
from objbench.data.prepare import plan, prepare
from objbench.data.sample import Sample, encode
from objbench.data.scene import SceneBatch
from objbench.data.sources.base import SourceRequest, SplitPlan
from objbench.data.verify import verify
from objbench.errors import ObjbenchError, RequestError
from objbench.files import locked
from objbench.progress import silent

TOY = toy.dataset()


@pytest.fixture(autouse=True)
def _toy(monkeypatch: pytest.MonkeyPatch) -> None:
    toy.register(monkeypatch)


def contents(folder: Path) -> dict[str, bytes]:
    return {
        path.name: path.read_bytes() for path in folder.iterdir() if path.is_file() and path.name != ".lock"
    }


def test_shards_are_the_same_whatever_the_number_of_workers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("blocks", "prepare"):
        monkeypatch.setattr(f"objbench.data.{module}.SCENES_PER_JOB", 3)
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
        match=r"toy/toy: .* seed is 0 there, 3 asked; sizes.train is 5 there, not given asked.*--force",
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
    with pytest.raises(RequestError, match="holds shards, but neither a manifest nor the journal"):
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


KILLED = """
import sys, time
from pathlib import Path
sys.path[:0] = {path!r}
import toy
from objbench import registry
from objbench.data import blocks, prepare
registry.BUILT_IN["sources"]["toy"] = "toy:ToySource"
blocks.SCENES_PER_JOB = 2
read = toy.ToySource.read
def slowly(self, plans, done):
    for n, item in enumerate(read(self, plans, done)):
        if n == 4:  # 16 scenes given: one shard is done, the second is begun
            print("here", flush=True)
            time.sleep(60)
        yield item
toy.ToySource.read = slowly
prepare.prepare(toy.dataset(), "toy", Path(sys.argv[1]), workers=int(sys.argv[2]))
"""


@pytest.mark.parametrize("workers", [1, 2])
def test_a_killed_prepare_goes_on_to_the_same_end(
    tmp_path: Path, workers: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    code = KILLED.format(path=[str(Path(__file__).parent)])
    command = [sys.executable, "-c", code, str(tmp_path / "killed"), str(workers)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "here\n"
        folder = tmp_path / "killed/toy/toy"
        until = time.monotonic() + 20
        while (
            workers > 1
            and not (folder / ".prepare/train-000000.tar.json").exists()
            and time.monotonic() < until
        ):
            time.sleep(0.01)
        process.kill()
    assert not (folder / MANIFEST).exists()
    finished = folder / "train-000000.tar"
    before = finished.stat().st_mtime_ns

    asked = {}
    read = toy.ToySource.read

    def watched(self: toy.ToySource, plans: list[SplitPlan], done: dict[str, int]) -> object:
        asked.update(done)
        return read(self, plans, done)

    monkeypatch.setattr(toy.ToySource, "read", watched)
    prepare(TOY, "toy", tmp_path / "killed", workers=1)
    prepare_whole = prepare(TOY, "toy", tmp_path / "whole", workers=1)
    assert finished.stat().st_mtime_ns == before
    assert prepare_whole.splits["train"].count == 23
    assert contents(folder) == contents(tmp_path / "whole/toy/toy")


def interrupt(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
    """Let the source fail after 16 scenes."""
    read = toy.ToySource.read

    def failing(self: toy.ToySource, plans: list[SplitPlan], done: dict[str, int]) -> object:
        for number, item in enumerate(read(self, plans, done)):
            if number == 4:
                raise error
            yield item

    monkeypatch.setattr(toy.ToySource, "read", failing)
    monkeypatch.setattr("objbench.data.blocks.SCENES_PER_JOB", 2)


@pytest.mark.parametrize("workers", [1, 2])
def test_an_interrupted_prepare_leaves_no_half_shard(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, workers: int
) -> None:
    monkeypatch.setattr(prepare_module, "SCENES_PER_JOB", 2)
    interrupt(monkeypatch, KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        prepare(TOY, "toy", tmp_path, workers=workers)
    names = [path.name for path in (tmp_path / "toy/toy").iterdir() if path.is_file()]
    assert set(names) - {".lock", "train-000000.tar"} == set()


def test_resuming_with_other_settings_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        interrupt(patch, ObjbenchError("record 16 is damaged"))
        with pytest.raises(ObjbenchError, match="record 16 is damaged"):
            prepare(TOY, "toy", tmp_path, workers=1)
    with pytest.raises(
        RequestError, match=r"an unfinished prepare with other settings .* seed is 0 there, 1 asked"
    ):
        prepare(TOY, "toy", tmp_path, seed=1, workers=1)


def test_a_finished_shard_that_was_changed_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        interrupt(patch, ObjbenchError("stop"))
        with pytest.raises(ObjbenchError):
            prepare(TOY, "toy", tmp_path, workers=1)
    shard = tmp_path / "toy/toy/train-000000.tar"
    content = bytearray(shard.read_bytes())
    content[600] ^= 1
    shard.write_bytes(content)
    manifest = prepare(TOY, "toy", tmp_path, workers=1)
    assert verify(tmp_path / "toy/toy", manifest, deep=True) == []


def test_a_second_prepare_fails_at_once(tmp_path: Path) -> None:
    with (
        locked(tmp_path / "toy/toy/.lock", "occupied"),
        pytest.raises(ObjbenchError, match="toy/toy: another prepare is at work"),
    ):
        prepare(TOY, "toy", tmp_path, workers=1)


def test_too_little_space_is_said_before_it_runs_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=1000))
    with pytest.raises(ObjbenchError, match=r"still need about 0\.1 MB, only 0\.0 MB are free"):
        prepare(TOY, "toy", tmp_path, workers=1)
    assert not list(tmp_path.rglob("*.tar*"))


def test_an_unwritable_folder_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path, **_: object) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "mkdir", refuse)
    with pytest.raises(ObjbenchError, match="toy/toy: Permission denied; choose a folder that you may write"):
        prepare(TOY, "toy", tmp_path, workers=1)


def test_planning_writes_nothing(tmp_path: Path) -> None:
    preparation = plan(TOY, "toy", tmp_path / "data", None, {"val": 2}, 0)
    assert [(p.split, len(p)) for p in preparation.plans] == [("train", 23), ("val", 2), ("test", 4)]
    assert preparation.scenes == 29
    assert not (tmp_path / "data").exists()


def test_the_estimate_bounds_the_real_size(tmp_path: Path) -> None:
    preparation = plan(TOY, "toy", tmp_path, None, {}, 0)
    manifest = preparation.run(1, False, silent)
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
    return [(split, SceneBatch(batch.index, batch.images[:, 1:], batch.masks, batch.factors))]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("missing", "split train was to have 4 scenes, at least 1 are missing"),
        ("order", "indices of train must ascend .* found 4"),
        ("too many", "more than the 4 scenes of train"),
        ("size", r"scenes of train must be 5x7; the source gave images \(4, 4, 7, 3\)"),
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


def test_the_card_says_what_hugging_face_wants_to_know(tmp_path: Path) -> None:
    prepare(TOY, "toy", tmp_path, workers=1)
    front, _, body = (tmp_path / "toy/toy/README.md").read_text().removeprefix("---\n").partition("---\n")
    meta = yaml.safe_load(front)
    assert meta["license"] == "apache-2.0"
    assert meta["task_categories"] == ["image-segmentation"]
    assert meta["size_categories"] == ["n<1K"]
    assert meta["configs"][0]["data_files"][0] == {"split": "train", "path": "train-*.tar"}
    assert 'objbench.load("toy", split="train", source="toy")' in body


def test_prepared_sets_are_found(tmp_path: Path) -> None:
    assert prepared(tmp_path, TOY) == {}
    manifest = prepare(TOY, "toy", tmp_path, workers=1)
    assert prepared(tmp_path, TOY) == {"toy": manifest}
    assert find(tmp_path, TOY, None) == (tmp_path / "toy/toy", manifest)


@pytest.mark.parametrize("text", ["{", '{"version": 2}', "[]"])
def test_a_damaged_manifest_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / MANIFEST).write_text(text)
    with pytest.raises(ObjbenchError, match=r"manifest\.json: not a manifest of this version"):
        read_manifest(tmp_path)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    prepare(TOY, "toy", tmp_path, workers=1)
    return tmp_path / "toy/toy"


def rewrite(folder: Path, samples: list[Sample]) -> None:
    """Put other samples into the val shard and make the manifest agree with its size and hash."""

    content = b"".join(encode(sample) for sample in samples) + tar.END
    (folder / "val-000000.tar").write_bytes(content)
    manifest = json.loads((folder / MANIFEST).read_text())
    manifest["splits"]["val"]["shards"][0].update(
        bytes=len(content), sha256=hashlib.sha256(content).hexdigest()
    )
    (folder / MANIFEST).write_text(json.dumps(manifest))


def samples_of_val() -> list[Sample]:
    samples = []
    for index in (0, 2, 4):
        image, mask, factors = toy.scene("val", index)
        facts = {
            "index": index,
            "n_objects": 2 + index // 2 % 2,
            "visible": np.unique(mask[mask > 0]).tolist(),
            "factors": {name: values.tolist() for name, values in factors.items()},
        }
        samples.append(Sample(f"{index:08d}", image, mask, facts))
    return samples


def test_verify_finds_every_difference(folder: Path) -> None:
    manifest = read_manifest(folder)
    (folder / "train-000000.tar").unlink()
    content = bytearray((folder / "train-000001.tar").read_bytes())
    content[1000] ^= 1
    (folder / "train-000001.tar").write_bytes(content)
    with (folder / "val-000000.tar").open("ab") as file:
        file.write(bytes(512))
    (folder / "train-000009.tar").write_bytes(b"")
    problems = "\n".join(verify(folder, manifest))
    assert "train-000009.tar: not in the manifest" in problems
    assert "train-000000.tar: this shard is missing" in problems
    assert "train-000001.tar: its sha256 is not the one in the manifest" in problems
    assert "val-000000.tar: 10,752 bytes, the manifest says 10,240" in problems
    assert len(problems.splitlines()) == 4


def test_an_untouched_dataset_passes(folder: Path) -> None:
    rewrite(folder, samples_of_val())
    assert verify(folder, read_manifest(folder), deep=True) == []


def change(samples: list[Sample], what: str) -> list[Sample]:
    first, *rest = samples
    facts = first.facts
    changed = {
        "image size": first._replace(image=first.image[1:]),
        "image mode": first._replace(image=first.image[..., 0]),
        "visible": first._replace(facts={**facts, "visible": [9]}),
        "n_objects": first._replace(facts={**facts, "n_objects": 9}),
        "index": first._replace(facts={**facts, "index": 9}),
        "fields": first._replace(facts={"index": 0}),
        "types": first._replace(facts={**facts, "factors": {**facts["factors"], "size": [1, 2, 3, 4]}}),
        "content": first._replace(image=255 - first.image),
        "order": rest[-1],
        "count": rest[0],
    }[what]
    if what == "order":
        return [rest[-1], rest[0], first]
    return rest if what == "count" else [changed, *rest]


@pytest.mark.parametrize(
    ("what", "message"),
    [
        ("image size", r"sample 00000000: the size of the image is \(4, 7\), expected \(5, 7\)"),
        ("image mode", "sample 00000000: a PNG of mode RGB was expected, found L"),
        ("visible", r"sample 00000000: visible is \[9\], expected"),
        ("n_objects", "sample 00000000: n_objects is 9, expected 2"),
        ("index", "sample 00000000: index is 9, expected 0"),
        ("fields", "sample 00000000: its JSON must have the fields"),
        ("types", "sample 00000002: the form of its JSON is"),
        ("content", "does not have the fingerprint in the manifest"),
        ("order", "key 00000002 follows 00000004, keys must ascend"),
        ("count", "2 samples, the manifest says 3"),
    ],
)
def test_a_deep_verify_looks_into_the_samples(folder: Path, what: str, message: str) -> None:
    rewrite(folder, change(samples_of_val(), what))
    assert verify(folder, read_manifest(folder)) == []
    problems = verify(folder, read_manifest(folder), deep=True)
    assert any(re.search(message, problem) for problem in problems), problems


def test_verify_hashes_the_raw_cache(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "toy.yaml").write_text(toy.YAML)
    load("toy", "val", data=tmp_path, config=tmp_path / "toy.yaml")
    assert verify(folder, read_manifest(folder)) == []
    raw = folder / ".cache/val/masks.u8"
    raw.write_bytes(bytes(raw.stat().st_size))
    assert verify(folder, read_manifest(folder)) == [
        f"{folder}/.cache/val: the decoded cache differs from the shards; remove this folder"
    ]
