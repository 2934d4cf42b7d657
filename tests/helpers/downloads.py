"""What the tests of downloads share: a file on the server, and one whose download broke off."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from helpers.server import Fault, Served, Server
from objbench.data.download import Remote, fetch
from objbench.errors import ObjbenchError

CONTENT = bytes(hashlib.shake_128(b"scenes").digest(300_000))
SHA256 = hashlib.sha256(CONTENT).hexdigest()
PROBE = 1  # byte, which a server is asked for first


def offer(server: Server, content: bytes = CONTENT, path: str = "/scenes.h5", **habits: object) -> Remote:
    """Put a file on the server."""
    server.files[path] = Served(content, **habits)  # type: ignore[arg-type]
    return Remote(name="scenes.h5", urls=(server.url(path),))


def names(folder: Path) -> set[str]:
    """The files in a folder, but for the lock."""
    return {path.name for path in folder.iterdir()} - {".scenes.h5.lock"}


def interrupted(remote: Remote, server: Server, folder: Path) -> int:
    """Begin a download that breaks off; the number of bytes that have arrived."""
    server.files["/scenes.h5"].faults = [None, Fault(drop_after=60_000), Fault(404)]
    with pytest.raises(ObjbenchError, match=r"404 Not Found\. Try again later \(what has arrived is kept\)"):
        fetch([remote], folder, connections=1)
    server.log.clear()
    return 60_000
