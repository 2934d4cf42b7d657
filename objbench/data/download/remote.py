"""A file of a release as it is published."""

from __future__ import annotations

from pydantic import field_validator

from objbench.data.download.receipts import Checksums, Kind
from objbench.spec.sources import RemoteFile


class Remote(RemoteFile):
    """A file that can be downloaded, with its name in the folder."""

    name: str

    @property
    def published(self) -> Checksums:
        """The published checksums by kind."""
        given: dict[Kind, str | None] = {"sha256": self.sha256, "md5": self.md5}
        return {kind: value.lower() for kind, value in given.items() if value}

    @field_validator("name")
    @classmethod
    def _is_plain(cls, name: str) -> str:
        if not name or name.startswith(".") or "/" in name or "\\" in name:
            raise ValueError(f"'{name}' is not a plain file name")
        return name
