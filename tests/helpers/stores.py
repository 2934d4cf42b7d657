"""An S3 server on this machine, and a road to it that can be blocked in the middle of a put."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

import pytest

from objbench.folders import data_folder
from objbench.stores import Store


@contextmanager
def serving() -> Iterator[str]:
    """The address of an S3 server that knows no bucket."""
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        yield f"http://{host}:{port}"
    finally:
        server.stop()


def use(monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    """Let s3:// mean the server at this address, for this process and those that it starts."""
    import fsspec

    variables = {
        "AWS_ENDPOINT_URL": address,
        "AWS_ACCESS_KEY_ID": "key",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_MAX_ATTEMPTS": "1",
    }
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("objbench.stores._answered", set())
    fsspec.get_filesystem_class("s3").clear_instance_cache()


def make_bucket(name: str) -> None:
    import s3fs

    s3fs.S3FileSystem().mkdir(name)


def store(url: str) -> Store:
    found = data_folder(url)
    assert isinstance(found, Store)
    return found


class BlockedRoad:
    """Passes everything on to a server, but of one object only the beginning: where it is put, or where it is got.

    Attributes:
        address: Of this end.
        blocked: Set once the object stands still.
    """

    def __init__(self, address: str, name: str, get: bool = False, most: int = 100) -> None:
        self._to, self._name, self._get, self._most = urlsplit(address), name.encode(), get, most
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.address = f"http://127.0.0.1:{self._socket.getsockname()[1]}"
        self.blocked = threading.Event()
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._socket.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                near, _ = self._socket.accept()
                far = socket.create_connection((self._to.hostname, self._to.port))
                asked = threading.Event()  # the object, on this connection
                for way in ((near, far, True), (far, near, False)):
                    threading.Thread(target=self._pass, args=(*way, asked), daemon=True).start()

    def _pass(
        self, source: socket.socket, target: socket.socket, forth: bool, asked: threading.Event
    ) -> None:
        """Pass on what comes, in one direction, until the end of the connection."""
        left = self._most
        method = b"GET " if self._get else b"PUT "
        with contextlib.suppress(OSError), source, target:
            while data := source.recv(1 << 16):
                if forth and data.startswith(method) and data.split()[1].endswith(self._name):
                    asked.set()
                    if not self._get:
                        head, line, data = data.partition(b"\r\n\r\n")
                        target.sendall(head + line)
                if not asked.is_set() or forth == self._get:
                    target.sendall(data)
                    continue
                target.sendall(data[:left])
                left -= len(data[:left])
                if left == 0:
                    self.blocked.set()
