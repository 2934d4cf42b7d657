"""A folder to call commands in, with a small dataset of its own."""

from __future__ import annotations

from pathlib import Path

import pytest
from helpers import toy
from helpers.commands import call_with_toy


@pytest.fixture
def toy_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder: toy.yaml describes the dataset `toy`; data and runs go to their default places."""
    toy.register(monkeypatch)
    (tmp_path / "toy.yaml").write_text(toy.YAML)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("OBJBENCH_DATA", raising=False)
    monkeypatch.delenv("OBJBENCH_RUNS", raising=False)
    return tmp_path


@pytest.fixture
def prepared_toy(toy_home: Path) -> Path:
    """The folder in which `toy` is prepared."""
    assert call_with_toy("prepare", "toy", "--workers", "1").exit_code == 0
    return toy_home / "data/toy/toy"
