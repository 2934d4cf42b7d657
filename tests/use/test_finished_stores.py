"""A finished run in an object store at work: opened by its URL or below that of the runs, segmented with, published."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from helpers.commands import call, refused
from PIL import Image

import objbench
from objbench.errors import RequestError
from objbench.stores import Store
from objbench.use.weights import shipped_weights

NAME = "objmae-small-tetrominoes"
BELOW = "tetrominoes/generated/objmae-small/seed-0"


@pytest.fixture(params=["memory", "s3"])
def runs(request) -> Store:
    """A folder of runs in a store."""
    runs = request.getfixturevalue(request.param) / "runs"
    for path in shipped_weights()[NAME].iterdir():
        if path.is_file():
            (runs / BELOW / path.name).put(path)
    return runs


def test_a_run_is_opened_by_its_url_and_by_its_name_below_that_of_the_runs(runs):
    images = objbench.generate("tetrominoes", 2, seed=3).images
    original = objbench.open_run(NAME).segment(images).labels
    assert original.max() > 0
    for opened in (objbench.open_run(f"{runs}/{BELOW}"), objbench.open_run(BELOW, runs=str(runs))):
        assert opened.record.seed == 0
        assert torch.equal(opened.segment(images).labels, original)
    with pytest.raises(RequestError, match="no such file or folder in this store"):
        objbench.open_run(f"{runs}/nothing")


def test_the_commands_take_it(runs, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Image.new("RGB", (40, 40)).save("black.png")
    result = call("segment", f"{runs}/{BELOW}", "black.png", "--output", "out")
    assert result.exit_code == 0, result.output
    assert Path("out/black.png").is_file()
    result = call("publish", BELOW, "--runs", runs, "--output", "model", "--licence", "apache-2.0")
    assert result.exit_code == 0, result.output
    weights = shipped_weights()[NAME] / "model.safetensors"
    assert Path("model/model.safetensors").read_bytes() == weights.read_bytes()
    assert "found no run there" in refused(
        2, "segment", "nothing", "black.png", "--runs", runs, "--output", "x"
    )
