"""Downloads that break off, are stopped, or meet another file when they go on."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from helpers.downloads import CONTENT, PROBE, SHA256, interrupted, names, offer
from helpers.server import Fault, Served, Server

from objbench.data.download import Remote, fetch, file, transfer
from objbench.errors import ObjbenchError
from objbench.locks import exclusive_lock


def test_a_dropped_connection_goes_on_where_it_stood(
    server: Server, tmp_path: Path, pauses: list[float]
) -> None:
    remote = offer(server, faults=[None, Fault(drop_after=40_000), Fault(drop_after=30_000)])
    fetch([remote], tmp_path, connections=1)
    assert (tmp_path / "scenes.h5").read_bytes() == CONTENT
    assert server.sent == len(CONTENT) + PROBE
    assert [request.range for request in server.log[1:4]] == [
        "bytes=0-99999",
        "bytes=40000-99999",
        "bytes=70000-99999",
    ]
    assert {request.if_range for request in server.log[1:]} == {'"1"'}
    assert len(pauses) == 2


def test_a_server_that_always_drops_is_used_as_long_as_anything_comes(server: Server, tmp_path: Path) -> None:
    remote = offer(server, always=Fault(drop_after=7_000))
    fetch([remote], tmp_path)
    assert (tmp_path / "scenes.h5").read_bytes() == CONTENT
    assert server.sent == len(CONTENT) + PROBE


CHILD = """
import sys
from pathlib import Path
from objbench.data.download import Remote, fetch, transfer
transfer.SAVE_SECONDS = 0.01
fetch([Remote(name="scenes.h5", urls=(sys.argv[1],))], Path(sys.argv[2]), connections=2, say=print)
"""


def start(remote: Remote, folder: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", CHILD, remote.urls[0], str(folder)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def wait_until_sent(server: Server, count: int) -> None:
    until = time.monotonic() + 20
    while server.sent < count and time.monotonic() < until:
        time.sleep(0.005)


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM], ids=lambda how: how.name)
def test_a_stopped_process_loses_next_to_nothing(
    server: Server, tmp_path: Path, how: signal.Signals, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transfer, "SMALLEST_PIECE", 8 << 20)
    content = CONTENT * 10
    remote = offer(
        server, content, rate=3e5
    )  # a busy machine may keep the other process from its notes for a second
    with start(remote, tmp_path) as process:
        wait_until_sent(server, 600_000)
        process.send_signal(how)
        process.communicate()
    assert process.returncode != 0
    assert not (tmp_path / "scenes.h5").exists()
    server.files["/scenes.h5"].rate = None
    said: list[str] = []
    fetch([remote], tmp_path, say=said.append)
    assert (tmp_path / "scenes.h5").read_bytes() == content
    assert (
        server.sent < len(content) + 300_000
    )  # what was on its way or not yet noted when the process stopped
    assert any(line.startswith(f"{tmp_path}/scenes.h5: going on, ") for line in said)


def test_of_two_processes_one_downloads(server: Server, tmp_path: Path) -> None:
    remote = offer(server, rate=3e5)
    with start(remote, tmp_path) as first, start(remote, tmp_path) as second:
        errors = [process.communicate()[1] for process in (first, second)]
    assert sorted([first.returncode, second.returncode]) == [0, 1]
    assert any(f"{tmp_path}/scenes.h5: another process is downloading it" in error for error in errors)
    assert server.sent <= len(CONTENT) + 2 * PROBE


def test_a_file_that_another_process_downloads_is_left_alone(server: Server, tmp_path: Path) -> None:
    remote = offer(server)
    with (
        exclusive_lock(tmp_path / ".scenes.h5.lock", ""),
        pytest.raises(ObjbenchError, match="h5: another process is downloading it; wait for it or stop it"),
    ):
        fetch([remote], tmp_path)
    assert names(tmp_path) == set()


def test_a_file_that_another_process_has_just_finished_is_taken(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    remote = offer(server)

    @contextmanager
    def late(lock: Path, occupied: str) -> Iterator[None]:
        monkeypatch.setattr(file, "exclusive_lock", exclusive_lock)
        fetch([remote], tmp_path)
        yield

    monkeypatch.setattr(file, "exclusive_lock", late)
    fetch([remote], tmp_path)
    assert server.sent == len(CONTENT) + 2 * PROBE


def test_a_broken_off_download_goes_on_with_the_next_call(server: Server, tmp_path: Path) -> None:
    remote = offer(server)
    there = interrupted(remote, server, tmp_path)
    said: list[str] = []
    fetch([remote], tmp_path, say=said.append)
    assert server.sent == len(CONTENT) - there + PROBE
    assert said[1:] == [f"{tmp_path}/scenes.h5: going on, 0.1 MB of 0.3 MB are there"]


@pytest.mark.parametrize("ranges", [True, False])
def test_a_download_stopped_while_it_is_checked_is_not_fetched_again(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ranges: bool
) -> None:
    remote = offer(server, ranges=ranges)

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(file, "checksums", stop)
        with pytest.raises(KeyboardInterrupt):
            fetch([remote], tmp_path)
    server.log.clear()
    fetch([remote], tmp_path)
    assert (tmp_path / "scenes.h5").read_bytes() == CONTENT
    assert len(server.log) == 1  # the question whether it has changed


def test_the_state_of_a_partial_file_keeps_its_form(server: Server, tmp_path: Path) -> None:
    remote = offer(server, etag='"1"')
    there = interrupted(remote, server, tmp_path)
    state = json.loads((tmp_path / "scenes.h5.partial.json").read_text())
    date = state["extent"]["offer"].pop("last_modified")
    assert date is None or date.endswith("GMT")
    assert state == {
        "extent": {
            "offer": {"url": remote.urls[0], "size": 300_000, "etag": '"1"', "ranges": True},
            "start": 0,
            "length": 300_000,
        },
        "received": [[0, there]],
    }


def test_a_state_that_is_damaged_is_not_trusted(server: Server, tmp_path: Path) -> None:
    remote = offer(server)
    interrupted(remote, server, tmp_path)
    (tmp_path / "scenes.h5.partial.json").write_text('{"extent"')
    fetch([remote], tmp_path)
    assert (tmp_path / "scenes.h5").read_bytes() == CONTENT
    assert server.sent == len(CONTENT) + PROBE


@pytest.mark.parametrize("etag", ['"2"', 'W/"2"', None])
def test_a_file_that_has_changed_meanwhile_starts_over(
    server: Server, tmp_path: Path, etag: str | None
) -> None:
    remote = offer(server, etag=None if etag is None else '"1"')
    interrupted(remote, server, tmp_path)
    other = CONTENT[::-1]
    server.files["/scenes.h5"] = Served(other, etag=etag, last_modified="Mon, 05 Dec 2022 10:00:00 GMT")
    said: list[str] = []
    fetch([remote], tmp_path, say=said.append)
    assert (tmp_path / "scenes.h5").read_bytes() == other
    assert "scenes.h5: starting over: the file on the server has changed: it" in said[1]


def test_a_file_that_changes_during_the_download_starts_over(server: Server, tmp_path: Path) -> None:
    remote = offer(server, faults=[None, None, Fault(etag='"2"')])
    said: list[str] = []
    fetch([remote], tmp_path, connections=1, say=said.append)
    assert (tmp_path / "scenes.h5").read_bytes() == CONTENT
    assert said[1:] == [
        f'{tmp_path}/scenes.h5: the file on the server has changed: its tag is "2" now, "1" before; starting over'
    ]


def test_a_file_that_never_stops_changing_is_given_up(server: Server, tmp_path: Path) -> None:
    faults = [Fault(etag=f'"{number}"') for number in range(100)]
    remote = offer(server, faults=faults)
    with pytest.raises(ObjbenchError, match=r"keeps changing while it is downloaded \(3 attempts\)"):
        fetch([remote], tmp_path)


def test_a_weak_tag_is_not_used_as_a_condition(server: Server, tmp_path: Path) -> None:
    remote = offer(server, etag='W/"1"')
    fetch([remote], tmp_path)
    assert {request.if_range for request in server.log[1:]} == {"Sun, 04 Dec 2022 10:00:00 GMT"}


def test_a_server_without_ranges_says_that_it_starts_over(server: Server, tmp_path: Path) -> None:
    remote = offer(server)
    interrupted(remote, server, tmp_path)
    server.files["/scenes.h5"].ranges = False
    said: list[str] = []
    fetch([remote], tmp_path, say=said.append)
    assert (tmp_path / "scenes.h5").read_bytes() == CONTENT
    assert said[1] == f"{tmp_path}/scenes.h5: starting over: the server cannot go on in the middle"


@pytest.mark.parametrize("sha256", [SHA256, None])
def test_a_mirror_goes_on_where_a_checksum_will_tell(
    server: Server, tmp_path: Path, sha256: str | None
) -> None:
    first = offer(server)
    there = interrupted(first, server, tmp_path)
    server.files["/scenes.h5"].always = Fault(404)
    mirror = offer(server, path="/mirror.h5", etag='"of the mirror"')
    said: list[str] = []
    fetch(
        [Remote(name="scenes.h5", urls=(*first.urls, *mirror.urls), sha256=sha256)], tmp_path, say=said.append
    )
    assert (tmp_path / "scenes.h5").read_bytes() == CONTENT
    assert server.sent == PROBE + len(CONTENT) - (there if sha256 else 0)
    assert ("starting over: it was begun from another address" in said[1]) is (sha256 is None)
