"""Verify: every difference between a dataset and its manifest."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path

import numpy as np
import pytest
from helpers import toy

from objbench.data.format import tar
from objbench.data.format.manifest import MANIFEST, read_manifest
from objbench.data.format.sample import Sample, encode
from objbench.data.prepare.prepare import prepare
from objbench.data.read import verify_worker
from objbench.data.read.load import load
from objbench.data.read.verify import verify
from objbench.errors import ObjbenchError

TOY = toy.dataset()


@pytest.fixture(autouse=True)
def _toy(monkeypatch: pytest.MonkeyPatch) -> None:
    toy.register(monkeypatch)


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
        ("types", "sample 00000002.*: the form of its JSON is"),
        ("content", "does not have the fingerprint in the manifest"),
        ("order", "key 00000002 follows 00000004, keys must ascend"),
        ("count", "2 samples, the manifest says 3"),
    ],
)
def test_a_deep_verify_looks_into_the_samples(folder: Path, what: str, message: str) -> None:
    rewrite(folder, change(samples_of_val(), what))
    assert bool(verify(folder, read_manifest(folder))) == (what == "count")
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


@pytest.mark.parametrize("name", ["keys.txt", "samples.jsonl", "masks.u8"])
@pytest.mark.parametrize("damage", ["bit", "size"])
def test_a_damaged_cache_is_a_finding(folder: Path, name: str, damage: str) -> None:
    config = folder.parents[1] / "toy.yaml"
    config.write_text(toy.YAML)
    load("toy", "val", data=folder.parents[1], config=config)
    path = folder / ".cache/val" / name
    content = bytearray(path.read_bytes())
    content[3] ^= 0x80
    path.write_bytes(content if damage == "bit" else content[:-1])
    expected = f"{folder}/.cache/val: the decoded cache differs from the shards; remove this folder"
    assert verify(folder, read_manifest(folder)) == [expected]


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"count": 4}, "split 'val' has 4 samples, but its shards have 3 together"),
        ({"count": 2}, "split 'val' has 2 samples, but its shards have 3 together"),
        ({"count": 0}, "split 'val' has 0 samples, but its shards have 3 together"),
    ],
)
def test_counts_that_contradict_each_other_are_found(
    folder: Path, change: dict[str, object], problem: str
) -> None:
    manifest = json.loads((folder / MANIFEST).read_text())
    manifest["splits"]["val"].update(change)
    (folder / MANIFEST).write_text(json.dumps(manifest))
    assert verify(folder, read_manifest(folder)) == [f"{folder / MANIFEST}: {problem}"]


def test_a_count_that_is_wrong_in_split_and_shard_is_found(folder: Path) -> None:
    manifest = json.loads((folder / MANIFEST).read_text())
    manifest["splits"]["val"]["count"] = manifest["splits"]["val"]["shards"][0]["count"] = 4
    (folder / MANIFEST).write_text(json.dumps(manifest))
    assert verify(folder, read_manifest(folder)) == [
        f"{folder}/val-000000.tar: 3 samples, the manifest says 4"
    ]


def test_faults_of_many_samples_are_counted(folder: Path) -> None:
    manifest = json.loads((folder / MANIFEST).read_text())
    (folder / MANIFEST).write_text(json.dumps(manifest | {"height": 9}))
    problems = verify(folder, read_manifest(folder), deep=True, workers=1)
    count = manifest["splits"]["train"]["shards"][0]["count"]
    assert count > 3
    of_train = [problem for problem in problems if "train-000000.tar" in problem]
    assert of_train == [
        f"{folder}/train-000000.tar: sample 00000000 and {count - 1} more: the size of the image is (5, 7), expected (9, 7)"
    ]


def test_different_faults_of_many_samples_are_counted(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = 0

    def decode(key: str, *arguments: object) -> None:
        nonlocal seen
        seen += 1
        raise ValueError(f"fault {seen // 2}")  # 0, 1, 1, 2, 2, 3, 3, ...

    monkeypatch.setattr(verify_worker, "_decode", decode)
    problems = verify(folder, read_manifest(folder), deep=True, workers=1)
    of_first = [
        problem.partition("train-000000.tar: ")[2] for problem in problems if "train-000000" in problem
    ]
    first = read_manifest(folder).splits["train"].shards[0]
    assert of_first == [
        "sample 00000000: fault 0",
        "sample 00000002 and 1 more: fault 1",
        "sample 00000006 and 1 more: fault 2",
        f"{first.count - 5} more samples with a fault",
    ]


def test_a_manifest_with_another_name_of_a_split_is_refused(folder: Path) -> None:
    manifest = json.loads((folder / MANIFEST).read_text())
    manifest["splits"]["tast"] = manifest["splits"].pop("test")
    (folder / MANIFEST).write_text(json.dumps(manifest))
    with pytest.raises(ObjbenchError, match=rf"{MANIFEST}: .*'tast' is no split.*prepare it again"):
        read_manifest(folder)


def test_a_deep_check_counts_the_images_that_train_has_too(folder: Path) -> None:
    manifest = json.loads((folder / MANIFEST).read_text())
    manifest["splits"]["test"]["repeated"] = 5
    (folder / MANIFEST).write_text(json.dumps(manifest))
    assert verify(folder, read_manifest(folder)) == []
    assert verify(folder, read_manifest(folder), deep=True) == [
        f"{folder}: test: 0 of its images are repeated from train, the manifest says 5"
    ]
