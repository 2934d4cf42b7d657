"""A method whose file is gone is found among the copies that runs keep."""

from __future__ import annotations

import json

import pytest
from helpers import plain

from objbench.errors import RequestError
from objbench.methods.plain_file import read_file
from objbench.train.copies import copy_among


def keep(runs, file, seed, dataset="tetrominoes"):
    folder = runs / dataset / "generated/mine.Mine" / f"seed-{seed}"
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps({"implementation": file.implementation}))
    (folder / "method.py").write_bytes(file.source)
    return folder


def test_the_copy_of_a_file_by_its_name_and_class(tmp_path):
    path, runs = plain.write(tmp_path), tmp_path / "runs"
    file = read_file(path)
    keep(runs, file, 0)
    keep(runs, file, 1, "clevr6")
    for kind in (None, "Mine"):
        found = copy_among(runs, path, kind)
        assert found.implementation == file.implementation
    assert copy_among(runs, path, "Other") is None
    assert copy_among(runs, tmp_path / "other.py", None) is None
    assert copy_among(tmp_path / "nowhere", path, None) is None


def test_several_versions_and_damaged_copies(tmp_path):
    path, runs = plain.write(tmp_path), tmp_path / "runs"
    first = keep(runs, read_file(path), 0)
    second = keep(runs, read_file(plain.write(tmp_path, text=plain.TEXT + "\n")), 1)
    with pytest.raises(RequestError, match="the runs have several versions of it") as caught:
        copy_among(runs, path, "Mine")
    assert str(first / "method.py") in str(caught.value)
    assert str(second / "method.py") in str(caught.value)
    (first / "method.py").write_text("other")
    assert copy_among(runs, path, "Mine").path == second / "method.py"
