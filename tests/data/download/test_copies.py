"""Copies of files of a store: fetched once, again after a change, never half."""

from __future__ import annotations

from pathlib import Path

import pytest

from objbench.data.download.copies import copy_of, wanted_of
from objbench.data.download.receipts import read_receipt
from objbench.errors import ObjbenchError, RequestError
from objbench.stores import Store, write_whole


@pytest.fixture(params=["memory", "s3"])
def store(request: pytest.FixtureRequest) -> Store:
    found: Store = request.getfixturevalue(request.param)
    return found


def files(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): path.read_text()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not path.name.endswith(".receipt.json") and not path.name.startswith(".")
    }


def test_a_path_of_the_disk_is_itself(tmp_path: Path) -> None:
    assert copy_of("raw", tmp_path) == tmp_path


def test_a_folder_is_copied_and_follows_the_store(store: Store, tmp_path: Path) -> None:
    for name in ("a.txt", "deep/b.txt", "deep/model.pt"):
        write_whole(store / "release" / name, f"first {name}")
    copy = copy_of("raw", store / "release", lambda name: not name.endswith(".pt"))
    assert copy == tmp_path / "cache/raw" / store.url.replace("://", "/") / "release"
    assert files(copy) == {"a.txt": "first a.txt", "deep/b.txt": "first deep/b.txt"}
    write_whole(store / "release" / "a.txt", "other a.txt")
    (store / "release" / "deep" / "b.txt").unlink()
    assert files(copy_of("raw", store / "release")) == {
        "a.txt": "other a.txt",
        "deep/model.pt": "first deep/model.pt",
    }


def test_a_file_is_copied_once(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    file = store / "release.tar"
    write_whole(file, "content")
    copy = copy_of("raw", file)
    assert copy.read_text() == "content"
    receipt = read_receipt(copy)
    assert receipt is not None
    assert receipt.url == str(file)
    monkeypatch.setattr(Store, "get", lambda *_: pytest.fail("it was fetched again"))
    assert copy_of("raw", file) == copy


def test_a_file_replaced_while_it_is_fetched_is_not_taken(memory: Store) -> None:
    file = memory / "release.tar"
    write_whole(file, "content")
    get = Store.get

    def replacing(self: Store, target: Path) -> None:
        get(self, target)
        write_whole(self, "another")

    (wanted,) = wanted_of("raw", file)
    wanted.target.parent.mkdir(parents=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Store, "get", replacing)
        with pytest.raises(ObjbenchError, match=r"release\.tar: .*it was replaced while it was fetched"):
            wanted.fetch()
    assert not wanted.target.exists()
    assert copy_of("raw", file).read_text() == "another"


def test_nothing_at_a_url_is_a_wrong_request(store: Store) -> None:
    with pytest.raises(RequestError, match="nothing: no such file or folder in this store"):
        copy_of("raw", store / "nothing")


@pytest.mark.parametrize("name", ["../../evil.txt", "a/../../../evil.txt", "a//b.txt", "./b.txt", "a\\b.txt"])
def test_a_name_that_leads_out_of_the_folder_is_refused(memory: Store, tmp_path: Path, name: str) -> None:
    found = {"a.txt": (1, "1"), name: (4, "1")}

    class Bucket(Store):
        def files(self) -> dict[str, tuple[int, str | None]]:
            return dict(found)

    with pytest.raises(ObjbenchError, match="which names no file in a folder; remove it there"):
        copy_of("raw", Bucket(memory.url + "/release"))
    assert not list(tmp_path.rglob("evil.txt"))


def test_receipts_of_a_download_are_not_copied(store: Store) -> None:
    write_whole(store / "release" / "a.txt", "first")
    write_whole(store / "release" / "a.txt.receipt.json", "{}")
    copy = copy_of("raw", store / "release")
    assert files(copy) == {"a.txt": "first"}
    assert read_receipt(copy / "a.txt") is not None
    assert all(file.is_there for file in wanted_of("raw", store / "release"))
