from __future__ import annotations

from pathlib import Path

import pytest

from objbench.folders import data_folder


def test_the_data_is_where_the_caller_the_environment_or_nobody_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OBJBENCH_DATA", "/there")
    assert data_folder("here") == Path("here")
    assert data_folder() == Path("/there")
    monkeypatch.setenv("OBJBENCH_DATA", "")
    assert data_folder() == Path("data")
