"""objbench publish, as a user gives it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from helpers.commands import call_with_toy

import objbench

SHORT = ("--set", "recipe.steps=2", "--set", "recipe.batch_size=4")


@pytest.mark.usefixtures("prepared_toy")
def test_state_that_is_no_tensor_goes_along():
    (run,) = json.loads(call_with_toy("run", "toy_geco", "--dataset", "toy", *SHORT, "--json").stdout)
    result = call_with_toy("publish", run["folder"], "--output", "model", "--json")
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    names = ["README.md", "model.safetensors", "config.json", "checkpoint.pt", "example.py", "result.json"]
    assert found == {"folder": "model", "files": [f"model/{name}" for name in names], "address": None}
    opened, original = (
        objbench.open_run(folder, config=Path("toy.yaml")).method for folder in ("model", run["folder"])
    )
    assert opened.get_extra_state() == original.get_extra_state()
