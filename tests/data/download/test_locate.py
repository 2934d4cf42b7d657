"""Records of Zenodo stand for the files that they describe."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
from helpers.downloads import CONTENT, offer
from helpers.server import Served, Server

from objbench.data.download import Remote, fetch, read_receipt
from objbench.errors import ObjbenchError


def record(server: Server, *keys: str) -> str:
    """Put the description of a Zenodo record on the server."""
    files = [
        {
            "key": key,
            "checksum": f"md5:{hashlib.md5(CONTENT).hexdigest()}",
            "links": {"self": server.url(f"/{key}")},
        }
        for key in keys
    ]
    path = "/api/records/4895643"
    server.files[path] = Served(json.dumps({"files": files}).encode(), content_type="application/json")
    return server.url(path)


def test_a_zenodo_record_stands_for_its_file(server: Server, tmp_path: Path) -> None:
    offer(server)
    fetch([Remote(name="scenes.h5", urls=(record(server, "readme.md", "scenes.h5"),))], tmp_path)
    receipt = read_receipt(tmp_path / "scenes.h5")
    assert receipt is not None
    assert (receipt.url, receipt.checked) == (server.url("/scenes.h5"), ["md5"])


def test_a_zenodo_record_without_the_file(server: Server, tmp_path: Path) -> None:
    url = record(server, "readme.md", "other.h5")
    with pytest.raises(ObjbenchError, match=r"should hold scenes\.h5; it holds other\.h5, readme\.md"):
        fetch([Remote(name="scenes.h5", urls=(url,))], tmp_path)


def test_something_else_than_a_zenodo_record(server: Server, tmp_path: Path) -> None:
    url = record(server)
    server.files["/api/records/4895643"].content = b'{"status": 410}'
    with pytest.raises(ObjbenchError, match="not the description of a Zenodo record"):
        fetch([Remote(name="scenes.h5", urls=(url,))], tmp_path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"files": [{"key": "scenes.h5", "links": {"self": "file:///etc/passwd"}}]}', "file:///etc/passwd: not an http"),
        ('{"files": [{"key": "scenes.h5", "links": {"self": 5}}]}', "links.self is 5, not an address"),
        ('{"files": [{"key": "scenes.h5", "links": {"self": "http://[::1/x"}}]}', "not an http or https address"),
        ('{"files": [{"key": "scenes.h5", "links": {"self": "http://127.0.0.1/\\u001b\\n x"}}]}', "could not be"),
        ('{"files": [{"key": "\\ud800\\u001b[31m"}]}', r"it holds \\ud800\\x1b\[31m"),
        ("[" * 100_000, "nested too deeply"),
        ('{"files": ' + "9" * 5000 + "}", "not the description of a Zenodo record"),
        ("[1]", "not the description of a Zenodo record"),
    ],
    ids=["file", "number", "bad host", "control", "escapes", "deep", "digits", "list"],
)  # fmt: skip
def test_a_zenodo_record_that_lies(server: Server, tmp_path: Path, content: str, message: str) -> None:
    url = record(server)
    server.files["/api/records/4895643"].content = content.encode()
    with pytest.raises(ObjbenchError, match=message) as caught:
        fetch([Remote(name="scenes.h5", urls=(url,))], tmp_path)
    assert str(caught.value).isprintable()
    assert not list(tmp_path.iterdir())
