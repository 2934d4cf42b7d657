"""Servers that lie, refuse, stall or point elsewhere."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
from helpers.downloads import CONTENT, PROBE, names, offer
from helpers.server import Fault, Served, Server, serving

from objbench.data.download import Remote, fetch, http, patience
from objbench.errors import ObjbenchError


def test_a_server_without_ranges_gives_the_file_in_one_go(server: Server, tmp_path: Path) -> None:
    remote = offer(server, ranges=False, faults=[None, Fault(drop_after=50_000)])
    fetch([remote], tmp_path)
    assert (tmp_path / "scenes.h5").read_bytes() == CONTENT
    assert [request.range for request in server.log[-2:]] == [None, None]


@pytest.mark.parametrize("fault", [Fault(whole=True), Fault(shift=10)], ids=["whole", "shifted"])
def test_a_wrong_answer_in_the_middle_is_asked_for_again(
    server: Server, tmp_path: Path, fault: Fault
) -> None:
    remote = offer(server, faults=[None, None, fault])
    fetch([remote], tmp_path, connections=1)
    assert (tmp_path / "scenes.h5").read_bytes() == CONTENT


@pytest.mark.parametrize(
    ("fault", "sent"), [(Fault(whole=True), "the whole file"), (Fault(shift=10), "bytes 10-100009")]
)
def test_an_address_that_stays_wrong_is_given_up(
    server: Server, tmp_path: Path, fault: Fault, sent: str
) -> None:
    remote = offer(server, faults=[None], always=fault)
    expected = rf"sent {sent} when asked for bytes 0-99999 \(6 attempts\)"
    with pytest.raises(ObjbenchError, match=expected):
        fetch([remote], tmp_path, connections=1)


def test_wrong_ranges_from_the_start_are_done_without(server: Server, tmp_path: Path) -> None:
    remote = offer(server, faults=[Fault(shift=5)])
    server.files["/scenes.h5"].always = Fault(shift=5)
    fetch([remote], tmp_path)
    assert (tmp_path / "scenes.h5").read_bytes() == CONTENT


def test_a_promised_length_that_never_comes(server: Server, tmp_path: Path) -> None:
    remote = offer(server, ranges=False, always=Fault(extra_length=1000))
    with pytest.raises(ObjbenchError, match=r"the connection ended before the file did \(6 attempts\)"):
        fetch([remote], tmp_path)
    assert not (tmp_path / "scenes.h5").exists()


def test_an_unknown_length_is_refused(server: Server, tmp_path: Path) -> None:
    remote = offer(server, ranges=False, length=False)
    with pytest.raises(ObjbenchError, match="does not say how long the file is"):
        fetch([remote], tmp_path)


def test_a_file_of_another_size_than_published_is_refused(server: Server, tmp_path: Path) -> None:
    remote = offer(server)
    remote = Remote(name=remote.name, urls=remote.urls, bytes=300_001)
    with pytest.raises(ObjbenchError, match="has 300,000 bytes for it, 300,001 are expected"):
        fetch([remote], tmp_path)
    assert server.sent == PROBE


def test_a_passing_error_of_the_server_is_waited_for(
    server: Server, tmp_path: Path, pauses: list[float]
) -> None:
    remote = offer(server, faults=[None, Fault(503), Fault(500), Fault(502)])
    fetch([remote], tmp_path, connections=1)
    assert (tmp_path / "scenes.h5").read_bytes() == CONTENT
    assert [low <= pause <= 2 * low for low, pause in zip([0.5, 1, 2], pauses, strict=True)] == [True] * 3


def test_a_server_is_given_the_time_it_asks_for(server: Server, tmp_path: Path, pauses: list[float]) -> None:
    faults = [
        Fault(429, (("Retry-After", "7"),)),
        Fault(503, (("Retry-After", "Wed, 21 Oct 2015 07:28:00 GMT"),)),
    ]
    remote = offer(server, faults=faults)
    fetch([remote], tmp_path)
    assert 7 <= pauses[0] <= 8
    assert 0 <= pauses[1] <= 1


def test_a_server_that_asks_for_too_much_time_is_given_up(server: Server, tmp_path: Path) -> None:
    remote = offer(server, always=Fault(429, (("Retry-After", "7200"),)))
    with pytest.raises(
        ObjbenchError, match="answered 429 Too Many Requests and asks to come back in 7,200 s"
    ):
        fetch([remote], tmp_path)


@pytest.mark.parametrize("status", [401, 403, 404, 410])
def test_a_final_refusal_leads_to_the_next_address_at_once(
    server: Server, tmp_path: Path, status: int, pauses: list[float]
) -> None:
    good = offer(server)
    server.files["/other.h5"] = Served(b"", always=Fault(status))
    fetch([Remote(name=good.name, urls=(server.url("/other.h5"), *good.urls))], tmp_path)
    assert (tmp_path / "scenes.h5").read_bytes() == CONTENT
    assert [request.status for request in server.log if request.path == "/other.h5"] == [status]
    assert pauses == []


def test_a_failure_of_all_addresses_names_them_and_the_remedies(server: Server, tmp_path: Path) -> None:
    server.files["/a.h5"] = Served(CONTENT, always=Fault(403))
    server.files["/b.h5"] = Served(CONTENT, always=Fault(500))
    remote = Remote(name="scenes.h5", urls=(server.url("/a.h5"), server.url("/b.h5"), server.url("/c.h5")))
    with pytest.raises(ObjbenchError) as caught:
        fetch([remote], tmp_path)
    assert str(caught.value) == (
        f"{tmp_path}/scenes.h5: could not be downloaded: {server.url('/a.h5')}: answered 403 Forbidden; "
        f"{server.url('/b.h5')}: answered 500 Internal Server Error (3 attempts); "
        f"{server.url('/c.h5')}: answered 404 Not Found. Try again later, or download it "
        "by other means and give it with --raw PATH, or use --source generated where the dataset has it"
    )


def test_a_web_page_is_not_a_dataset(server: Server, tmp_path: Path) -> None:
    remote = offer(server, b"<html>please log in</html>", content_type="text/html; charset=utf-8")
    with pytest.raises(ObjbenchError, match="answered with a web page, not with the file"):
        fetch([remote], tmp_path)
    assert names(tmp_path) == set()


def test_a_server_that_falls_silent(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "TIMEOUT", 0.1)
    release = threading.Event()
    remote = offer(server, faults=[None, Fault(stall=release)])
    fetch([remote], tmp_path, connections=1)
    release.set()
    assert (tmp_path / "scenes.h5").read_bytes() == CONTENT


def test_an_unreachable_server_is_given_up_soon(tmp_path: Path, pauses: list[float]) -> None:
    with serving() as gone:
        url = gone.url("/scenes.h5")
    with pytest.raises(ObjbenchError, match=r"/scenes.h5: connection refused \(3 attempts\)"):
        fetch([Remote(name="scenes.h5", urls=(url,))], tmp_path)
    assert len(pauses) == 2


def test_a_redirection_is_followed_with_the_range(server: Server, tmp_path: Path) -> None:
    remote = offer(server, path="/new.h5")
    server.files["/old.h5"] = Served(b"", always=Fault(302, (("Location", remote.urls[0]),)))
    fetch([Remote(name="scenes.h5", urls=(server.url("/old.h5"),))], tmp_path)
    assert (tmp_path / "scenes.h5").read_bytes() == CONTENT
    assert server.sent == len(CONTENT) + PROBE


def test_the_proxy_of_the_environment_is_used(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", server.url(""))
    offer(server, path="http://datasets.example/scenes.h5")
    fetch([Remote(name="scenes.h5", urls=("http://datasets.example/scenes.h5",))], tmp_path)
    assert (tmp_path / "scenes.h5").read_bytes() == CONTENT


@pytest.mark.parametrize("target", ["file:///etc/passwd", "ftp://127.0.0.1:9/x", "data:text/plain,hello"])
def test_redirections_lead_to_http_and_https_only(server: Server, tmp_path: Path, target: str) -> None:
    remote = offer(server, always=Fault(302, (("Location", target),)))
    with pytest.raises(ObjbenchError, match=f"redirects to {target}: not an http or https address"):
        fetch([remote], tmp_path)
    assert names(tmp_path) == set()


@pytest.mark.parametrize("header", ["Content-Encoding", "Transfer-Encoding"])
def test_an_encoding_that_was_not_asked_for_is_refused(server: Server, tmp_path: Path, header: str) -> None:
    remote = offer(server, always=Fault(headers=((header, "gzip"),)))
    with pytest.raises(ObjbenchError, match=f"sent the file with {header} gzip, which was not asked for"):
        fetch([remote], tmp_path)
    assert names(tmp_path) == set()


@pytest.mark.parametrize("ranges", [True, False])
def test_an_empty_file_is_refused(server: Server, tmp_path: Path, ranges: bool) -> None:
    remote = offer(server, b"", ranges=ranges)
    with pytest.raises(ObjbenchError, match="sent an empty file"):
        fetch([remote], tmp_path)
    assert names(tmp_path) == set()


def test_an_empty_file_put_there_by_hand_is_refused(server: Server, tmp_path: Path) -> None:
    (tmp_path / "scenes.h5").touch()
    with pytest.raises(ObjbenchError, match="not the file that belongs here: it is empty"):
        fetch([offer(server)], tmp_path)


HUGE = "9" * 5000
LYING_HEADERS = {
    "bad location": (Fault(302, (("Location", "http://[::1/x"),)), r"redirects to http://\[::1/x: not an"),
    "bad port": (Fault(302, (("Location", "http://127.0.0.1:99999999/x"),)), "99999999/x: not an http or"),
    "no location": (Fault(302), "answered 302 Found"),
    "loop": (Fault(302, (("Location", "/scenes.h5"),)), "answered 302 .* infinite loop"),
    "escape in location": (Fault(302, (("Location", "/\x1b[31m"),)), r"answered 404 Not Found|not HTTP"),
    "huge length": (
        Fault(whole=True, headers=(("Content-Length", HUGE),)),
        "does not say how long the file is",
    ),
    "negative length": (Fault(whole=True, headers=(("Content-Length", "-5"),)), "does not say how long"),
    "wait of many digits": (Fault(429, (("Retry-After", HUGE),)), "asks to come back in inf s"),
    "wait of no date": (Fault(429, (("Retry-After", "Fri, 31 Dec 9999 23:59:59 -9999"),)), "429 Too Many"),
}


@pytest.mark.parametrize(("fault", "message"), LYING_HEADERS.values(), ids=LYING_HEADERS)
def test_no_header_breaks_a_download(server: Server, tmp_path: Path, fault: Fault, message: str) -> None:
    remote = offer(server, always=fault)
    with pytest.raises(ObjbenchError, match=message) as caught:
        fetch([remote], tmp_path)
    assert str(caught.value).isprintable()


@pytest.mark.parametrize(
    "etag", ['"a\r\n b"', '"\x1b[31m"', '"' + "a" * 5000 + '"'], ids=["folded", "escape", "long"]
)
def test_a_tag_that_cannot_be_sent_back_is_not_used(server: Server, tmp_path: Path, etag: str) -> None:
    remote = offer(server, etag=etag, last_modified=None)
    fetch([remote], tmp_path)
    assert (tmp_path / "scenes.h5").read_bytes() == CONTENT
    assert {request.if_range for request in server.log} == {None}


def test_headers_that_do_not_end_lead_to_the_next_address(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(patience, "ANSWER_SECONDS", 0.3)
    good = offer(server)
    server.files["/slow.h5"] = Served(CONTENT, always=Fault(drip=0.02))
    remote = Remote(name="scenes.h5", urls=(server.url("/slow.h5"), *good.urls))
    assert fetch([remote], tmp_path)[0].read_bytes() == CONTENT
    server.files["/scenes.h5"].always = Fault(404)
    with pytest.raises(ObjbenchError, match=r"did not finish its answer within 0 s \(3 attempts\)"):
        fetch([Remote(name="other.h5", urls=remote.urls)], tmp_path)


@pytest.mark.parametrize("fault", [Fault(), Fault(drop_after=1)], ids=["slow", "a byte per request"])
def test_a_body_that_drips_leads_to_the_next_address(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: Fault
) -> None:
    monkeypatch.setattr(patience, "RATE_SECONDS", 0.5)
    monkeypatch.setattr(patience, "LEAST_RATE", 1e6)
    good = offer(server)
    slow = Served(CONTENT, rate=1e5, faults=[None], always=fault)
    server.files["/slow.h5"] = slow
    said: list[str] = []
    remote = Remote(name="scenes.h5", urls=(server.url("/slow.h5"), *good.urls))
    assert fetch([remote], tmp_path, connections=1, say=said.append)[0].read_bytes() == CONTENT
    assert any("too slow: " in line and line.endswith("; trying the next address") for line in said)


def test_the_time_that_a_server_asks_for_is_not_slowness(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [0.0]
    monkeypatch.setattr(patience.time, "monotonic", lambda: clock[0])
    watch = patience.RateWatch()
    watch.excuse(patience.TransientError("busy", 200.0))
    clock[0] = 499.0
    watch.check(0)
    clock[0] = 501.0
    with pytest.raises(patience.PermanentError, match="too slow: 0 bytes came in 501 s"):
        watch.check(0)
    watch.check(300_000)
    clock[0] = 802.0
    with pytest.raises(patience.PermanentError, match="too slow: 299,999 bytes came in 301 s"):
        watch.check(599_999)


def test_a_range_of_many_digits_is_done_without(server: Server, tmp_path: Path) -> None:
    remote = offer(server, faults=[Fault(headers=(("Content-Range", f"bytes 0-0/{HUGE}"),))])
    fetch([remote], tmp_path)
    assert (tmp_path / "scenes.h5").read_bytes() == CONTENT
