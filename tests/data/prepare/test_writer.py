"""Samples and shards: byte-identical, and read by everything that reads tar, PNG and JSON."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import tarfile
from pathlib import Path

import numpy as np
import pytest
from helpers import toy
from PIL import Image

from objbench.data.format import tar
from objbench.data.format.sample import Sample, count_objects, digest, encode, parse, rows, visible_ids
from objbench.data.prepare.encode import Job, encode_block
from objbench.data.prepare.preprocessing import Preprocessing
from objbench.data.scene import SceneBatch
from objbench.errors import ObjbenchError

MASK = np.array([[0, 0, 7], [2, 2, 0]], np.uint8)
IMAGE = np.arange(18, dtype=np.uint8).reshape(2, 3, 3)
FACTS = {"index": 5, "n_objects": 2, "visible": [2, 7], "factors": {"x": [0.5, 1.0]}}


def batch(count: int = 3) -> SceneBatch:
    images, masks, factors = zip(*(toy.scene("train", 2 * i) for i in range(count)), strict=True)
    stacked = {name: np.stack([values[name] for values in factors]) for name in factors[0]}
    return SceneBatch(2 * np.arange(count), np.stack(images), np.stack(masks), stacked)


def encoded(scenes: SceneBatch) -> bytes:
    samples = encode_block(Job("train", scenes, Preprocessing(scenes.masks.shape[1:]))).scenes
    return b"".join(sample.content for sample in samples)


def write(path: Path, content: bytes) -> np.ndarray:
    path.write_bytes(content + tar.END)
    return np.fromfile(path, np.uint8)


def test_a_member_is_what_tarfile_writes() -> None:
    info = tarfile.TarInfo("00000005.json")
    info.size, info.mode = 700, 0o644
    expected = info.tobuf(tarfile.USTAR_FORMAT) + b"x" * 700 + bytes(1024 - 700)
    assert tar.member("00000005.json", b"x" * 700) == expected


def test_tarfile_reads_a_shard(tmp_path: Path) -> None:
    write(tmp_path / "a.tar", encoded(batch()))
    with tarfile.open(tmp_path / "a.tar") as archive:
        names = archive.getnames()
        picture = archive.extractfile("00000002.png")
        labels = archive.extractfile("00000002.mask.png")
        text = archive.extractfile("00000002.json")
        assert picture is not None and labels is not None and text is not None  # noqa: PT018
        image, mask, factors = toy.scene("train", 2)
        assert np.array_equal(np.asarray(Image.open(picture)), image)
        label_map = Image.open(labels)
        assert label_map.mode == "L"
        assert np.array_equal(np.asarray(label_map), mask)
        facts = json.load(text)
    assert names[:3] == ["00000000.json", "00000000.mask.png", "00000000.png"]
    assert facts == {
        "index": 2,
        "n_objects": 3,
        "visible": [1, 2, 3],
        "factors": {name: values.tolist() for name, values in factors.items()},
    }


def test_walk_finds_what_tarfile_finds(tmp_path: Path) -> None:
    content = write(tmp_path / "a.tar", encoded(batch(9)))
    members = tar.walk(content, tmp_path / "a.tar")
    with tarfile.open(tmp_path / "a.tar") as archive:
        expected = [(m.name.encode(), m.offset_data, m.size) for m in archive]
    assert list(zip(*(column.tolist() for column in members), strict=True)) == expected


def test_walk_is_not_misled_by_a_header_inside_a_member(tmp_path: Path) -> None:
    content = write(tmp_path / "a.tar", tar.member("a", tar.member("b", b"inner")) + tar.member("c", b""))
    with pytest.raises(ObjbenchError, match="not a shard"):
        tar.walk(content, tmp_path / "a.tar")


@pytest.mark.parametrize("damage", ["cut", "no end", "text", "empty"])
def test_a_damaged_archive_is_refused(tmp_path: Path, damage: str) -> None:
    whole = encoded(batch()) + tar.END
    content = {"cut": whole[:-2000], "no end": whole[:-1024], "text": b"hello " * 1000, "empty": tar.END}[
        damage
    ]
    with pytest.raises(ObjbenchError, match=r"a\.tar: not a shard"):
        tar.walk(np.frombuffer(content, np.uint8), tmp_path / "a.tar")


@pytest.mark.parametrize(
    "names",
    [("1.png", "2.png", "3.png"), ("1.json", "1.mask.png"), ("1.json", "1.mask.png", "1.png", "2.json")],
)
def test_a_tar_of_other_files_is_no_shard(tmp_path: Path, names: tuple[str, ...]) -> None:
    content = write(tmp_path / "a.tar", b"".join(tar.member(name, b"x") for name in names))
    with pytest.raises(ObjbenchError, match=r"its members are not KEY\.json, KEY\.mask\.png, KEY\.png"):
        rows(tar.walk(content, tmp_path / "a.tar"), tmp_path / "a.tar")


def test_ids_keep_their_gaps() -> None:
    assert visible_ids(MASK) == [2, 7]


def test_objects_are_counted_by_visibility_or_by_what_is_seen() -> None:
    assert count_objects(MASK, {}) == 2
    assert count_objects(MASK, {"visibility": np.array([1.0, 1.0, 1.0, 1.0, 0.0])}) == 3


@pytest.mark.parametrize(
    ("mask", "text"),
    [
        (MASK, b'{"index":5,"n_objects":2,"visible":[2,7]}'),
        (0 * MASK, b'{"index":5,"n_objects":0,"visible":[0]}'),
    ],
)
def test_no_empty_list_or_object_is_written(mask: np.ndarray, text: bytes) -> None:
    lone = SceneBatch(np.array([5]), IMAGE[None], mask[None], {})
    assert text + b"\0" in encoded(lone)


def test_the_facts_of_an_empty_scene_are_read() -> None:
    assert parse(b'{"index":5,"n_objects":0,"visible":[0]}') == {
        "index": 5,
        "n_objects": 0,
        "visible": [],
        "factors": {},
    }


def test_the_fingerprint_of_a_scene_without_factors_is_that_of_earlier_versions() -> None:
    lone = Sample(
        "00000005", np.zeros((1, 2, 3), np.uint8), np.zeros((1, 2), np.uint8), {**FACTS, "factors": {}}
    )
    hashed = b"00000005 (1, 2, 3)\n" + bytes(6) + bytes(2) + b"{}"
    assert digest(lone) == hashlib.sha256(hashed).digest()


@pytest.mark.parametrize("part", ["key", "image", "shape", "mask", "factors"])
def test_the_digest_sees_every_part_of_the_content(part: str) -> None:
    one = Sample("00000005", IMAGE, MASK, FACTS)
    other = {
        "key": one._replace(key="00000006"),
        "image": one._replace(image=IMAGE + 1),
        "shape": one._replace(image=IMAGE.reshape(3, 2, 3)),
        "mask": one._replace(mask=MASK + 1),
        "factors": one._replace(facts={**FACTS, "factors": {"x": [0.5, 2.0]}}),
    }[part]
    assert digest(one) != digest(other)


def test_the_digest_does_not_see_how_arrays_lie_in_memory() -> None:
    one = Sample("00000005", IMAGE, MASK, FACTS)
    turned = np.asfortranarray(IMAGE)
    assert digest(one) == digest(one._replace(image=turned))
    assert encode(one) == encode(one._replace(image=turned))


def test_the_digest_does_not_see_the_order_of_factors() -> None:
    one, other = (
        Sample("00000005", IMAGE, MASK, {**FACTS, "factors": {name: [0.5] for name in names}})
        for names in (("x", "y"), ("y", "x"))
    )
    assert digest(one) == digest(other)
    assert encode(one) == encode(other)
    head = b"00000005 " + str(IMAGE.shape).encode() + b"\n"
    content = head + IMAGE.tobytes() + MASK.tobytes() + b'{"x":[0.5],"y":[0.5]}'
    assert digest(one) == hashlib.sha256(content).digest()


def test_encoding_workers_import_neither_torch_nor_pydantic() -> None:
    heavy = "torch", "pydantic", "webdataset", "yaml"
    for module in (
        "objbench.data.prepare.encode",
        "objbench.data.read.decode",
        "objbench.data.read.verify_worker",
        "objbench.data.workers",
        "objbench.data.sources.deepmind_records",
        "objbench.data.sources.emorl_rows",
    ):
        code = f"import sys, {module}; print([name for name in {heavy} if name in sys.modules])"
        found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        assert found.stdout.strip() == "[]", module


def test_a_factor_that_is_no_number_names_the_record() -> None:
    scenes = SceneBatch(np.array([5]), IMAGE[None], MASK[None], {"visibility": np.array([[1, np.nan]])})
    message = "record 5: its factor 'visibility' holds nan; expected finite numbers; --skip-bad leaves"
    with pytest.raises(ObjbenchError, match=message):
        encoded(scenes)


@pytest.mark.parametrize(
    ("name", "values", "found"),
    [
        ("x", np.zeros((2, 2)), r"'x' as \(2, 2\) for 1 scenes; expected \(N,E,...\) or \(N,\)"),
        ("x", np.float64(3), r"'x' as \(\) for 1 scenes"),
        ("visibility", np.ones(1), r"'visibility' as \(1,\) for 1 scenes; expected \(N,E\)"),
    ],
)
def test_factors_of_another_length_are_refused(name: str, values: np.ndarray, found: str) -> None:
    scenes = SceneBatch(np.array([5]), IMAGE[None], MASK[None], {name: values})
    with pytest.raises(ObjbenchError, match=f"the source gave the factor {found}"):
        encoded(scenes)
