"""Files given with --raw are compared with what is published of them."""

from __future__ import annotations

import hashlib
import re
import threading
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import yaml
from helpers.tfrecords import MINI_ARRAYS

from objbench import progress
from objbench.data.download import Receipt, Remote
from objbench.data.download.receipts import write_receipt
from objbench.data.format.manifest import Manifest, SourceFile
from objbench.data.prepare import describe
from objbench.data.prepare.describe import Hashing, are_those
from objbench.data.prepare.prepare import prepare
from objbench.errors import ObjbenchError
from objbench.spec.load import load_spec
from objbench.stored import utc_now

SIZES = {"train": 10, "val": 0, "test": 0}
NAME = "tetrominoes.h5"


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    path = tmp_path / NAME
    with np.load(MINI_ARRAYS) as arrays, h5py.File(path, "w") as file:
        file["train/imgs"], file["train/masks"] = arrays["image"], arrays["mask"][..., None]
    return path


def digests(path: Path) -> dict[str, str]:
    content = path.read_bytes()
    return {"sha256": hashlib.sha256(content).hexdigest(), "md5": hashlib.md5(content).hexdigest()}


def prepared(raw: Path, published: dict[str, Any]) -> Manifest:
    """A prepare where a layer of yaml says what is published of the file."""
    source = {"download": {"files": {NAME: published}}}
    layer = raw.with_name(f"{len(list(raw.parent.iterdir()))}.yaml")  # each layer is read once
    layer.write_text(yaml.safe_dump({"datasets": {"tetrominoes": {"sources": {"emorl": source}}}}))
    reference = load_spec(layer).dataset("tetrominoes")
    return prepare(reference, "emorl", raw.with_name("data"), raw, SIZES, workers=1)


def test_the_published_file_is_taken_and_its_hash_is_in_the_manifest(raw: Path) -> None:
    known = digests(raw)
    manifest = prepared(
        raw, {"bytes": raw.stat().st_size, "md5": known["md5"].upper(), "sha256": known["sha256"]}
    )
    assert [(file.name, file.sha256) for file in manifest.files] == [(NAME, known["sha256"])]


@pytest.mark.parametrize("kind", ["sha256", "md5"])
def test_one_other_pixel_is_refused_where_a_checksum_is_known(raw: Path, kind: str) -> None:
    known = digests(raw)[kind]
    with h5py.File(raw, "a") as file:
        file["train/imgs"][3, 0, 0, 0] ^= 1
    found = digests(raw)[kind]
    message = f"{raw}: damaged, or not the file that was published: its {kind} is {found}, published is {known}. Get"
    with pytest.raises(
        ObjbenchError, match=re.escape(message) + r".*download: files: tetrominoes.h5: .*--config"
    ):
        prepared(raw, {kind: known})
    assert not raw.with_name("data").joinpath("tetrominoes/emorl/manifest.json").exists()
    assert prepared(raw, {kind: None}).splits["train"].count == 10  # the way to go on


def test_another_size_is_refused(raw: Path) -> None:
    size = raw.stat().st_size
    with pytest.raises(
        ObjbenchError, match=rf"{NAME}: damaged, .*: it has {size:,} bytes, published are {size + 1:,}"
    ):
        prepared(raw, {"bytes": size + 1})


def receipt(path: Path, **changed: Any) -> None:
    state = path.stat()
    known = digests(path)["sha256"]
    made = Receipt(
        bytes=state.st_size, mtime_ns=state.st_mtime_ns, sha256=known, checked=["md5"], date=utc_now()
    )
    write_receipt(path, made.model_copy(update=changed))


def remote(**published: Any) -> dict[str, Remote]:
    return {NAME: Remote(name=NAME, urls=("https://example.org",), **published)}


def test_a_downloaded_file_that_was_checked_is_not_read_again(
    raw: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = digests(raw)
    receipt(raw)
    monkeypatch.setattr(describe, "checksums", lambda *_: pytest.fail("the file is read"))
    with Hashing([raw], remote(**known)) as hashing:
        assert hashing.result(progress.silent)[0].sha256 == known["sha256"]
    with (
        Hashing([raw], remote(sha256="0" * 64)) as hashing,
        pytest.raises(ObjbenchError, match=f"its sha256 is {known['sha256']}, published is 0000"),
    ):
        hashing.result(progress.silent)


def test_a_downloaded_file_is_checked_against_what_its_receipt_lacks(raw: Path) -> None:
    receipt(raw, checked=[])
    with Hashing([raw], remote(md5="0" * 32)) as hashing, pytest.raises(ObjbenchError, match="its md5 is"):
        hashing.result(progress.silent)


def test_another_file_stops_the_work_as_soon_as_it_is_known(raw: Path) -> None:
    with Hashing([raw], remote(bytes=1)) as hashing:
        with pytest.raises(ObjbenchError):
            hashing.result(progress.silent)
        with pytest.raises(ObjbenchError, match="published are 1"):
            hashing.watched(progress.silent)(1)


def test_the_wait_for_the_hashes_shows_how_far_they_are(raw: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shown, seen = [], threading.Event()

    def slowly(path: Path, kinds: set[str], step: Any) -> dict[str, str]:
        step(2_500_000)
        assert seen.wait(30)
        return {"sha256": "ab"}

    def advance(amount: int = 1, note: str | None = None, resumed: int = 0) -> None:
        shown.append((amount, note))
        if "2.5 MB" in note:
            seen.set()

    monkeypatch.setattr(describe, "_SECONDS", 0.01)
    monkeypatch.setattr(describe, "checksums", slowly)
    with Hashing([raw], {}) as hashing:
        assert hashing.result(advance)[0].sha256 == "ab"
    assert shown[-1][0] == 0
    assert re.fullmatch(r"hashing the source files: 2\.5 MB of 0\.\d MB", shown[-1][1])


def test_files_are_those_described_only_as_often_as_they_are(tmp_path: Path) -> None:
    paths = [tmp_path / name for name in "abc"]
    for path, content in zip(paths, (b"one", b"one", b"two"), strict=True):
        path.write_bytes(content)
    described = described_files(paths)
    assert are_those(paths[::-1], None, described)
    paths[1].write_bytes(b"two")  # the same sizes and contents, in other numbers
    assert not are_those(paths, None, described)


def described_files(paths: list[Path]) -> list[SourceFile]:
    with Hashing(paths, {}) as hashing:
        return hashing.result(progress.silent)
