"""The source blocks of a dataset in benchmarks.yaml, typed: what a release consists of, and where it can be had."""

from __future__ import annotations

import re
from pathlib import PurePath
from typing import Any
from urllib.parse import urlsplit

from pydantic import Field, ValidationInfo, field_validator, model_validator

from objbench.spec.names import EXPECTED, is_name
from objbench.spec.numbers import Counted
from objbench.stored import Strict


class RemoteFile(Strict):
    """Where a file of a release can be downloaded, and what is published of it.

    Attributes:
        urls: Its addresses, the best one first; the others are mirrors. A Zenodo record
            (`https://zenodo.org/api/records/ID`) stands for the file of the same name in it, or for its only zip if
            `member` is given.
        bytes: Exact size, where it is published. A file of another size or with another checksum is refused.
        member: Path of the file in the zip archive at `urls`, or the end of its path if that is unambiguous.
    """

    urls: tuple[str, ...] = Field(min_length=1)
    bytes: Counted | None = None
    sha256: str | None = None
    md5: str | None = None
    member: str | None = None

    @field_validator("urls")
    @classmethod
    def _are_http(cls, urls: tuple[str, ...]) -> tuple[str, ...]:
        for url in urls:
            if urlsplit(url).scheme not in ("http", "https"):
                raise ValueError(f"'{url}' is neither http nor https")
        return urls

    @field_validator("sha256", "md5")
    @classmethod
    def _are_checksums(cls, digits: str | None, info: ValidationInfo) -> str | None:
        length = {"sha256": 64, "md5": 32}[str(info.field_name)]
        if digits is not None and not re.fullmatch(f"[0-9a-fA-F]{{{length}}}", digits):
            raise ValueError(f"expected {length} hexadecimal digits, found '{digits}'")
        return digits.lower() if digits else None


class Download(Strict):
    """The files of a release that can be downloaded; sources of one release share a folder.

    Attributes:
        folder: Where they are put, under the data folder.
        urls: Where all of them can be had, tried in this order. An address that ends in / is that of a folder, in which
            each file has its own name; any other is that of an archive or a record, of which each file is a member.
        files: The files by name. A list of names will do where `urls` says everything.
    """

    folder: str
    urls: tuple[str, ...] = Field(default=(), exclude=True)
    files: dict[str, RemoteFile]

    @model_validator(mode="after")
    def _stay_in_the_folder(self) -> Download:
        if not is_name(self.folder):
            raise ValueError(f"folder: '{self.folder}' cannot name a folder of downloads: {EXPECTED}")
        for name in self.files:
            if PurePath(name).name != name or "\\" in name:
                raise ValueError(f"files: expected the name of a file without a folder, found '{name}'")
        return self

    @model_validator(mode="before")
    @classmethod
    def _complete(cls, block: Any) -> Any:
        """Give each file the addresses that `urls` makes of its name."""
        return {**block, "files": _with_addresses(block)} if _names_files(block) else block


def _names_files(download: Any) -> bool:
    """Whether a block of yaml has what `_with_addresses` reads; if not, pydantic says what is wrong."""
    files = download.get("files") if isinstance(download, dict) else None
    return isinstance(files, list) or (
        isinstance(files, dict) and all(isinstance(file, dict | None) for file in files.values())
    )


def _with_addresses(download: dict[str, Any]) -> dict[str, Any]:
    """The files of a download block by name, each with the block's addresses where it has none of its own."""
    urls, files = download.get("urls"), download["files"]
    urls = urls if isinstance(urls, list) else []  # pydantic refuses anything else
    files = {str(name): {} for name in files} if isinstance(files, list) else files
    folders = [str(url).endswith("/") for url in urls]
    if any(folders) and not all(folders):
        raise ValueError("download.urls: expected either folders, whose addresses end in /, or archives")
    made = {}
    for name, file in files.items():
        of_name = (
            {"urls": [f"{url}{name}" for url in urls]} if any(folders) else {"urls": urls, "member": name}
        )
        made[name] = {**(of_name if urls else {}), **(file or {})}
    return made


class SourceSpec(Strict):
    """Where scenes come from: the files a release consists of, and what is known of it.

    Attributes:
        url: Where a person finds the release; by default the first address of the first file.
        options: What the source must be told: `layout` of the files, `variant`, `generator` and its options.
        files: Role -> accepted file names, best known first; by default all that can be downloaded, as `data`.
        records: Role -> records of the complete release; null: as many as the file has.
        entities: Planes of the stored mask stack, background included: these numbers are accepted.
        factors: What each factor means, with its unit.
        order: In which an incomplete release is cut.
    """

    title: str
    licence: str
    url: str | None = None
    download: Download | None = None
    options: dict[str, int | float | str] = {}
    files: dict[str, list[str]] = {}
    records: dict[str, Counted | None] = {}
    entities: list[Counted] = []
    factors: dict[str, str] = {}
    order: list[str] = ["train", "test", "val"]
    errata: list[str] = []

    @model_validator(mode="before")
    @classmethod
    def _complete(cls, block: Any) -> Any:
        """Fill in `files` and `url` from `download`."""
        if not isinstance(block, dict) or not _names_files(block.get("download")):
            return block
        files = _with_addresses(block["download"])
        addresses = [url for file in files.values() for url in file.get("urls", ())]
        return {"files": {"data": list(files)}, "url": addresses[0] if addresses else None, **block}
