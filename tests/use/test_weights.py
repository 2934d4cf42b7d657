"""The weights that the package ships are whole, small, and those of their records."""

from __future__ import annotations

import pytest

from objbench.files import sha256_of
from objbench.records import Run, read_record
from objbench.use.weights import shipped_weights


@pytest.mark.parametrize(("name", "folder"), shipped_weights().items())
def test_shipped_weights_are_those_of_their_record(name, folder):
    record = read_record(folder)
    assert isinstance(record, Run)
    assert folder.name == name
    assert record.weights_sha256 == sha256_of(folder / "model.safetensors")
    assert (folder / "model.safetensors").stat().st_size < 10_000_000
    assert "dirty" not in record.code_version
    assert record.scored["test"].standard
    assert "\nlicense: apache-2.0\n" in (folder / "README.md").read_text()


def test_objmae_ships_weights():
    assert list(shipped_weights()) == ["objmae-demo-tetrominoes", "objmae-demo-tetrominoes-aligned"]
