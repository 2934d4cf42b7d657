"""A method whose extra state could not be loaded again is refused before a training."""

from __future__ import annotations

import pytest
import torch
from objbench_toys.methods import ToyGeco

from objbench.errors import ObjbenchError
from objbench.methods.base import Method
from objbench.methods.create import create


@pytest.mark.parametrize(
    ("hooks", "message"),
    [
        ({"get_extra_state": lambda self: {"seen": 3}}, "does not take its own state back .*: write set_extra_state"),
        ({"get_extra_state": lambda self: torch.ones(3)}, "does not take its own state back .*: write set_extra_state"),
        ({"get_extra_state": lambda self: {"a": object()}, "set_extra_state": lambda self, state: None}, "get_extra_state gave what no checkpoint can hold: expected tensors"),
        ({"get_extra_state": lambda self: {"a": lambda: 1}, "set_extra_state": lambda self, state: None}, "get_extra_state gave what no checkpoint can hold: expected tensors"),
        ({"get_extra_state": lambda self: 3, "set_extra_state": lambda self, state: None, "stages": lambda self: []}, "has no stages, so that no checkpoint is written, and extra state that is no tensor"),
        ({"get_extra_state": lambda self: self.later}, "gives no state when it has just been made .*: what get_extra_state gives"),
    ],
    ids=range(6),
)  # fmt: skip
def test_extra_state_that_could_not_be_loaded_is_refused_before_a_training(monkeypatch, hooks, message):
    for name in ("get_extra_state", "set_extra_state", "stages"):
        monkeypatch.setattr(ToyGeco, name, hooks.get(name, getattr(Method, name)))
    with pytest.raises(ObjbenchError, match=rf"ToyGeco.*{message}"):
        create("toy_geco", "tetrominoes")
