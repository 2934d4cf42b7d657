"""From the address of a file to its bytes: the file itself, a file of a Zenodo record, or a member of a zip."""

from __future__ import annotations

import json
import re
import zipfile
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from objbench.data.download.http import Client, UnavailableError
from objbench.data.download.receipts import Checksums
from objbench.data.download.remote import Remote
from objbench.data.download.transfer import Extent
from objbench.data.download.zipped import find_member

_RECORD = re.compile(r"/api/records/\d+")


@dataclass(frozen=True)
class Place:
    """Where a file can be had: the bytes to fetch, the size of the file, and the checksums that it must meet.

    url       of `Remote.urls`;  deflated: the bytes are the deflated form of the file
    """

    url: str
    extent: Extent
    bytes: int
    deflated: bool
    published: Checksums


def locate(remote: Remote, url: str, client: Client) -> Place:
    """Where `remote` lies at one of its addresses. UnavailableError if it does not, or is of another size there."""
    published = remote.published
    link, md5 = _in_record(remote, url, client) if _RECORD.fullmatch(urlsplit(url).path) else (url, None)
    offer = client.ask(link)
    if remote.member is None:
        if md5:
            published.setdefault("md5", md5)
        place = Place(url, Extent(offer=offer, start=0, length=offer.size), offer.size, False, published)
    else:
        extent, info = find_member(client, offer, remote.member)
        deflated = info.compress_type == zipfile.ZIP_DEFLATED
        place = Place(url, extent, info.file_size, deflated, {**published, "crc32": f"{info.CRC:08x}"})
    if remote.bytes is not None and place.bytes != remote.bytes:
        raise UnavailableError(f"has {place.bytes:,} bytes for it, {remote.bytes:,} are expected")
    return place


def _in_record(remote: Remote, url: str, client: Client) -> tuple[str, str | None]:
    """Link and md5 of the file of a Zenodo record that `remote` is, or is a member of (developers.zenodo.org)."""
    try:
        files: list[dict[str, Any]] = json.loads(client.text(url))["files"]
        names = {str(file["key"]): file for file in files}
        whole = remote.member is None
        fits = [name for name in names if (name == remote.name if whole else name.endswith(".zip"))]
        if len(fits) != 1:
            what = remote.name if whole else "one zip"
            raise UnavailableError(f"the record should hold {what}; it holds {', '.join(sorted(names))}")
        file = names[fits[0]]
        kind, _, digits = str(file.get("checksum", "")).partition(":")
        return str(file["links"]["self"]), digits.lower() if kind == "md5" else None
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UnavailableError(
            f"not the description of a Zenodo record ({type(error).__name__}: {error})"
        ) from None
