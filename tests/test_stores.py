"""Object stores: whole files, exclusive creates, and refusals in one line."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from helpers import stores

from objbench.errors import ObjbenchError, RequestError
from objbench.stores import Store, move_whole, place, remove_tree, write_whole


@pytest.fixture(params=["memory", "s3"])
def store(request: pytest.FixtureRequest) -> Store:
    found: Store = request.getfixturevalue(request.param)
    return found


def test_a_store_is_read_and_written_like_a_folder(store: Store, tmp_path: Path) -> None:
    file = tmp_path / "shard"
    file.write_bytes(b"0123456789" * 1000)
    target = store / "toy" / "toy" / "train-000000.tar"
    assert not target.is_file()
    assert list(store.glob("*/*/manifest.json")) == []
    move_whole(file, target)
    assert not file.exists()
    write_whole(store / "toy" / "toy" / "manifest.json", "{}")
    assert target.read_bytes() == b"0123456789" * 1000
    with target.open() as opened:
        opened.seek(9995)
        assert opened.read(3) == b"567"
    assert {name: facts.bytes for name, facts in store.files().items()} == {
        "toy/toy/manifest.json": 2,
        "toy/toy/train-000000.tar": 10_000,
    }
    assert [str(found) for found in store.glob("toy/*/manifest.json")] == [f"{store}/toy/toy/manifest.json"]
    target.get(tmp_path / "copy")
    assert (tmp_path / "copy").read_bytes() == b"0123456789" * 1000
    remove_tree(store / "toy")
    remove_tree(store / "toy")
    assert store.files() == {}


def test_a_file_is_created_once(store: Store) -> None:
    entry = store / "entry.json"
    entry.create(b"first")
    with pytest.raises(FileExistsError):
        entry.create(b"second")
    assert entry.read_bytes() == b"first"


def test_the_version_of_a_file_tells_its_contents_apart(store: Store) -> None:
    entry = store / "entry"
    entry.write_bytes(b"one")
    first = entry.facts()
    assert first is not None
    assert first == entry.facts() == store.files()["entry"]
    entry.write_bytes(b"two")
    assert entry.facts() != first
    assert first.bytes == 3


def test_what_is_missing_is_missing(store: Store, tmp_path: Path) -> None:
    missing = store / "nothing"
    write_whole(store / "something", "")
    with pytest.raises(FileNotFoundError):
        missing.read_bytes()
    with pytest.raises(FileNotFoundError):
        missing.get(tmp_path / "copy")
    missing.unlink(missing_ok=True)
    assert missing.facts() is None


def test_urls_are_told_from_paths() -> None:
    assert place("gs://bucket/sets") == Store("gs://bucket/sets")
    assert place("file:///data/sets") == Path("/data/sets")
    assert place("data/sets") == place(Path("data/sets")) == Path("data/sets")


def test_a_bucket_that_does_not_exist_is_said_whatever_is_asked(
    s3_server: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    stores.use(monkeypatch, s3_server)
    missing = Store("s3://no-such-bucket/sets")
    (tmp_path / "file").write_bytes(b"content")
    for ask in (
        missing.read_bytes,
        missing.files,
        missing.facts,
        lambda: list(missing.glob("*/manifest.json")),
        lambda: missing.create(b"entry"),
        lambda: missing.put(tmp_path / "file"),
    ):
        with pytest.raises(RequestError, match="there is no bucket s3://no-such-bucket; correct its name"):
            ask()


def test_without_credentials_the_variables_are_named(
    s3_server: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    stores.use(monkeypatch, s3_server)
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    with pytest.raises(RequestError, match=r"no credentials for this store.*AWS_ACCESS_KEY_ID"):
        list(Store("s3://bucket/sets").glob("*"))


def test_a_store_that_does_not_answer_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    stores.use(monkeypatch, "http://127.0.0.1:9")
    with pytest.raises(RequestError, match=r"the store does not answer.*AWS_ENDPOINT_URL"):
        Store("s3://bucket/sets/manifest.json").read_bytes()


def test_a_store_that_fails_later_is_no_wrong_request(s3: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    write_whole(s3 / "entry", "there")
    answered = {s3.bucket}
    stores.use(monkeypatch, "http://127.0.0.1:9")
    monkeypatch.setattr("objbench.stores._answered", answered)
    with pytest.raises(ObjbenchError, match="does not answer") as caught:
        (s3 / "entry").read_bytes()
    assert caught.value.exit_code == 1


def test_an_unknown_protocol_is_refused() -> None:
    with pytest.raises(RequestError, match="nope://bucket: fsspec knows no protocol 'nope'; expected s3://"):
        Store("nope://bucket").files()


@pytest.mark.parametrize(
    ("module", "url", "remedy"),
    [
        ("fsspec.core", "s3://bucket", "URLs need the package fsspec: pip install 'objbench[stores]'"),
        ("s3fs", "s3://bucket", "needs another package: pip install 'objbench[stores]'"),
        ("gcsfs", "gs://bucket", "needs another package: pip install gcsfs"),
    ],
)
def test_a_missing_package_is_named(
    monkeypatch: pytest.MonkeyPatch, module: str, url: str, remedy: str
) -> None:
    from fsspec.registry import _registry

    monkeypatch.setitem(sys.modules, module, None)
    for protocol in ("s3", "gs"):
        monkeypatch.delitem(_registry, protocol, raising=False)
    with pytest.raises(RequestError) as caught:
        Store(url).files()
    assert str(caught.value).startswith(f"{url}: ")
    assert str(caught.value).endswith(remedy)
