"""The dataset `toy`, prepared."""

from __future__ import annotations

from pathlib import Path

import pytest
from helpers import toy

from objbench.data.prepare.prepare import prepare
from objbench.spec.load import load_spec


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder in which `toy` is prepared; toy.yaml in it describes it."""
    toy.register(monkeypatch)
    (tmp_path / "toy.yaml").write_text(toy.YAML)
    prepare(load_spec(tmp_path / "toy.yaml").dataset("toy"), "toy", tmp_path, workers=1)
    return tmp_path
