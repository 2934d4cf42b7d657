"""A web server on 127.0.0.1 that lies: an answer that is right, and what is done to it before it is sent."""

from __future__ import annotations

import gzip
import re
import socketserver
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from random import Random

from fuzzing.mutations import damage_bytes

PATH = "/scenes.h5"
STEP = 0.02  # seconds between the pieces of a slow answer
_LAST = 120.0  # seconds after which the slowest answer ends


@dataclass(frozen=True)
class Answer:
    """What is sent.

    Attributes:
        slow: How many bytes at a time, None for all at once.
        silent: Seconds of silence before the last byte.
    """

    status: str
    headers: dict[str, str]
    body: bytes
    slow: int | None = None
    silent: float = 0.0

    def head(self) -> bytes:
        """The status line and the headers."""
        lines = [f"HTTP/1.1 {self.status}", *(f"{name}: {value}" for name, value in self.headers.items())]
        return "\r\n".join([*lines, "Connection: close", "", ""]).encode("latin-1")

    def having(self, **headers: str | None) -> Answer:
        """The same answer with other headers; None removes one."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        kept = {**self.headers, **named}
        return replace(self, headers={name: value for name, value in kept.items() if value is not None})


Lie = Callable[[Answer, Random], Answer | bytes]


@dataclass
class Plan:
    """How the server answers during one trial.

    Attributes:
        content: The file.
        lie: Done to the answers.
        random: Of the lie.
        first: The first request that gets it.
        requests: How many it lies to before it becomes honest.
        seen: Requests so far.
    """

    content: bytes
    lie: Lie
    random: Random
    first: int
    requests: float
    seen: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def answer(self, wanted: tuple[int, int] | None) -> Answer | bytes:
        """The answer to a request for these bytes, or for all."""
        with self.lock:
            number, self.seen = self.seen, self.seen + 1
            honest = _honest(self.content, wanted)
            if not self.first <= number < self.first + self.requests:
                return honest
            return self.lie(honest, self.random)


def _honest(content: bytes, wanted: tuple[int, int] | None) -> Answer:
    start, stop = (0, len(content)) if wanted is None else (wanted[0], min(wanted[1] + 1, len(content)))
    part = content[start:stop]
    headers = {"Content-Length": str(len(part)), "ETag": '"a"', "Content-Type": "application/octet-stream"}
    if wanted is None:
        return Answer("200 OK", headers, part)
    headers["Content-Range"] = f"bytes {start}-{stop - 1}/{len(content)}"
    return Answer("206 Partial Content", headers, part)


class Liar:
    """The server; `plan` may be replaced between trials."""

    def __init__(self, port: int) -> None:
        self.url, self.plan = f"http://127.0.0.1:{port}{PATH}", Plan(b"", lambda one, _: one, Random(), 0, 0)


@contextmanager
def lying(port: int = 0) -> Iterator[Liar]:
    """A server on this port, by default a free one."""

    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            plan = liar.plan
            request = b""
            while b"\r\n\r\n" not in request and len(request) < 1 << 16:
                line = self.rfile.readline(1 << 14)
                if not line:
                    return
                request += line
            found = re.search(rb"range: bytes=(\d+)-(\d+)", request, re.IGNORECASE)
            answer = plan.answer((int(found[1]), int(found[2])) if found else None)
            try:
                self._send(answer)
            except OSError:
                return  # the client has hung up

        def _send(self, answer: Answer | bytes) -> None:
            if isinstance(answer, bytes):
                self.wfile.write(answer)
                return
            whole, end = answer.head() + answer.body, time.monotonic() + _LAST
            if answer.slow is None:
                self.wfile.write(whole[:-1])
            else:
                for at in range(0, len(whole) - 1, answer.slow):
                    if time.monotonic() > end:
                        return
                    self.wfile.write(whole[at : min(len(whole) - 1, at + answer.slow)])
                    time.sleep(STEP)
            time.sleep(answer.silent)
            self.wfile.write(whole[-1:])

    class Server(socketserver.ThreadingTCPServer):
        allow_reuse_address, daemon_threads, block_on_close = True, True, False

    with Server(("127.0.0.1", port), Handler) as server:
        liar = Liar(server.server_address[1])
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield liar
        server.shutdown()


def _redirect(target: str, status: str = "302 Found") -> Lie:
    return lambda answer, _: Answer(status, {"Location": target, "Content-Length": "0"}, b"")


def _status(status: str, **headers: str) -> Lie:
    return lambda answer, _: Answer(status, {"Content-Length": "0"}, b"").having(**headers)


def _header(name: str, *values: str | None) -> Lie:
    return lambda answer, random: answer.having(**{name: random.choice(values)})


def _gzipped(answer: Answer, random: Random) -> Answer:
    body = gzip.compress(answer.body, 1)
    return replace(answer, body=body).having(Content_Encoding="gzip", Content_Length=str(len(body)))


def _garbled(answer: Answer, random: Random) -> bytes:
    return damage_bytes(answer.head(), random) + answer.body


def _cut(answer: Answer, random: Random) -> Answer:
    return replace(answer, body=answer.body[: random.randrange(len(answer.body))])


def _longer(answer: Answer, random: Random) -> Answer:
    return replace(answer, body=answer.body + random.randbytes(5000))


def _shifted(answer: Answer, random: Random) -> Answer:
    shift = random.choice((-1, 1, 7, 4096))
    numbers = re.sub(
        r"\d+(?=[-/])", lambda found: str(int(found[0]) + shift), answer.headers.get("Content-Range", "")
    )
    return answer.having(Content_Range=numbers) if numbers else replace(answer, body=b"")


def _whole(answer: Answer, random: Random) -> Answer:
    return replace(answer, status="200 OK").having(Content_Range=None)


def _empty(answer: Answer, random: Random) -> Answer:
    return Answer("200 OK", {"Content-Length": "0", "ETag": '"a"'}, b"")


def _other_bytes(answer: Answer, random: Random) -> Answer:
    return replace(answer, body=damage_bytes(answer.body, random)[: len(answer.body)].ljust(len(answer.body)))


_HUGE = "9" * 5000
DETECTABLE: dict[str, Lie] = {
    "cut": _cut,
    "empty": _empty,
    "empty length": _header("Content_Length", "0"),
    "length": _header("Content_Length", "-5", "1", "10", _HUGE, "9" * 18, "1e3", "", "0x10", None, "٣"),
    "range": _header("Content_Range", f"bytes 0-0/{_HUGE}", "bytes 0-0/0", "bytes 5-1/9", "bytes */*", "", "x", "bytes 0-0/9" + "9" * 17),
    "shifted range": _shifted,
    "range ignored": _whole,
    "longer": _longer,
    "gzip": _gzipped,
    "encoding": _header("Content_Encoding", "gzip", "br", "identity", "\x01", "gzip, gzip"),
    "chunks": _header("Transfer_Encoding", "chunked", "gzip", "chunked, chunked"),
    "tag": lambda answer, random: answer.having(ETag=f'"{random.random()}"'),
    "odd tag": _header("ETag", 'W/"a"', "\x7f", '"' + "e" * 3000 + '"', "", '"é"', None),
    "date": _header("Last_Modified", "yesterday", "Sun, 99 Foo 99999", "", "\x0b"),
    "web page": lambda answer, _: replace(answer, body=b"<html>").having(Content_Type="text/html", Content_Length="6"),
    "loop": _redirect(PATH),
    "chain": lambda answer, random: Answer("307 Temporary Redirect", {"Location": f"{PATH}?{random.random()}"}, b""),
    "to a file": _redirect("file:///etc/hostname"),
    "to ftp": _redirect("ftp://127.0.0.1:9/x", "301 Moved Permanently"),
    "to data": _redirect("data:text/plain,hello"),
    "to nowhere": lambda answer, random: Answer(
        "308 Permanent Redirect",
        {"Location": random.choice(("http://[::1/x", "http://127.0.0.1:99999999/x", "", "//", "http:///x", "http://\x1b[31m/", "?" * 70_000))},
        b"",
    ),
    "no location": _status("302 Found"),
    "busy": lambda answer, random: _status(
        random.choice(("429 Too Many Requests", "503 Service Unavailable")),
        Retry_After=random.choice(("0", "-5", "99999", _HUGE, "1e3", "Mon, 99 Foo 99999 99:99:99 XXX", "Fri, 31 Dec 9999 23:59:59 -9999")),
    )(answer, random),
    "status": lambda answer, random: _status(
        random.choice(("500 Oops", "404 Not Found", "401 Unauthorized", "416 Range Not Satisfiable", "204 No Content", "100 Continue", "999 \x1b[31m", "99999 What", "299 Fine"))
    )(answer, random),
    "no answer": lambda answer, _: b"",
    "garbage": lambda answer, random: random.randbytes(random.choice((1, 100, 70_000))),
    "many headers": lambda answer, _: answer.having(**{f"X{number}": "y" for number in range(500)}),
    "long header": lambda answer, _: answer.having(X="y" * 200_000),
    "slow": lambda answer, random: replace(answer, slow=random.choice((1, 3))),
    "silence": lambda answer, random: replace(answer, silent=random.choice((0.1, 1.0, 5.0))),
}  # fmt: skip
UNDETECTABLE: dict[str, Lie] = {  # without a checksum
    "other bytes": _other_bytes,  # under the same tag and date
    "garbled head": _garbled,  # which may end early, so that the rest counts as the file
}
