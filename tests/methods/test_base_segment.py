"""Every method refuses what is no batch of images, in the same words."""

from __future__ import annotations

import re

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.optim import SGD

from objbench.errors import ObjbenchError, RequestError
from objbench.methods.base import Losses, Method, Segmentation, Stage
from objbench.methods.create import create
from objbench.spec.load import load_spec

METHODS = {name: next(iter(method.datasets), "tetrominoes") for name, method in load_spec().methods.items()}


@pytest.mark.parametrize(("name", "dataset"), METHODS.items())
def test_one_image_without_an_axis_of_batches(name, dataset):
    with FakeTensorMode():  # shapes without values: the networks cost nothing
        method = create(name, dataset)
        expected = (
            f"expected float images in [0,1] of shape (B,{','.join(map(str, method.image_shape))}), got "
        )
        found = f"float32 {method.image_shape}; images[None] is a batch of one"
        with pytest.raises(RequestError, match=re.escape(expected + found)):
            method.segment(torch.zeros(method.image_shape))
        for images, found in (
            (torch.zeros(2, *method.image_shape, dtype=torch.uint8), "images / 255 is float"),
            (torch.zeros(2, 1, *method.image_shape[1:]), "float32 (2, 1, "),
            ("a.png", "str"),
        ):
            with pytest.raises(RequestError, match=re.escape(expected) + ".*" + re.escape(found)):
                method.segment(images)


@pytest.mark.parametrize("name", ["one_slot", "grid", "color_kmeans"])
def test_no_images_have_no_segments(name):
    found = create(name, "tetrominoes").segment(torch.zeros(0, 3, 35, 35))
    assert found.prediction.shape == (0, 35, 35)
    assert found.slots.shape[::2] == (0, 9)


def test_a_batch_reaches_the_method():
    class Mine(Method):
        def segment(self, images, progress=None):
            return Segmentation(labels=images[:, 0].long(), extras={"progress": progress})

    mine = Mine((3, 2, 2), 2, settings=None)
    images = torch.ones(1, 3, 2, 2)
    found = mine.segment(images, "then")
    assert (found.labels == 1).all()
    assert found.extras["progress"] == "then"
    assert Mine.segment.__name__ == "segment"


@pytest.mark.parametrize(
    ("hook", "given", "message"),
    [
        ("segment", None, "Mine.segment gave a NoneType: expected Segmentation(masks=...) or Segmentation(labels=...)"),
        ("segment", {}, "Mine.segment gave a dict: expected Segmentation"),
        ("training_loss", torch.zeros(()), "Mine.training_loss gave a Tensor: expected Losses(total)"),
        ("training_loss", Losses(torch.zeros(2)), "Mine.training_loss gave a total of shape (2,): expected a scalar tensor"),
        ("training_loss", Losses(torch.zeros(()), parts=3), "Mine.training_loss gave parts of the type int: expected a mapping"),
        ("stages", None, "Mine.stages gave a NoneType: expected a list of Stage(...)"),
        ("stages", [1], "Mine.stages gave a int: expected a list of Stage(...)"),
        ("training_loss", Losses(1.0), "Mine.training_loss gave a total of float: expected a scalar tensor"),
        ("optimizers", SGD([torch.zeros(1)]), "Mine.optimizers gave a SGD: expected a list of pairs (optimizer, learning"),
        ("optimizers", [SGD([torch.zeros(1)])], "Mine.optimizers gave a list with a SGD: expected pairs (optimizer, "),
        ("optimizers", [(SGD([torch.zeros(1)]), 0.1)], "Mine.optimizers gave a list with a tuple: expected pairs"),
    ],
)  # fmt: skip
def test_what_a_hook_must_give(hook, given, message):
    kind = type("Mine", (Method,), {hook: lambda self, *arguments: given})
    mine = kind((3, 2, 2), 2, settings=None)
    usual = (torch.zeros(1, 3, 2, 2), None)
    arguments = {"optimizers": (Stage("train"),), "stages": ()}.get(hook, usual)
    with pytest.raises(ObjbenchError, match=re.escape(message)):
        getattr(mine, hook)(*arguments)


def test_a_loss_of_one_value_and_a_tuple_of_pairs_will_do():
    pair = (SGD([torch.zeros(1)]), lambda progress: 0.1)
    hooks = {
        "training_loss": lambda self, *arguments: Losses(torch.ones(1)),
        "optimizers": lambda self, stage: (pair,),
        "stages": lambda self: (Stage("train"),),
    }
    mine = type("Mine", (Method,), hooks)((3, 2, 2), 2, settings=None)
    assert mine.training_loss(torch.zeros(1, 3, 2, 2), None).total == 1
    assert mine.optimizers(Stage("train")) == [pair]
    assert mine.stages() == [Stage("train")]


def test_a_segmentation_shows_shapes():
    found = Segmentation(
        masks=torch.zeros(2, 3, 4, 4),
        slots=torch.zeros(2, 3, 8),
        partition=False,
        extras={"boxes": torch.zeros(2, 3, 4)},
    )
    assert (
        repr(found)
        == "Segmentation(masks (2, 3, 4, 4), slots (2, 3, 8), extras.boxes (2, 3, 4); no partition)"
    )
