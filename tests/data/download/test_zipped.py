"""Members of a zip archive on a server, fetched without the rest of it."""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from pathlib import Path

import pytest
from helpers.server import Fault, Served, Server

from objbench.data.download import Remote, fetch, read_receipt, status
from objbench.errors import ObjbenchError

NOISE = bytes(hashlib.shake_128(b"noise").digest(400_000))
SCENES = b"".join(b"%d " % number for number in range(100_000))  # deflates well
FOLLOWING = b"x" * 1000


def archive(server: Server, method: int = zipfile.ZIP_DEFLATED, **habits: object) -> str:
    """Put a zip on the server: 400 KB of noise, the scenes in a folder, and a little more."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", method) as packed:
        packed.writestr("noise.bin", NOISE)
        packed.writestr("data/", b"")
        packed.writestr("data/scenes.h5", SCENES)
        packed.writestr("data/scenes_test.h5", FOLLOWING)
        packed.comment = b"processed"
    server.files["/all.zip"] = Served(file.getvalue(), **habits)  # type: ignore[arg-type]
    return server.url("/all.zip")


def member(url: str, name: str = "scenes.h5") -> Remote:
    return Remote(name="scenes.h5", urls=(url,), member=name)


def packed_size(server: Server) -> int:
    with zipfile.ZipFile(io.BytesIO(server.files["/all.zip"].content)) as packed:
        return packed.getinfo("data/scenes.h5").compress_size


@pytest.mark.parametrize("name", ["scenes.h5", "data/scenes.h5"])
@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED], ids=["stored", "deflated"])
def test_a_member_comes_alone(server: Server, tmp_path: Path, method: int, name: str) -> None:
    remote = member(archive(server, method), name)
    fetch([remote], tmp_path)
    assert (tmp_path / "scenes.h5").read_bytes() == SCENES
    assert {path.name for path in tmp_path.iterdir()} - {".scenes.h5.lock"} == {
        "scenes.h5",
        "scenes.h5.receipt.json",
    }
    assert server.sent < packed_size(server) + 2 * 65536 + 100  # the directory and its surroundings beside it
    receipt = read_receipt(tmp_path / "scenes.h5")
    assert receipt is not None
    assert (receipt.member, receipt.bytes, receipt.checked) == (name, len(SCENES), ["crc32"])
    assert receipt.sha256 == hashlib.sha256(SCENES).hexdigest()


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED], ids=["stored", "deflated"])
def test_a_member_of_a_zip64_archive(
    server: Server, tmp_path: Path, method: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(zipfile, "ZIP64_LIMIT", 1000)
        patch.setattr(zipfile, "ZIP_FILECOUNT_LIMIT", 2)
        url = archive(server, method)
    assert b"PK\x06\x06" in server.files["/all.zip"].content  # the ZIP64 end of the central directory
    fetch([member(url)], tmp_path)
    assert (tmp_path / "scenes.h5").read_bytes() == SCENES


def test_a_member_comes_in_pieces_and_goes_on_after_a_failure(server: Server, tmp_path: Path) -> None:
    remote = member(archive(server, zipfile.ZIP_STORED))
    status([remote], tmp_path)
    before = server.sent
    served = server.files["/all.zip"]
    served.faults = [None] * len(server.log) + [Fault(drop_after=30_000), Fault(404)]
    with pytest.raises(ObjbenchError, match="404"):
        fetch([remote], tmp_path, connections=1)
    fetch([remote], tmp_path)
    assert (tmp_path / "scenes.h5").read_bytes() == SCENES
    assert server.sent == 3 * before + len(SCENES)  # looking for the member three times, and the member once


def test_an_empty_member(server: Server, tmp_path: Path) -> None:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as packed:
        packed.writestr("scenes.h5", b"")
    server.files["/all.zip"] = Served(file.getvalue())
    fetch([member(server.url("/all.zip"))], tmp_path)
    assert (tmp_path / "scenes.h5").read_bytes() == b""


@pytest.mark.parametrize(
    ("method", "message"),
    [
        (zipfile.ZIP_STORED, "what it gave is damaged, or not the file that was published: its crc32 is"),
        (zipfile.ZIP_DEFLATED, "the zip member is damaged: Error -3"),
    ],
    ids=["stored", "deflated"],
)
def test_a_damaged_member_is_refused_and_removed(
    server: Server, tmp_path: Path, method: int, message: str
) -> None:
    url = archive(server, method)
    served = server.files["/all.zip"]
    content = bytearray(served.content)
    with zipfile.ZipFile(io.BytesIO(served.content)) as packed:
        info = packed.getinfo("data/scenes.h5")
    content[info.header_offset + 30 + len(info.filename) + info.compress_size // 2] ^= 0xFF
    served.content = bytes(content)
    with pytest.raises(ObjbenchError, match=message):
        fetch([member(url)], tmp_path)
    assert {path.name for path in tmp_path.iterdir()} <= {".scenes.h5.lock"}


@pytest.mark.parametrize(
    ("offset", "value", "message"),
    [
        (16, bytes(4), r"its crc32 is [0-9a-f]{8}, published is 00000000"),
        (8, b"\1\0", r"member data/scenes\.h5: encrypted"),
        (42, b"\1\0\0\0", r"member data/scenes\.h5: not where the zip's directory says"),
        (24, b"\1\0\0\0", r"the zip member inflates to more than the 1 bytes that its zip says"),
    ],
    ids=["crc32", "encrypted", "place", "size"],
)
def test_a_directory_that_is_wrong(
    server: Server, tmp_path: Path, offset: int, value: bytes, message: str
) -> None:
    url = archive(server)
    content = bytearray(server.files["/all.zip"].content)
    entry = content.rindex(b"data/scenes.h5") - 46  # the fields of the directory: APPNOTE 4.3.12
    content[entry + offset : entry + offset + len(value)] = value
    server.files["/all.zip"].content = bytes(content)
    with pytest.raises(ObjbenchError, match=message):
        fetch([member(url)], tmp_path)
    assert not (tmp_path / "scenes.h5").exists()


def test_a_missing_member_names_the_nearest(server: Server, tmp_path: Path) -> None:
    remote = member(archive(server), "data/scene.h5")
    expected = r"no member data/scene\.h5; of its 3 the nearest: data/scenes\.h5, data/scenes_test\.h5"
    with pytest.raises(ObjbenchError, match=expected):
        fetch([remote], tmp_path)


def test_an_ambiguous_member_names_the_choice(server: Server, tmp_path: Path) -> None:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as packed:
        packed.writestr("a/scenes.h5", SCENES)
        packed.writestr("b/scenes.h5", SCENES)
    server.files["/all.zip"] = Served(file.getvalue())
    with pytest.raises(ObjbenchError, match=r"several members scenes\.h5: a/scenes\.h5, b/scenes\.h5"):
        fetch([member(server.url("/all.zip"))], tmp_path)


@pytest.mark.parametrize("content", [b"short", NOISE], ids=["short", "noise"])
def test_something_else_than_a_zip(server: Server, tmp_path: Path, content: bytes) -> None:
    server.files["/all.zip"] = Served(content)
    with pytest.raises(
        ObjbenchError, match=r"all\.zip: not a zip archive that can be read: File is not a zip"
    ):
        fetch([member(server.url("/all.zip"))], tmp_path)


def test_a_method_that_is_not_read(server: Server, tmp_path: Path) -> None:
    url = archive(server, zipfile.ZIP_LZMA)
    with pytest.raises(ObjbenchError, match=r"member data/scenes\.h5: compressed by method 14, not deflate"):
        fetch([member(url)], tmp_path)


def test_a_server_without_ranges_would_have_to_send_the_whole_zip(server: Server, tmp_path: Path) -> None:
    url = archive(server, ranges=False)
    with pytest.raises(ObjbenchError, match=r"gives no parts of its files, and the zip is [\d,]+ bytes"):
        fetch([member(url)], tmp_path)


def test_the_space_covers_the_packed_and_the_unpacked_form(server: Server, tmp_path: Path) -> None:
    (item,) = status([member(archive(server))], tmp_path).items
    assert item.bytes == packed_size(server)
    assert item.space == packed_size(server) + len(SCENES)


def test_the_zip_of_a_zenodo_record(server: Server, tmp_path: Path) -> None:
    link = archive(server)
    files = [
        {"key": "all.zip", "checksum": "md5:of the whole zip", "links": {"self": link}},
        {"key": "readme.md", "checksum": "md5:0", "links": {"self": server.url("/readme.md")}},
    ]
    server.files["/api/records/1"] = Served(json.dumps({"files": files}).encode())
    fetch([member(server.url("/api/records/1"))], tmp_path)
    assert (tmp_path / "scenes.h5").read_bytes() == SCENES
