"""Pieces of a file by HTTP: what a server offers, whether it keeps its word, and which failures may pass.

Redirections, proxies of the environment and certificates are urllib's; a connection serves one request, which weighs
nothing at pieces of megabytes.
"""

from __future__ import annotations

import http.client
import random
import re
import ssl
import threading
import time
import urllib.request
from collections.abc import Callable, Mapping
from email.utils import parsedate_to_datetime
from typing import TypeVar
from urllib.error import HTTPError, URLError

import objbench
from objbench.stored import Strict

ATTEMPTS = 6  # for a piece, counted anew after each byte that arrives
ATTEMPTS_TO_REACH = 3  # for the first word from a server: someone without a network should not wait for long
FIRST_WAIT, LONGEST_WAIT = 1.0, 60.0
LONGEST_RETRY_AFTER = 300.0
TIMEOUT = 20.0  # seconds without a byte
CHUNK = 1 << 20

_PASSING = {408, 425, 429, 500, 502, 503, 504}
_CONTENT_RANGE = re.compile(r"bytes (\d+)-(\d+)/(\d+)")

T = TypeVar("T")


class UnavailableError(Exception):
    """This address cannot give the file, now or on another try; the message says why, without the address."""


class PassingError(Exception):
    """A failure that another try may overcome, after `wait` seconds where the server says so."""

    def __init__(self, message: str, wait: float | None = None) -> None:
        super().__init__(message)
        self.wait = wait


class ChangedError(Exception):
    """The file on the server is no longer the one that was begun."""


class Offer(Strict):
    """What a server says of a file; `ranges`: it can give parts of it."""

    url: str
    size: int
    etag: str | None
    last_modified: str | None
    ranges: bool

    @property
    def validator(self) -> str | None:
        """What If-Range may name: the tag if it is a strong one, or the date (RFC 9110, 13.1.5)."""
        return self.etag if self.etag and not self.etag.startswith("W/") else self.last_modified

    def differs(self, earlier: Offer) -> str | None:
        """In words, why this is not the file of an `earlier` offer; None if it may be."""
        if self.size != earlier.size:
            return f"it has {self.size:,} bytes now, {earlier.size:,} before"
        if self.etag and earlier.etag:
            same = self.etag.removeprefix("W/") == earlier.etag.removeprefix("W/")
            return None if same else f"its tag is {self.etag} now, {earlier.etag} before"
        if self.last_modified and earlier.last_modified and self.last_modified != earlier.last_modified:
            return f"it was modified on {self.last_modified}, on {earlier.last_modified} before"
        return None


def pause(seconds: float, stopped: threading.Event) -> None:
    """Wait, but not for someone who has `stopped`."""
    stopped.wait(seconds)


class Patience:
    """Waits after a failure, longer after each one in a row, and gives up after `attempts` of them."""

    def __init__(self, attempts: int, stopped: threading.Event | None = None) -> None:
        self._attempts, self._stopped = attempts, stopped or threading.Event()
        self._failures = 0

    def renew(self) -> None:
        """Forget the failures so far."""
        self._failures = 0

    def bear(self, failure: PassingError) -> None:
        """Wait; UnavailableError if it is to no avail."""
        self._failures += 1
        if self._failures >= self._attempts:
            raise UnavailableError(f"{failure} ({self._failures} attempts)")
        if failure.wait is None:
            wait = min(FIRST_WAIT * 2.0 ** (self._failures - 1), LONGEST_WAIT)
            pause(wait * random.uniform(0.5, 1.0), self._stopped)
        elif failure.wait > LONGEST_RETRY_AFTER:
            raise UnavailableError(f"{failure} and asks to come back in {failure.wait:,.0f} s")
        else:
            pause(failure.wait + random.uniform(0.0, FIRST_WAIT), self._stopped)


class Client:
    """Makes the requests, with the proxies that the environment names."""

    def __init__(self) -> None:
        self._opener = urllib.request.build_opener()
        self._opener.addheaders = [("User-Agent", f"objbench/{objbench.__version__}")]

    def insist(self, action: Callable[[], T], attempts: int = ATTEMPTS) -> T:
        """The result of `action`, repeated while it fails for a reason that may pass; UnavailableError if that lasts."""
        patience = Patience(attempts)
        while True:
            try:
                return action()
            except PassingError as failure:
                patience.bear(failure)

    def ask(self, url: str) -> Offer:
        """What the server says of a file, found out by its first byte: what HEAD promises is often not kept."""
        return self.insist(lambda: self._ask(url), ATTEMPTS_TO_REACH)

    def _ask(self, url: str) -> Offer:
        with self._open(url, {"Range": "bytes=0-0"}) as response:
            found = _content_range(response)
            if response.status == http.client.PARTIAL_CONTENT and found is not None and found[:2] == (0, 0):
                receive(response, 1)
                return _offer(url, response, found[2], ranges=True)
            if response.status == http.client.OK:
                return _offer(url, response, _length(response), ranges=False)
        with self._open(url, {}) as response:  # its ranges are not what was asked for: do without
            return _offer(url, response, _length(response), ranges=False)

    def piece(self, offer: Offer, start: int, stop: int) -> http.client.HTTPResponse:
        """An open response with the bytes [start, stop) of the file; with all of them if it is not offered in parts.

        Raises ChangedError if it is another file by now; PassingError or UnavailableError if the server does not give these bytes.
        """
        headers = {}
        if offer.ranges:
            headers["Range"] = f"bytes={start}-{stop - 1}"
            if offer.validator:
                headers["If-Range"] = offer.validator
        response = self._open(offer.url, headers)
        try:
            _check(response, offer, start, stop)
        except BaseException:
            response.close()
            raise
        return response

    def read(self, offer: Offer, start: int, stop: int) -> bytes:
        """The bytes [start, stop) of a file that is offered in parts."""

        def attempt() -> bytes:
            with self.piece(offer, start, stop) as response:
                parts = bytearray()
                while len(parts) < stop - start:
                    parts += receive(response, stop - start - len(parts))
                return bytes(parts)

        return self.insist(attempt)

    def text(self, url: str) -> bytes:
        """The whole of a small file, at most a few megabytes."""

        def attempt() -> bytes:
            with self._open(url, {"Accept": "application/json"}) as response:
                return _sheltered(lambda: response.read(4 * CHUNK))

        return self.insist(attempt, ATTEMPTS_TO_REACH)

    def _open(self, url: str, headers: Mapping[str, str]) -> http.client.HTTPResponse:
        request = urllib.request.Request(url, headers=dict(headers))
        response: http.client.HTTPResponse = _sheltered(lambda: self._opener.open(request, timeout=TIMEOUT))
        if (response.headers.get_content_type() or "") == "text/html":
            response.close()
            raise UnavailableError("answered with a web page, not with the file")
        return response


def receive(response: http.client.HTTPResponse, most: int) -> bytes:
    """Some of the next `most` bytes, at least one; PassingError if the connection breaks or ends."""
    data = _sheltered(lambda: response.read1(min(most, CHUNK)))
    if not data:
        raise PassingError("the connection ended before the file did")
    return data


def _sheltered(action: Callable[[], T]) -> T:
    """The result of `action`, with the errors of the network told apart by whether they may pass."""
    try:
        return action()
    except HTTPError as error:
        with error:
            what = f"answered {error.code} {error.reason}".rstrip()
            if error.code not in _PASSING:
                raise UnavailableError(what) from None
            raise PassingError(what, _retry_after(error.headers.get("Retry-After"))) from None
    except URLError as error:
        if isinstance(error.reason, ssl.SSLCertVerificationError):
            raise UnavailableError(f"its certificate is not trusted: {error.reason.verify_message}") from None
        raise PassingError(_words(error.reason)) from None
    except (OSError, http.client.HTTPException) as error:
        raise PassingError(_words(error)) from None


def _words(error: object) -> str:
    if isinstance(error, TimeoutError):
        return f"nothing came for {TIMEOUT:.0f} s"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror[0].lower() + error.strerror[1:]
    return str(error) or type(error).__name__


def _retry_after(value: str | None) -> float | None:
    """Seconds to wait, from a number or a date."""
    if value is None:
        return None
    if value.strip().isdecimal():
        return float(value)
    try:
        return max(0.0, parsedate_to_datetime(value).timestamp() - time.time())
    except ValueError:
        return None


def _content_range(response: http.client.HTTPResponse) -> tuple[int, int, int] | None:
    """(first byte, last byte, size of the file), where the answer says it."""
    match = _CONTENT_RANGE.fullmatch(response.headers.get("Content-Range", "").strip())
    return (int(match[1]), int(match[2]), int(match[3])) if match else None


def _length(response: http.client.HTTPResponse) -> int:
    value = response.headers.get("Content-Length", "")
    if not value.isdecimal():
        raise UnavailableError("does not say how long the file is")
    return int(value)


def _offer(url: str, response: http.client.HTTPResponse, size: int, ranges: bool) -> Offer:
    headers = response.headers
    return Offer(
        url=url,
        size=size,
        etag=headers.get("ETag"),
        last_modified=headers.get("Last-Modified"),
        ranges=ranges,
    )


def _check(response: http.client.HTTPResponse, offer: Offer, start: int, stop: int) -> None:
    found = _content_range(response)
    partial = response.status == http.client.PARTIAL_CONTENT
    size = found[2] if partial and found else offer.size if partial else _length(response)
    now = _offer(offer.url, response, size, offer.ranges)
    if difference := now.differs(offer):
        raise ChangedError(difference)
    if offer.ranges and (not partial or found is None or found[:2] != (start, stop - 1)):
        sent = f"bytes {found[0]}-{found[1]}" if found else "the whole file"
        raise PassingError(f"sent {sent} when asked for bytes {start}-{stop - 1}")
    if partial and not offer.ranges:
        raise PassingError("sent a part when asked for the whole file")
