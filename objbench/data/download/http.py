"""HTTP: what a server says of a file, ranges of its bytes, and which errors are transient.

urllib handles redirections, the proxies of the environment and certificates. Each request opens a connection of its
own, which costs nothing beside ranges of megabytes.
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

ATTEMPTS = 6  # for a range, counted anew after each byte that arrives
ATTEMPTS_TO_REACH = 3  # for the first answer of a server: without a network nobody should wait for long
FIRST_WAIT, LONGEST_WAIT = 1.0, 60.0
LONGEST_RETRY_AFTER = 300.0
TIMEOUT = 20.0  # seconds without a byte
CHUNK = 1 << 20

_TRANSIENT = {408, 425, 429, 500, 502, 503, 504}
_CONTENT_RANGE = re.compile(r"bytes (\d+)-(\d+)/(\d+)")

T = TypeVar("T")


class PermanentError(Exception):
    """This address does not give the file, and another try would not help. The message says why, without the address."""


class TransientError(Exception):
    """A failure that may be gone on the next try.

    Attributes:
        retry_after: Seconds that the server asks to wait, None if it does not say.
    """

    def __init__(self, message: str, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class ChangedError(Exception):
    """The file on the server is no longer the one whose download was started."""


class ResourceInfo(Strict):
    """What a server says of a file.

    Attributes:
        size: In bytes.
        ranges: Whether the server gives parts of the file.
    """

    url: str
    size: int
    etag: str | None
    last_modified: str | None
    ranges: bool

    @property
    def validator(self) -> str | None:
        """The value of If-Range: the tag if it is a strong one, else the date (RFC 9110, 13.1.5)."""
        return self.etag if self.etag and not self.etag.startswith("W/") else self.last_modified

    def differs(self, earlier: ResourceInfo) -> str | None:
        """How this file differs from the `earlier` one, in words; None if it may be the same."""
        if self.size != earlier.size:
            return f"it has {self.size:,} bytes now, {earlier.size:,} before"
        if self.etag and earlier.etag:
            same = self.etag.removeprefix("W/") == earlier.etag.removeprefix("W/")
            return None if same else f"its tag is {self.etag} now, {earlier.etag} before"
        if self.last_modified and earlier.last_modified and self.last_modified != earlier.last_modified:
            return f"it was modified on {self.last_modified}, on {earlier.last_modified} before"
        return None


def pause(seconds: float, stopped: threading.Event) -> None:
    """Wait, at most until `stopped` is set."""
    stopped.wait(seconds)


class Backoff:
    """Exponential backoff: waits after each failure in a row, and gives up after `attempts` of them."""

    def __init__(self, attempts: int, stopped: threading.Event | None = None) -> None:
        self._attempts, self._stopped = attempts, stopped or threading.Event()
        self._failures = 0

    def reset(self) -> None:
        """Forget the failures so far."""
        self._failures = 0

    def wait(self, failure: TransientError) -> None:
        """Wait after `failure`; PermanentError if there were too many."""
        self._failures += 1
        if self._failures >= self._attempts:
            raise PermanentError(f"{failure} ({self._failures} attempts)")
        if failure.retry_after is None:
            wait = min(FIRST_WAIT * 2.0 ** (self._failures - 1), LONGEST_WAIT)
            pause(wait * random.uniform(0.5, 1.0), self._stopped)
        elif failure.retry_after > LONGEST_RETRY_AFTER:
            raise PermanentError(f"{failure} and asks to come back in {failure.retry_after:,.0f} s")
        else:
            pause(failure.retry_after + random.uniform(0.0, FIRST_WAIT), self._stopped)


class Client:
    """Makes the requests, with the proxies that the environment names."""

    def __init__(self) -> None:
        self._opener = urllib.request.build_opener()
        self._opener.addheaders = [("User-Agent", f"objbench/{objbench.__version__}")]

    def retry(self, action: Callable[[], T], attempts: int = ATTEMPTS) -> T:
        """The result of `action`, repeated after transient errors; PermanentError after too many."""
        backoff = Backoff(attempts)
        while True:
            try:
                return action()
            except TransientError as failure:
                backoff.wait(failure)

    def probe(self, url: str) -> ResourceInfo:
        """What the server says of a file. Asks for its first byte, as answers to HEAD are often wrong."""
        return self.retry(lambda: self._probe(url), ATTEMPTS_TO_REACH)

    def _probe(self, url: str) -> ResourceInfo:
        with self._open(url, {"Range": "bytes=0-0"}) as response:
            found = _content_range(response)
            if response.status == http.client.PARTIAL_CONTENT and found is not None and found[:2] == (0, 0):
                receive(response, 1)
                return _resource(url, response, found[2], ranges=True)
            if response.status == http.client.OK:
                return _resource(url, response, _length(response), ranges=False)
        with self._open(url, {}) as response:  # a wrong range: do without ranges
            return _resource(url, response, _length(response), ranges=False)

    def open_range(self, resource: ResourceInfo, start: int, stop: int) -> http.client.HTTPResponse:
        """An open response with the bytes [start, stop) of the file; with the whole file if there are no ranges.

        Raises:
            ChangedError: The file on the server is another one by now.
            TransientError, PermanentError: The server does not give these bytes.
        """
        headers = {}
        if resource.ranges:
            headers["Range"] = f"bytes={start}-{stop - 1}"
            if resource.validator:
                headers["If-Range"] = resource.validator
        response = self._open(resource.url, headers)
        try:
            _check_response(response, resource, start, stop)
        except BaseException:
            response.close()
            raise
        return response

    def read(self, resource: ResourceInfo, start: int, stop: int) -> bytes:
        """The bytes [start, stop) of a file whose server gives ranges."""

        def attempt() -> bytes:
            with self.open_range(resource, start, stop) as response:
                parts = bytearray()
                while len(parts) < stop - start:
                    parts += receive(response, stop - start - len(parts))
                return bytes(parts)

        return self.retry(attempt)

    def read_small(self, url: str) -> bytes:
        """The content of a small file, at most a few megabytes."""

        def attempt() -> bytes:
            with self._open(url, {"Accept": "application/json"}) as response:
                return _classify_errors(lambda: response.read(4 * CHUNK))

        return self.retry(attempt, ATTEMPTS_TO_REACH)

    def _open(self, url: str, headers: Mapping[str, str]) -> http.client.HTTPResponse:
        request = urllib.request.Request(url, headers=dict(headers))
        response: http.client.HTTPResponse = _classify_errors(
            lambda: self._opener.open(request, timeout=TIMEOUT)
        )
        if (response.headers.get_content_type() or "") == "text/html":
            response.close()
            raise PermanentError("answered with a web page, not with the file")
        return response


def receive(response: http.client.HTTPResponse, most: int) -> bytes:
    """Some of the next `most` bytes, at least one; TransientError if the connection breaks or ends."""
    data = _classify_errors(lambda: response.read1(min(most, CHUNK)))
    if not data:
        raise TransientError("the connection ended before the file did")
    return data


def _classify_errors(action: Callable[[], T]) -> T:
    """The result of `action`; network errors become TransientError or PermanentError."""
    try:
        return action()
    except HTTPError as error:
        with error:
            what = f"answered {error.code} {error.reason}".rstrip()
            if error.code not in _TRANSIENT:
                raise PermanentError(what) from None
            raise TransientError(what, _retry_after(error.headers.get("Retry-After"))) from None
    except URLError as error:
        if isinstance(error.reason, ssl.SSLCertVerificationError):
            raise PermanentError(f"its certificate is not trusted: {error.reason.verify_message}") from None
        raise TransientError(_describe(error.reason)) from None
    except (OSError, http.client.HTTPException) as error:
        raise TransientError(_describe(error)) from None


def _describe(error: object) -> str:
    if isinstance(error, TimeoutError):
        return f"nothing came for {TIMEOUT:.0f} s"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror[0].lower() + error.strerror[1:]
    return str(error) or type(error).__name__


def _retry_after(value: str | None) -> float | None:
    """Seconds to wait, from a Retry-After header: a number or a date."""
    if value is None:
        return None
    if value.strip().isdecimal():
        return float(value)
    try:
        return max(0.0, parsedate_to_datetime(value).timestamp() - time.time())
    except ValueError:
        return None


def _content_range(response: http.client.HTTPResponse) -> tuple[int, int, int] | None:
    """(first byte, last byte, size of the file) of Content-Range, None if it is missing."""
    match = _CONTENT_RANGE.fullmatch(response.headers.get("Content-Range", "").strip())
    return (int(match[1]), int(match[2]), int(match[3])) if match else None


def _length(response: http.client.HTTPResponse) -> int:
    value = response.headers.get("Content-Length", "")
    if not value.isdecimal():
        raise PermanentError("does not say how long the file is")
    return int(value)


def _resource(url: str, response: http.client.HTTPResponse, size: int, ranges: bool) -> ResourceInfo:
    headers = response.headers
    return ResourceInfo(
        url=url,
        size=size,
        etag=headers.get("ETag"),
        last_modified=headers.get("Last-Modified"),
        ranges=ranges,
    )


def _check_response(
    response: http.client.HTTPResponse, resource: ResourceInfo, start: int, stop: int
) -> None:
    found = _content_range(response)
    partial = response.status == http.client.PARTIAL_CONTENT
    size = found[2] if partial and found else resource.size if partial else _length(response)
    now = _resource(resource.url, response, size, resource.ranges)
    if difference := now.differs(resource):
        raise ChangedError(difference)
    if resource.ranges and (not partial or found is None or found[:2] != (start, stop - 1)):
        sent = f"bytes {found[0]}-{found[1]}" if found else "the whole file"
        raise TransientError(f"sent {sent} when asked for bytes {start}-{stop - 1}")
    if partial and not resource.ranges:
        raise TransientError("sent a part when asked for the whole file")
