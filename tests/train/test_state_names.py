"""A training ends where what it would save could not be loaded, or would not be trained."""

from __future__ import annotations

import re

import pytest
import torch
from objbench_toys.methods import ToyGeco
from torch import nn

from objbench.errors import ObjbenchError
from objbench.methods.create import create
from objbench.testing import random_scenes
from objbench.train.checkpoint import load_checkpoint
from objbench.train.loop import Training

IMAGES = random_scenes(7, (3, 35, 35))


def train(folder, monkeypatch, **hooks):
    """A training of eight steps, with a checkpoint after every second, of a method with these hooks."""
    monkeypatch.setattr("objbench_toys.methods.ToyGeco", type("Mine", (ToyGeco,), hooks))
    method = create("toy_geco", "tetrominoes", **{"recipe.checkpoint_steps": 2})
    Training(method, IMAGES, 0, folder).run()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda method: setattr(method, "late", nn.Parameter(torch.ones(2))),
            "Mine registers 'late' in setup or later: make it in __init__",
        ),
        (
            lambda method: method.register_buffer("multiplier", torch.ones(3)),
            "Mine changes the shape of 'multiplier' from () to (3,) in setup or later: give it this shape in __init__",
        ),
        (
            lambda method: method.register_buffer("multiplier", None),
            "Mine removes 'multiplier' in setup or later: keep what __init__ makes",
        ),
    ],
)
def test_setup_leaves_names_and_shapes_as_they_were(tmp_path, monkeypatch, change, message):
    with pytest.raises(ObjbenchError, match=f"^{re.escape(message)}$"):
        train(tmp_path, monkeypatch, setup=lambda self, images, stage: change(self))
    assert load_checkpoint(tmp_path) is None


def test_setup_may_change_values_and_fill_a_lazy_layer(tmp_path, monkeypatch):
    def init(self, *arguments):
        ToyGeco.__init__(self, *arguments)
        self.lazy = nn.LazyLinear(2)

    def setup(self, images, stage):
        self.colors.fill_(0.5)
        self.lazy(images.flatten(1))

    train(tmp_path, monkeypatch, __init__=init, setup=setup)
    assert load_checkpoint(tmp_path).method["lazy.weight"].shape == (2, 3 * 35 * 35)


def test_what_a_loss_registers_is_refused_before_it_is_saved(tmp_path, monkeypatch):
    def training_loss(self, images, progress):
        if progress.step == 3:
            self.late = nn.Parameter(torch.ones(2))
        return ToyGeco.training_loss(self, images, progress)

    with pytest.raises(ObjbenchError, match="Mine registers 'late' in setup or later: make it in __init__"):
        train(tmp_path, monkeypatch, training_loss=training_loss)
    assert load_checkpoint(tmp_path).step == 2


def test_a_parameter_that_is_replaced_would_not_be_trained(tmp_path, monkeypatch):
    def after_step(self, progress, losses, optimizers):
        self.colors = nn.Parameter(self.colors.detach() / 2)

    message = "Mine replaces the parameter 'colors' while a stage runs, so that no optimizer has it: change its values"
    with pytest.raises(ObjbenchError, match=message):
        train(tmp_path, monkeypatch, after_step=after_step)


def test_setup_may_replace_a_parameter(tmp_path, monkeypatch):
    def setup(self, images, stage):
        self.colors = nn.Parameter(torch.full_like(self.colors, 0.5))

    train(tmp_path, monkeypatch, setup=setup)
    assert (load_checkpoint(tmp_path).method["colors"] != 0.5).any()


def test_extra_state_may_grow(tmp_path, monkeypatch):
    def after_step(self, progress, losses, optimizers):
        self.history = [*getattr(self, "history", []), progress.step]

    train(
        tmp_path,
        monkeypatch,
        after_step=after_step,
        get_extra_state=lambda self: torch.tensor(getattr(self, "history", [])),
        set_extra_state=lambda self, state: setattr(self, "history", state.tolist()),
    )
    assert load_checkpoint(tmp_path).method["_extra_state"].tolist() == list(range(8))
