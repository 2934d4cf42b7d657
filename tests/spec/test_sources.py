from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from objbench.spec.load import load_spec
from objbench.spec.sources import Download, SourceSpec


def source(download: dict[str, Any], **block: Any) -> SourceSpec:
    return SourceSpec.model_validate({"title": "t", "licence": "l", "download": download, **block})


def test_a_folder_holds_each_file_under_its_name() -> None:
    urls = ["https://one.example/data/", "https://two.example/"]
    found = source({"folder": "f", "urls": urls, "files": ["a.tar", "b.tar"]})
    assert found.download is not None
    assert {name: (file.urls, file.member) for name, file in found.download.files.items()} == {
        "a.tar": (("https://one.example/data/a.tar", "https://two.example/a.tar"), None),
        "b.tar": (("https://one.example/data/b.tar", "https://two.example/b.tar"), None),
    }
    assert found.files == {"data": ["a.tar", "b.tar"]}
    assert found.url == "https://one.example/data/a.tar"


def test_an_archive_holds_each_file_as_a_member() -> None:
    found = Download.model_validate(
        {"folder": "f", "urls": ["https://one.example/all.zip"], "files": ["a.h5"]}
    )
    assert found.files["a.h5"].urls == ("https://one.example/all.zip",)
    assert found.files["a.h5"].member == "a.h5"


def test_what_a_file_says_itself_goes_before() -> None:
    files = {
        "a.h5": {"member": "deep/a.h5", "bytes": 5},
        "b.h5": {"urls": ["https://two.example/b"], "member": None},
    }
    found = Download.model_validate({"folder": "f", "urls": ["https://one.example/all.zip"], "files": files})
    assert (found.files["a.h5"].member, found.files["a.h5"].bytes) == ("deep/a.h5", 5)
    assert (found.files["b.h5"].member, found.files["b.h5"].urls) == (None, ("https://two.example/b",))


def test_what_a_source_says_itself_goes_before() -> None:
    download = {"folder": "f", "urls": ["https://one.example/"], "files": ["a.h5"]}
    found = source(download, url="https://page.example", files={"train": ["a.h5", "other.h5"]})
    assert found.url == "https://page.example"
    assert found.files == {"train": ["a.h5", "other.h5"]}


@pytest.mark.parametrize(
    ("download", "message"),
    [
        ({"folder": "f", "urls": ["https://a.example/", "https://a.example/b.zip"], "files": ["a"]},
         "either folders, whose addresses end in /, or archives"),
        ({"folder": "f", "files": ["a"]}, r"download.files.a.urls\n.*Field required"),
        ({"folder": "f", "urls": ["https://a.example/"], "files": "a"}, "download.files\n.*valid dictionary"),
        ({"folder": "f", "files": {"a.bin": "hello"}}, "download.files.`a.bin`\n.*valid dictionary"),
        ({"folder": "f", "urls": "https://a.example/", "files": {"a": {"urls": ["https://a.example/a"]}}},
         "^1 validation error for SourceSpec\ndownload.urls\n.*valid tuple"),
        ({"folder": "f", "urls": "https://a.example/", "files": ["a"]}, "download.urls\n.*valid tuple"),
        ({"folder": "f", "urls": {"a": 1}, "files": ["a"]}, "download.urls\n.*valid tuple"),
        ({"urls": ["https://a.example/"], "files": ["a"]}, "download.folder\n.*Field required"),
        ({"folder": "../f", "urls": ["https://a.example/"], "files": ["a"]},
         "folder: '../f' cannot name a folder of downloads: expected letters, digits"),
        ({"folder": "f", "urls": ["https://a.example/"], "files": ["a", "../b"]},
         "files: expected the name of a file without a folder, found '../b'"),
    ],
)  # fmt: skip
def test_a_download_that_says_too_little_is_refused(download: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        source(download)


@pytest.mark.parametrize(("kind", "digits"), [("sha256", "ab" * 16), ("md5", "ab" * 32), ("md5", "zz" * 16)])
def test_checksums_of_other_lengths_or_letters_are_refused(kind: str, digits: str) -> None:
    with pytest.raises(ValidationError, match=f"hexadecimal digits, found '{digits}'"):
        Download.model_validate(
            {"folder": "f", "files": {"a": {"urls": ["https://a.example/a"], kind: digits}}}
        )


def test_checksums_may_be_in_capitals() -> None:
    file = {"urls": ["https://a.example/a"], "md5": "AB" * 16}
    found = Download.model_validate({"folder": "f", "files": {"a": file}})
    assert found.files["a"].md5 == "ab" * 16


@pytest.mark.parametrize(
    ("block", "message"),
    [
        ({"records": {"data": -5}}, "records.data\n.*greater than 0"),
        ({"entities": [0]}, "entities.0\n.*greater than 0"),
    ],
)
def test_numbers_of_records_and_planes_are_above_0(block: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        SourceSpec.model_validate({"title": "t", "licence": "l", **block})


def test_the_addresses_of_the_release_of_clevrtex() -> None:
    download = load_spec().datasets["clevrtex_ood"].sources["official"].download
    assert download is not None
    assert download.files["clevrtex_outd.tar.gz"].urls == (
        "https://thor.robots.ox.ac.uk/datasets/clevrtex/clevrtex_outd.tar.gz",
        "https://thor.robots.ox.ac.uk/~vgg/data/clevrtex/clevrtex_packaged/clevrtex_outd.tar.gz",
    )
