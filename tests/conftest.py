"""Make the toy plugin visible like an installed package, and give each test its own folders of data and runs."""

from __future__ import annotations

import hashlib
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")  # tensors are small here, threads only slow each other down

import pytest
import torch

if not torch.cuda.is_available():  # chosen before anything imports Triton, and kept
    os.environ["TRITON_INTERPRET"] = "1"
pytest.register_assert_rewrite("helpers")

from helpers import stores
from helpers.paths import PLUGINS

from objbench.stores import Store

SIZES = {"train": 24, "val": 6, "test": 10}
sys.path.insert(0, str(PLUGINS))
signal.signal(
    signal.SIGINT, signal.default_int_handler
)  # a shell ignores it in background jobs; tests send it


@pytest.fixture(autouse=True)
def _own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No test reads or writes the data, the runs or the settings of the person who starts it."""
    monkeypatch.setenv("OBJBENCH_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("OBJBENCH_RUNS", str(tmp_path / "runs"))
    monkeypatch.setenv("OBJBENCH_CACHE", str(tmp_path / "cache"))


@pytest.fixture(scope="session")
def s3_server() -> Iterator[str]:
    """The address of an S3 server on this machine."""
    with stores.serving() as address:
        yield address


@pytest.fixture
def s3(s3_server: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Store:
    """A bucket of this test alone."""
    stores.use(monkeypatch, s3_server)
    name = f"b{hashlib.sha256(request.node.nodeid.encode()).hexdigest()[:20]}"
    stores.make_bucket(name)
    return Store(f"s3://{name}/sets")


@pytest.fixture
def memory() -> Iterator[Store]:
    """An empty store in the memory of this process."""
    import fsspec

    fsspec.filesystem("memory").store.clear()  # of what a test without this fixture has left
    yield Store("memory://sets")
    fsspec.filesystem("memory").store.clear()


@pytest.fixture(scope="session")
def prepared_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """24 / 6 / 10 generated scenes of tetrominoes and of tetrominoes@aligned."""
    from objbench.data.prepare.prepare import prepare
    from objbench.spec.load import load_spec

    data = tmp_path_factory.mktemp("data")
    for name in ("tetrominoes", "tetrominoes@aligned"):
        prepare(load_spec().dataset(name), "generated", data, sizes=SIZES, workers=1)
    return data
