"""A server on this machine, and downloads that pause without waiting."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from helpers.server import Server, serving

from objbench.data.download import patience, transfer


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The pauses that a download makes between attempts; they take no time here."""
    waited: list[float] = []
    monkeypatch.setattr(patience, "pause", lambda seconds, stopped: waited.append(seconds))
    for name in ("http_proxy", "https_proxy", "no_proxy", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    return waited


@pytest.fixture
def server(pauses: list[float], monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """A server that misbehaves as told; downloads come in pieces of 100,000 bytes."""
    monkeypatch.setattr(transfer, "SMALLEST_PIECE", 100_000)
    monkeypatch.setattr(transfer, "SAVE_SECONDS", 0.01)
    with serving() as server:
        yield server
