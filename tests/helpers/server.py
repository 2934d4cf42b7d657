"""A web server that misbehaves as told, and keeps account of every byte that it sends."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

BLOCK = 16 << 10


@dataclass
class Served:
    """A file on the server, and its habits."""

    content: bytes
    etag: str | None = '"1"'
    last_modified: str | None = "Sun, 04 Dec 2022 10:00:00 GMT"
    content_type: str = "application/octet-stream"
    ranges: bool = True
    length: bool = True  # whether an answer says how long it is
    rate: float | None = None  # bytes per second, of each connection
    faults: list[Fault | None] = field(default_factory=list)  # of the coming requests; None: a good one
    always: Fault | None = None  # of every request after those


@dataclass(frozen=True)
class Fault:
    """How an answer goes wrong."""

    status: int | None = None
    headers: tuple[tuple[str, str], ...] = ()  # besides the usual ones, or in place of them
    drip: float | None = None  # seconds between the bytes of the headers
    drop_after: int | None = None  # bytes of the body
    whole: bool = False  # 200 and everything, whatever was asked for
    shift: int = 0  # of the Content-Range against what was asked for
    extra_length: int = 0  # promised, but never sent
    stall: threading.Event | None = None  # waits for this before the body
    etag: str | None = None  # from now on, the file has this tag


@dataclass
class Request:
    """A request and what comes of it; `sent` grows as the body is written."""

    path: str
    range: str | None
    if_range: str | None
    status: int
    sent: int


class Server:
    """`files` by path; `log`: the requests so far; `busiest`: the most that ever ran at the same time."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.files: dict[str, Served] = {}
        self.log: list[Request] = []
        self.lock = threading.Lock()
        self.busy = self.busiest = 0

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.port}{path}"

    @property
    def sent(self) -> int:
        """Bytes of all bodies so far."""
        return sum(request.sent for request in list(self.log))


@contextmanager
def serving() -> Iterator[Server]:
    """A server on a free port of this machine."""

    class Handler(_Handler):
        server_state: Server

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    http.daemon_threads = True
    http.block_on_close = False
    Handler.server_state = Server(http.server_address[1])
    thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield Handler.server_state
    finally:
        http.shutdown()
        http.server_close()
        thread.join()


class _Handler(BaseHTTPRequestHandler):
    server_state: Server

    def do_GET(self) -> None:
        state = self.server_state
        with state.lock:
            state.busy += 1
            state.busiest = max(state.busiest, state.busy)
            served = state.files.get(self.path)
            fault = None if served is None else served.faults.pop(0) if served.faults else served.always
            if served is not None and fault is not None and fault.etag:
                served.etag = fault.etag
        try:
            if served is None:
                self._plain(404)
            else:
                self._answer(served, fault or Fault())
        except OSError:
            pass  # the client has hung up
        finally:
            self.close_connection = True
            with state.lock:
                state.busy -= 1

    def _answer(self, served: Served, fault: Fault) -> None:
        if fault.status is not None:
            self._plain(fault.status, fault.headers)
            return
        start, stop = 0, len(served.content)
        part = self._part(served, fault)
        if part is not None:
            start, stop = part[0], min(part[1] + 1, len(served.content))
        request = self._logged(200 if part is None else 206)
        first = start + fault.shift
        headers = {
            "Content-Type": served.content_type,
            "Content-Length": str(stop - start + fault.extra_length) if served.length else None,
            "Content-Range": f"bytes {first}-{first + stop - start - 1}/{len(served.content)}"
            if part
            else None,
            "ETag": served.etag,
            "Last-Modified": served.last_modified,
            **dict(fault.headers),
        }
        self.send_response(request.status)
        for name, value in headers.items():
            if value is not None:
                self.send_header(name, value)
        if fault.drip is not None:
            self._drip(fault.drip)
        self.end_headers()
        if fault.stall is not None:
            fault.stall.wait(10)
        end = stop if fault.drop_after is None else min(stop, start + fault.drop_after)
        self._send(served, start, end, request)

    def _drip(self, seconds: float) -> None:
        """Send a header that does not end, byte by byte."""
        self.flush_headers()
        for byte in b"X-Slow: " + 1000 * b"y":
            self.wfile.write(bytes([byte]))
            time.sleep(seconds)

    def _part(self, served: Served, fault: Fault) -> tuple[int, int] | None:
        wanted = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range", ""))
        condition = self.headers.get("If-Range")
        met = condition is None or condition in (served.etag, served.last_modified)
        if wanted is None or not served.ranges or fault.whole or not met:
            return None
        return int(wanted[1]), int(wanted[2])

    def _send(self, served: Served, start: int, end: int, request: Request) -> None:
        for at in range(start, end, BLOCK):
            step = min(BLOCK, end - at)
            if served.rate:
                time.sleep(step / served.rate)
            request.sent += step  # before the client can have it
            try:
                self.wfile.write(served.content[at : at + step])
            except OSError:
                request.sent -= step
                raise

    def _plain(self, status: int, headers: tuple[tuple[str, str], ...] = ()) -> None:
        self._logged(status)
        self.send_response(status)
        for name, value in headers:
            self.send_header(name, value)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def _logged(self, status: int) -> Request:
        request = Request(self.path, self.headers.get("Range"), self.headers.get("If-Range"), status, 0)
        self.server_state.log.append(request)
        return request

    def log_message(self, format: str, *arguments: object) -> None:
        pass
