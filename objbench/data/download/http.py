"""HTTP: what a server says of a file, ranges of its bytes, and which errors are transient.

urllib handles redirections, the proxies of the environment and certificates; it is asked for http and https only. Each
request opens a connection of its own, which costs nothing beside ranges of megabytes.
"""

from __future__ import annotations

import http.client
import re
import ssl
import time
import urllib.request
from collections.abc import Callable, Mapping
from email.utils import parsedate_to_datetime
from typing import TypeVar
from urllib.error import HTTPError, URLError

from objbench.data.download.opener import check_address, make_opener
from objbench.data.download.patience import (
    ATTEMPTS,
    ATTEMPTS_TO_REACH,
    Backoff,
    ChangedError,
    PermanentError,
    TransientError,
    within,
)
from objbench.stored import Strict

TIMEOUT = 20.0  # seconds without a byte
CHUNK = 1 << 20

_TRANSIENT = {408, 425, 429, 500, 502, 503, 504}
_COUNT = r"([0-9]{1,18})"
_LENGTH = re.compile(_COUNT)
_CONTENT_RANGE = re.compile(f"bytes {_COUNT}-{_COUNT}/{_COUNT}")
_LONGEST_VALIDATOR = 1000

T = TypeVar("T")


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


class Client:
    """Makes the requests, with the proxies that the environment names."""

    def __init__(self) -> None:
        self._opener = make_opener()

    def retry(self, action: Callable[[], T], attempts: int = ATTEMPTS, size: int = 0) -> T:
        """The result of `action`, repeated after transient errors; PermanentError after too many.

        Args:
            size: Bytes that one attempt receives, beyond a few.
        """
        backoff = Backoff(attempts)
        while True:
            try:
                return within(action, size)
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

        return self.retry(attempt, size=stop - start)

    def read_small(self, url: str) -> bytes:
        """The content of a small file, at most a few megabytes."""

        def attempt() -> bytes:
            with self._open(url, {"Accept": "application/json"}) as response:
                return _classify_errors(lambda: response.read(4 * CHUNK))

        return self.retry(attempt, ATTEMPTS_TO_REACH)

    def _open(self, url: str, headers: Mapping[str, str]) -> http.client.HTTPResponse:
        check_address(url)
        request = urllib.request.Request(url, headers=dict(headers))
        response: http.client.HTTPResponse = _classify_errors(
            lambda: self._opener.open(request, timeout=TIMEOUT)
        )
        try:
            _check_form(response)
        except BaseException:
            response.close()
            raise
        return response


def receive(response: http.client.HTTPResponse, most: int) -> bytes:
    """Some of the next `most` bytes, at least one; TransientError if the connection breaks or ends."""
    data = _classify_errors(lambda: response.read1(min(most, CHUNK)))
    if not data:
        raise TransientError("the connection ended before the file did")
    return data[:most]  # a wrong chunk size can give more


def _check_form(response: http.client.HTTPResponse) -> None:
    """PermanentError unless the body is what was asked for: the plain bytes of a file."""
    if response.headers.get_content_type() == "text/html":
        raise PermanentError("answered with a web page, not with the file")
    for header, plain in (("Content-Encoding", "identity"), ("Transfer-Encoding", "chunked")):
        for value in response.headers.get_all(header, []):
            if str(value).strip().lower() not in ("", plain):
                raise PermanentError(f"sent the file with {header} {value}, which was not asked for")


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
    except ValueError as error:  # an address or a header that urllib cannot use
        raise PermanentError(f"gave something that is not HTTP: {error}") from None


def _describe(error: object) -> str:
    if isinstance(error, TimeoutError):
        return f"nothing came for {TIMEOUT:.0f} s"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror[0].lower() + error.strerror[1:]
    if isinstance(error, http.client.BadStatusLine):
        return f"answered something that is not HTTP: {error}"
    return str(error) or type(error).__name__


def _retry_after(value: str | None) -> float | None:
    """Seconds to wait, from a Retry-After header: a number or a date."""
    if value is None:
        return None
    if value.strip().isdecimal():
        return float(value)
    try:
        return max(0.0, parsedate_to_datetime(value).timestamp() - time.time())
    except (ValueError, TypeError, OverflowError):
        return None


def _content_range(response: http.client.HTTPResponse) -> tuple[int, int, int] | None:
    """(first byte, last byte, size of the file) of Content-Range, None if it is missing."""
    match = _CONTENT_RANGE.fullmatch(response.headers.get("Content-Range", "").strip())
    return (int(match[1]), int(match[2]), int(match[3])) if match else None


def _length(response: http.client.HTTPResponse) -> int:
    value = response.headers.get("Content-Length", "").strip()
    if not _LENGTH.fullmatch(value):
        raise PermanentError("does not say how long the file is")
    return int(value)


def _resource(url: str, response: http.client.HTTPResponse, size: int, ranges: bool) -> ResourceInfo:
    return ResourceInfo(
        url=url,
        size=size,
        etag=_validator(response, "ETag"),
        last_modified=_validator(response, "Last-Modified"),
        ranges=ranges,
    )


def _validator(response: http.client.HTTPResponse, header: str) -> str | None:
    """A header that will be sent back; None if it is missing or cannot be sent."""
    value = str(response.headers.get(header, ""))
    usable = value.isascii() and value.isprintable() and len(value) <= _LONGEST_VALIDATOR
    return value if value and usable else None


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
