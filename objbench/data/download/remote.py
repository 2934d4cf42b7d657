"""A file of a release as it is published."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import urlsplit

from objbench.data.download.receipts import Checksums, Kind


@dataclass(frozen=True)
class Remote:
    """A file that can be downloaded.

    Attributes:
        name: of the file in the folder.
        urls: where the file is, the best address first; the others are mirrors. A Zenodo record
            (`https://zenodo.org/api/records/ID`) stands for the file called `name` in it, or for its only zip if
            `member` is given.
        bytes, sha256, md5: exact size and checksums, where they are published; a file that differs is refused.
        member: path of the file in the zip archive at `urls`, or the end of its path if that is unambiguous.
    """

    name: str
    urls: tuple[str, ...]
    bytes: int | None = None
    sha256: str | None = None
    md5: str | None = None
    member: str | None = None

    @property
    def published(self) -> Checksums:
        """The published checksums by kind."""
        given: dict[Kind, str | None] = {"sha256": self.sha256, "md5": self.md5}
        return {kind: value.lower() for kind, value in given.items() if value}

    def __post_init__(self) -> None:
        if not self.name or self.name.startswith(".") or "/" in self.name or "\\" in self.name:
            raise ValueError(f"name: '{self.name}' is not a plain file name")
        if not self.urls:
            raise ValueError(f"{self.name}: urls: at least one is needed")
        for url in self.urls:
            if urlsplit(url).scheme not in ("http", "https"):
                raise ValueError(f"{self.name}: urls: '{url}' is neither http nor https")
