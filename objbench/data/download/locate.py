"""From an address to bytes on a server: the file itself, a file of a Zenodo record, or a member of a zip."""

from __future__ import annotations

import re
import zipfile
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from objbench.data.download.http import Client
from objbench.data.download.opener import check_address
from objbench.data.download.patience import PermanentError
from objbench.data.download.receipts import Checksums
from objbench.data.download.remote import Remote
from objbench.data.download.transfer import ByteRange
from objbench.data.download.zipped import find_member
from objbench.json_text import parse_json

_RECORD = re.compile(r"/api/records/\d+")


@dataclass(frozen=True)
class Location:
    """Where a file can be downloaded.

    Attributes:
        url: One of `Remote.urls`.
        part: The bytes to fetch.
        bytes: Size of the file.
        deflated: Whether the bytes to fetch are the deflated form of the file.
        published: Checksums that the file must have.
    """

    url: str
    part: ByteRange
    bytes: int
    deflated: bool
    published: Checksums


def locate(remote: Remote, url: str, client: Client) -> Location:
    """Where `remote` is at one of its addresses; PermanentError if it is not there, or has another size."""
    check_address(url)
    published = remote.published
    link, md5 = _in_record(remote, url, client) if _RECORD.fullmatch(urlsplit(url).path) else (url, None)
    resource = client.probe(link)
    if remote.member is None:
        if resource.size == 0 and remote.bytes != 0:
            raise PermanentError("sent an empty file")
        if md5:
            published.setdefault("md5", md5)
        location = Location(
            url, ByteRange(resource=resource, start=0, length=resource.size), resource.size, False, published
        )
    else:
        part, info = find_member(client, resource, remote.member)
        deflated = info.compress_type == zipfile.ZIP_DEFLATED
        location = Location(url, part, info.file_size, deflated, {**published, "crc32": f"{info.CRC:08x}"})
    if remote.bytes is not None and location.bytes != remote.bytes:
        raise PermanentError(f"has {location.bytes:,} bytes for it, {remote.bytes:,} are expected")
    return location


def _in_record(remote: Remote, url: str, client: Client) -> tuple[str, str | None]:
    """Link and md5 of the file of a Zenodo record that `remote` is, or is a member of (developers.zenodo.org)."""
    try:
        files: list[dict[str, Any]] = parse_json(client.read_small(url))["files"]
        names = {str(file["key"]): file for file in files}
        whole = remote.member is None
        fits = [name for name in names if (name == remote.name if whole else name.endswith(".zip"))]
        if len(fits) != 1:
            what = remote.name if whole else "one zip"
            raise PermanentError(f"the record should hold {what}; it holds {', '.join(sorted(names))}")
        file = names[fits[0]]
        kind, _, digits = str(file.get("checksum", "")).partition(":")
        link = file["links"]["self"]
        if not isinstance(link, str):
            raise TypeError(f"links.self is {link!r}, not an address")
        return link, digits.lower() if kind == "md5" else None
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise PermanentError(
            f"not the description of a Zenodo record ({type(error).__name__}: {error})"
        ) from None
