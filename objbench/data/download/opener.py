"""Which addresses are opened: http and https, in what a user gives, in what a server links to, and in redirections."""

from __future__ import annotations

import urllib.request
from urllib.parse import urljoin, urlsplit

import objbench
from objbench.data.download.patience import PermanentError


def check_address(url: str) -> None:
    """PermanentError unless `url` is an address of http or https."""
    try:
        parts = urlsplit(url)
        valid = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:  # of the host or the port
        valid = False
    if not valid:
        raise PermanentError(f"{url}: not an http or https address")


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Follows redirections to http and https addresses only."""

    def http_error_302(self, req, fp, code, msg, headers):  # type: ignore[no-untyped-def]
        target = headers.get("Location") or headers.get("URI")
        if target is not None:
            try:
                check_address(_join(req.full_url, target))
            except PermanentError as error:
                fp.close()
                raise PermanentError(f"redirects to {error}") from None
        return super().http_error_302(req, fp, code, msg, headers)

    http_error_301 = http_error_303 = http_error_307 = http_error_308 = http_error_302


def _join(base: str, target: str) -> str:
    try:
        return urljoin(base, target)
    except ValueError:
        return target


def make_opener() -> urllib.request.OpenerDirector:
    """An opener without the handlers of file, ftp and data addresses."""
    opener = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.ProxyHandler(),
        urllib.request.UnknownHandler(),
        urllib.request.HTTPHandler(),
        urllib.request.HTTPSHandler(),
        urllib.request.HTTPDefaultErrorHandler(),
        urllib.request.HTTPErrorProcessor(),
        _Redirects(),
    ):
        opener.add_handler(handler)
    opener.addheaders = [("User-Agent", f"objbench/{objbench.__version__}")]
    return opener
