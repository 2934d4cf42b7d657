"""Downloads as they should go: what arrives, what is announced, what is checked."""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
from http.client import HTTPResponse
from pathlib import Path

import pytest
from helpers.downloads import CONTENT, PROBE, SHA256, interrupted, names, offer
from helpers.server import Served, Server

from objbench.data.download import Remote, fetch, read_receipt, status, transfer
from objbench.errors import ObjbenchError


def test_a_file_arrives_with_its_receipt(server: Server, tmp_path: Path) -> None:
    remote = offer(server)
    assert fetch([remote], tmp_path / "deep/folder") == [tmp_path / "deep/folder/scenes.h5"]
    path = tmp_path / "deep/folder/scenes.h5"
    assert path.read_bytes() == CONTENT
    assert names(path.parent) == {"scenes.h5", "scenes.h5.receipt.json"}
    receipt = read_receipt(path)
    assert receipt is not None
    assert receipt.model_dump(exclude={"mtime_ns", "date"}) == {
        "url": server.url("/scenes.h5"),
        "member": None,
        "etag": '"1"',
        "last_modified": "Sun, 04 Dec 2022 10:00:00 GMT",
        "bytes": len(CONTENT),
        "sha256": SHA256,
        "checked": [],
    }


def test_a_finished_file_costs_no_request(server: Server, tmp_path: Path) -> None:
    remote = offer(server)
    fetch([remote], tmp_path)
    server.log.clear()
    assert fetch([remote], tmp_path) == [tmp_path / "scenes.h5"]
    assert server.log == []


def test_pieces_come_over_several_connections_and_none_comes_twice(server: Server, tmp_path: Path) -> None:
    remote = offer(server, rate=5e5)
    fetch([remote], tmp_path, connections=3)
    assert (tmp_path / "scenes.h5").read_bytes() == CONTENT
    assert server.busiest == 3
    assert sorted(request.range or "" for request in server.log) == [
        "bytes=0-0",
        "bytes=0-99999",
        "bytes=100000-199999",
        "bytes=200000-299999",
    ]


def test_the_status_tells_what_is_there_and_writes_nothing(server: Server, tmp_path: Path) -> None:
    begun = offer(server)
    interrupted(begun, server, tmp_path)
    here = offer(server, b"x" * 50, path="/here.h5")
    here = Remote(name="here.h5", urls=here.urls)
    fetch([here], tmp_path)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    gone = Remote(name="gone.h5", urls=(server.url("/gone.h5"),), bytes=1000)
    found = status([here, begun, gone], tmp_path)
    assert [(item.name, item.status, item.bytes, item.received) for item in found.items] == [
        ("here.h5", "here", 50, 50),
        ("scenes.h5", "begun", 300_000, 60_000),
        ("gone.h5", "missing", 1000, 0),
    ]
    assert found.items[1].problem is None
    assert found.items[2].problem == f"{server.url('/gone.h5')}: answered 404 Not Found"
    assert 1000 + 230_000 <= found.needed <= 1000 + 240_000
    assert found.free == pytest.approx(shutil.disk_usage(tmp_path).free, rel=0.1)
    assert {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()} == before


def test_a_release_of_several_files_is_announced(server: Server, tmp_path: Path) -> None:
    one, two = offer(server, path="/1"), offer(server, path="/2")
    remotes = [Remote(name="one.tar.gz", urls=one.urls), Remote(name="two.tar.gz", urls=two.urls)]
    said: list[str] = []
    paths = fetch(remotes, tmp_path, say=said.append)
    assert [path.read_bytes() for path in paths] == [CONTENT, CONTENT]
    assert said[0].startswith(
        f"downloading 2 files, 0.6 MB, from 127.0.0.1:{server.port} to {tmp_path}, where "
    )
    assert said[0].endswith(" MB are free")


@pytest.mark.parametrize(
    ("name", "url", "message"),
    [
        ("../x.h5", "https://a.example/x", "'../x.h5' is not a plain file name"),
        (".x", "https://a.example/x", "'.x' is not a plain file name"),
        ("x.h5", "file:///etc/passwd", "'file:///etc/passwd' is neither http nor https"),
    ],
)
def test_an_unsafe_declaration_is_refused(name: str, url: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Remote(name=name, urls=(url,))


@pytest.mark.parametrize("kind", ["sha256", "md5"])
def test_a_published_checksum_is_checked(server: Server, tmp_path: Path, kind: str) -> None:
    good = offer(server)
    published = {kind: hashlib.new(kind, CONTENT).hexdigest().upper()}
    server.files["/bad.h5"] = Served(CONTENT[:-1] + b"!")
    said: list[str] = []
    remote = Remote(name=good.name, urls=(server.url("/bad.h5"), *good.urls), **published)  # type: ignore[arg-type]
    fetch([remote], tmp_path, say=said.append)
    receipt = read_receipt(tmp_path / "scenes.h5")
    assert receipt is not None
    assert receipt.checked == [kind]
    assert receipt.url == good.urls[0]
    assert f"/bad.h5: what it gave is damaged, or not the file that was published: its {kind} is " in said[1]
    assert said[1].endswith(f"published is {published[kind].lower()}; trying the next address")
    assert fetch([remote], tmp_path) == [tmp_path / "scenes.h5"]


def test_nothing_is_left_of_a_damaged_file(server: Server, tmp_path: Path) -> None:
    remote = offer(server)
    with pytest.raises(
        ObjbenchError,
        match=f"what it gave is damaged, or not the file that was published: its sha256 is {SHA256}, published is 0",
    ):
        fetch([Remote(name=remote.name, urls=remote.urls, sha256="0" * 64)], tmp_path)
    assert names(tmp_path) == set()


def test_a_touched_file_is_checked_again(server: Server, tmp_path: Path) -> None:
    remote = offer(server)
    (path,) = fetch([remote], tmp_path)
    os.utime(path, (0, 0))
    said: list[str] = []
    server.log.clear()
    assert fetch([remote], tmp_path, say=said.append) == [path]
    assert said == [f"{path}: checking it again"]
    said.clear()
    fetch([remote], tmp_path, say=said.append)
    assert said == []
    assert server.log == []


def test_a_file_that_was_changed_after_its_download_is_refused(server: Server, tmp_path: Path) -> None:
    remote = offer(server)
    (path,) = fetch([remote], tmp_path)
    path.write_bytes(CONTENT[::-1])
    with pytest.raises(
        ObjbenchError, match=r"not the file that belongs here: its sha256 is .* Delete it and scenes"
    ):
        fetch([remote], tmp_path)
    path.write_bytes(CONTENT[:1000])
    with pytest.raises(ObjbenchError, match="it has 1,000 bytes, 300,000 are expected"):
        fetch([remote], tmp_path)


def test_a_file_put_there_by_hand_is_taken_if_it_is_the_right_one(tmp_path: Path) -> None:
    remote = Remote(name="scenes.h5", urls=("http://127.0.0.1:9/scenes.h5",), sha256=SHA256)
    (tmp_path / "scenes.h5").write_bytes(CONTENT)
    assert fetch([remote], tmp_path) == [tmp_path / "scenes.h5"]
    receipt = read_receipt(tmp_path / "scenes.h5")
    assert receipt is not None
    assert (receipt.url, receipt.sha256, receipt.checked) == (None, SHA256, ["sha256"])


def test_too_little_space_is_said_before_it_starts(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    remote = offer(server)
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=200_000))
    with pytest.raises(
        ObjbenchError, match=r"/new/scenes.h5: the download still needs 0\.3 MB, only 0\.2 MB are free"
    ):
        fetch([remote], tmp_path / "new")
    assert server.sent == PROBE
    assert not (tmp_path / "new").exists()


def test_an_address_that_tells_of_another_size_later_is_given_up(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Room was made for what the first address said; one of exabytes is not cut into pieces."""
    usage = shutil.disk_usage(tmp_path)
    room = iter([10**6, 10**6])  # for the check before it starts, and what is told of it
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=next(room, 1000)))
    with pytest.raises(ObjbenchError, match=r"it still needs 0\.3 MB, only 0\.0 MB are free"):
        fetch([offer(server)], tmp_path)
    assert server.sent == PROBE
    assert names(tmp_path) == set()


def test_what_has_arrived_needs_no_more_space(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    remote = offer(server)
    interrupted(remote, server, tmp_path)
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=250_000))
    fetch([remote], tmp_path)
    assert (tmp_path / "scenes.h5").read_bytes() == CONTENT


def test_a_disk_that_fills_up_is_a_plain_error_and_what_arrived_stays(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    remote = offer(server)
    receive, arrived = transfer.receive, [0]

    def receive_until_full(response: HTTPResponse, most: int) -> bytes:
        if arrived[0] > 50_000:
            raise OSError(errno.ENOSPC, "No space left on device")
        data = receive(response, min(most, 10_000))
        arrived[0] += len(data)
        return data

    with monkeypatch.context() as patch:
        patch.setattr(transfer, "receive", receive_until_full)
        with pytest.raises(ObjbenchError, match="No space left on device; free some space"):
            fetch([remote], tmp_path, connections=1)
    assert transfer.Partial(tmp_path / "scenes.h5").received == arrived[0]
    fetch([remote], tmp_path)
    assert (tmp_path / "scenes.h5").read_bytes() == CONTENT


def test_a_note_that_cannot_be_written_is_a_plain_error(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    remote = offer(server)

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(ObjbenchError, match="No space left on device; free some space"):
            fetch([remote], tmp_path)
    fetch([remote], tmp_path)
    assert (tmp_path / "scenes.h5").read_bytes() == CONTENT
