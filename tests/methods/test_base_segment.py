"""Every method refuses what is no batch of images, and what its hooks may not give, in the same words."""

from __future__ import annotations

import math
import re
from contextlib import nullcontext
from fractions import Fraction

import numpy as np
import pytest
import torch
from helpers.default_dtype import float64_by_default
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.optim import LBFGS, SGD

from objbench.errors import ObjbenchError, RequestError
from objbench.methods.base import Losses, Method, Progress, Segmentation, Stage
from objbench.methods.create import create
from objbench.spec.load import load_spec

SPEC = load_spec()
METHODS = {name: next(iter(method.datasets), "tetrominoes") for name, method in SPEC.methods.items()}
BUILT_IN = {name: METHODS[name] for name in METHODS if SPEC.method_class(name).startswith("objbench.")}
LEARNED = {name: dataset for name, dataset in BUILT_IN.items() if not SPEC.method(name).trivial}


@pytest.mark.parametrize(("name", "dataset"), METHODS.items())
def test_one_image_without_an_axis_of_batches(name, dataset):
    with FakeTensorMode():  # shapes without values: the networks cost nothing
        method = create(name, dataset)
        expected = (
            f"expected float32 images in [0,1] of shape (B,{','.join(map(str, method.image_shape))}), got "
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


@pytest.mark.parametrize(
    ("images", "got"),
    [
        (torch.full((1, 3, 35, 35), 255.0), "values from 255 to 255"),
        (torch.linspace(-1, 1, 3675).reshape(1, 3, 35, 35), "values from -1 to 1"),
        (torch.full((1, 3, 35, 35), torch.nan), "values from nan to nan"),
        (torch.zeros(1, 3, 35, 35, dtype=torch.float64), "float64 (1, 3, 35, 35); images.float() is"),
    ],
)
def test_images_of_other_values_or_types_are_refused(images, got):
    with pytest.raises(RequestError, match=re.escape(got)):
        create("grid", "tetrominoes").segment(images)


@pytest.mark.parametrize(("name", "dataset"), LEARNED.items())
def test_images_of_another_size_are_refused(name, dataset):
    with FakeTensorMode():
        method = create(name, dataset)
        channels, height, width = method.image_shape
        with pytest.raises(RequestError, match="was built for images of "):
            method.segment(torch.zeros(1, channels, height + 1, width))


@pytest.mark.parametrize("name", ["one_slot", "grid", "color_kmeans"])
def test_no_images_have_no_segments(name):
    found = create(name, "tetrominoes").segment(torch.zeros(0, 3, 35, 35))
    assert found.prediction.shape == (0, 35, 35)
    assert found.slots.shape[::2] == (0, 9)


def test_a_batch_reaches_the_method():
    class Mine(Method):
        def segment(self, images, progress=None):
            return Segmentation(
                labels=images[:, 0].long(), extras={"double": progress * images.sum((1, 2, 3))}
            )

    mine = Mine((3, 2, 2), 2, settings=None)
    images = torch.ones(1, 3, 2, 2)
    found = mine.segment(images, 2)
    assert (found.labels == 1).all()
    assert found.extras["double"].tolist() == [24]
    assert Mine.segment.__name__ == "segment"


class Weighted(Method):
    """A method with a parameter, whose hooks give what a test wants."""

    def __init__(self, *arguments):
        super().__init__(*arguments)
        self.weight = nn.Parameter(torch.ones(1))


SETTINGS = create("one_slot", "tetrominoes").settings


def made(**given):
    """Such a method; a hook that is a function is called with the method alone."""

    def hook(value):
        return lambda self, *arguments: value(self) if callable(value) else value

    kind = type("Mine", (Weighted,), {name: hook(value) for name, value in given.items()})
    return kind((3, 2, 2), 2, SETTINGS)


def call(mine, hook):
    arguments = {"optimizers": (STAGE,), "stepper": (None, STAGE), "stages": ()}
    return getattr(mine, hook)(*arguments.get(hook, (torch.zeros(2, 3, 2, 2), None)))


STAGE, TOTAL = Stage("train"), torch.ones((), requires_grad=True)


def sgd(*tensors):
    return SGD(list(tensors)), lambda progress: 0.1


@pytest.mark.parametrize(
    ("hook", "given", "message"),
    [
        ("segment", None, "Mine.segment gave a NoneType: expected Segmentation(masks=...) or Segmentation(labels=...)"),
        ("segment", {}, "Mine.segment gave a dict: expected Segmentation"),
        ("training_loss", torch.zeros(()), "Mine.training_loss gave a Tensor: expected Losses(total)"),
        ("training_loss", Losses(torch.zeros(2)), "Mine.training_loss gave a total of shape (2,): expected a scalar tensor"),
        ("training_loss", Losses(TOTAL, parts=3), "Mine.training_loss gave parts of the type int: expected a mapping"),
        ("training_loss", Losses(1.0), "Mine.training_loss gave a total of float: expected a scalar tensor"),
        ("training_loss", Losses(TOTAL.detach()), "Mine.training_loss gave a total that depends on no parameter: expected one"),
        ("training_loss", Losses(TOTAL, {"a": torch.ones(()) * 1j}),
         "Mine.training_loss gave the part 'a' of complex numbers of shape (): expected a scalar tensor of a real number"),
        ("training_loss", Losses(TOTAL, {"a": 0.5}), "Mine.training_loss gave the part 'a' of float: expected a scalar tensor"),
        ("training_loss", Losses(TOTAL, {"a": torch.ones(2)}), "Mine.training_loss gave the part 'a' of shape (2,): expected"),
        ("training_loss", Losses(TOTAL, {"total": TOTAL}), "gave a part of the name 'total': expected a word other than 'total'"),
        ("training_loss", Losses(TOTAL, {1: TOTAL}), "gave a part of the name 1: expected a word other than 'total'"),
        ("stages", None, "Mine.stages gave a NoneType: expected a list of Stage(...)"),
        ("stages", [1], "Mine.stages gave a int: expected a list of Stage(...)"),
        ("stages", [Stage("a"), Stage("b"), Stage("a")], "Mine.stages gave stages whose names repeat: a, b, a"),
        ("optimizers", SGD([torch.zeros(1)]), "Mine.optimizers gave a SGD: expected a list of pairs (optimizer, learning"),
        ("optimizers", [SGD([torch.zeros(1)])], "Mine.optimizers gave a list with a SGD: expected pairs (optimizer, "),
        ("optimizers", [(SGD([torch.zeros(1)]), 0.1)], "Mine.optimizers gave a list with a tuple: expected pairs"),
        ("optimizers", [], "Mine.optimizers gave no parameter for the stage 'train': give each that it trains to one optimizer"),
        ("optimizers", [sgd(torch.zeros(3, 2))], "gave a tensor of shape (3, 2) that is no parameter of the method, and would"),
        (
            "optimizers",
            lambda self: [sgd(self.weight), sgd(self.weight)],
            "Mine.optimizers gave the parameter 'weight' twice for the stage 'train': give it to one optimizer",
        ),
        ("stepper", "fast", "Mine.stepper gave a str: expected a Stepper, with advance, losses, state_dict and load_state_dict"),
    ],
)  # fmt: skip
def test_what_a_hook_must_give(hook, given, message):
    with pytest.raises(ObjbenchError, match=re.escape(message)):
        call(made(**{hook: given}), hook)


def test_what_a_stage_does_not_say_is_as_in_the_recipe():
    recipe = SETTINGS.recipe.model_copy(update={"batch_size": 17, "precision": "bf16"})
    mine = made(stages=[Stage("a", steps=1), Stage("b", steps=1, batch_size=3, precision="fp32")])
    mine.settings = SETTINGS.model_copy(update={"recipe": recipe})
    found = [(stage.batch_size, stage.precision, stage.clip_norm) for stage in mine.stages()]
    assert found == [(17, "bf16", None), (3, "fp32", None)]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"name": 3}, "Mine.stages gave a stage '3' with name: expected a word, found 3"),
        ({"steps": 4.0}, "a stage 'a' with steps: expected a whole number >= 1 or None, found 4.0"),
        ({"steps": 0}, "a stage 'a' with steps: expected a whole number >= 1 or None, found 0"),
        ({"epochs": -1}, "a stage 'a' with epochs: expected a whole number >= 1 or None, found -1"),
        ({"batch_size": -2}, "a stage 'a' with batch_size: expected a whole number >= 1, found -2"),
        ({"clip_norm": -1.0}, "a stage 'a' with clip_norm: expected a number > 0 or None, found -1.0"),
        ({"clip_norm": math.inf}, "a stage 'a' with clip_norm: expected a number > 0 or None, found inf"),
        ({"precision": "fp16"}, "a stage 'a' with precision: expected fp32 or bf16, found 'fp16'"),
        ({"clip_order": math.nan}, "a stage 'a' with clip_order: expected a number > 0, found nan"),
    ],
)
def test_values_of_a_stage_are_refused_by_their_names(values, message):
    with pytest.raises(ObjbenchError, match=re.escape(message) + "$"):
        made(stages=[Stage(**{"name": "a", **values})]).stages()


def test_a_stage_may_clip_the_largest_gradient():
    stage = Stage("a", steps=1, batch_size=2, clip_norm=1, precision="fp32", clip_order=math.inf)
    assert made(stages=[stage]).stages() == [stage]


@pytest.mark.parametrize("rate", [-0.1, math.nan, math.inf, None, "fast"])
def test_a_learning_rate_is_a_finite_number_of_at_least_zero(rate):
    mine = made(optimizers=lambda self: [(SGD([self.weight]), lambda progress: rate)])
    ((_, learning_rate),) = mine.optimizers(STAGE)
    message = f"Mine.optimizers gave SGD a learning rate of {rate!r} at step 7 of the stage 'train': expected a finite"
    with pytest.raises(ObjbenchError, match=re.escape(message)):
        learning_rate(Progress("train", 7, 10, 0, 1))


@pytest.mark.parametrize("rate", [np.float64(0.5), np.float32(0.5), Fraction(1, 2), np.int64(2), True])
def test_a_learning_rate_is_a_number_of_python_whatever_the_method_gives(rate):
    mine = made(optimizers=lambda self: [(SGD([self.weight]), lambda progress: rate)])
    ((_, learning_rate),) = mine.optimizers(STAGE)
    found = learning_rate(Progress("train", 7, 10, 0, 1))
    assert (found, type(found)) == (float(rate), float)


@pytest.mark.parametrize("scale", [-1, "a", math.nan, None])
def test_a_scale_of_the_learning_rate_is_a_finite_number_of_at_least_zero(scale):
    group = {"params": ["weight"], "lr_scale": scale}
    mine = made(optimizers=lambda self: [(SGD([{**group, "params": [self.weight]}]), lambda progress: 0.1)])
    message = f"Mine.optimizers gave a group with the lr_scale {scale!r}: expected a finite number >= 0"
    with pytest.raises(ObjbenchError, match=re.escape(message)):
        mine.optimizers(STAGE)


def test_an_optimizer_that_evaluates_the_loss_itself_is_refused():
    mine = made(optimizers=lambda self: [(LBFGS([self.weight]), lambda progress: 0.1)])
    with pytest.raises(
        ObjbenchError, match=r"Mine\.optimizers gave LBFGS, whose step evaluates the loss anew"
    ):
        mine.optimizers(STAGE)


def test_a_segmentation_is_made_plain():
    weight = torch.ones(2, 3, 4, 4, requires_grad=True)
    given = Segmentation(
        masks=weight.bfloat16(), slots=torch.nn.Parameter(torch.ones(2, 3, 5)), partition=False,
        extras={"presence": weight[:, 1:, 0, 0] * 2}, alternatives={"other": torch.ones(2, 4, 4).to(torch.uint16)},
    )  # fmt: skip
    found = given.plain()
    tensors = [found.masks, found.slots, found.extras["presence"], found.alternatives["other"]]
    assert not any(tensor.requires_grad for tensor in tensors)
    assert [tensor.dtype for tensor in tensors] == [torch.float32] * 3 + [torch.int64]
    assert not found.partition
    assert Segmentation(labels=torch.ones(2, 4, 4).to(torch.uint32)).plain().labels.dtype == torch.int64
    same = Segmentation(labels=torch.ones(2, 4, 4, dtype=torch.uint8), slots=torch.ones(1).half())
    assert (same.plain().labels.dtype, same.plain().slots.dtype) == (torch.uint8, torch.float16)


def test_a_loss_of_one_value_and_a_tuple_of_pairs_will_do():
    mine = made(
        training_loss=Losses(TOTAL[None], {"a": torch.ones(1)}),
        optimizers=lambda self: (sgd(self.weight),),
        stages=(STAGE,),
    )
    assert call(mine, "training_loss").total == 1
    ((optimizer, rate),) = call(mine, "optimizers")
    assert isinstance(optimizer, SGD)
    assert rate(None) == 0.1
    assert [stage.name for stage in mine.stages()] == ["train"]


def test_a_loss_needs_no_gradient_where_there_is_none():
    with torch.no_grad():
        assert call(made(training_loss=Losses(TOTAL.detach())), "training_loss").total == 1


@pytest.mark.parametrize(
    ("hook", "message"),
    [
        ("segment", "Method does not say how to segment: write segment"),
        ("training_loss", "Method has stages but no training_loss: write training_loss and optimizers, or let stages()"),
        ("optimizers", "Method has stages but no optimizers: write training_loss and optimizers, or let stages() return []"),
    ],
)  # fmt: skip
def test_a_hook_that_is_missing(hook, message):
    with pytest.raises(ObjbenchError, match=re.escape(message)):
        call(Method((3, 2, 2), 2, None), hook)


MASKS = torch.full((2, 3, 2, 2), 1 / 3)
LABELS = torch.zeros(2, 2, 2, dtype=torch.long)
BOXES = {"boxes": torch.full((2, 2, 4), 0.5), "presence": torch.ones(2, 2), "depth": torch.zeros(2, 2)}


def test_everything_that_a_segmentation_may_hold():
    found = Segmentation(
        masks=MASKS,
        partition=True,
        reconstruction=torch.full((2, 3, 2, 2), -0.5),
        components=torch.zeros(2, 3, 3, 2, 2),
        slots=torch.zeros(2, 3, 8),
        attention=torch.zeros(2, 3, 1, 1),
        alternatives={"other": MASKS[:, :1], "labels": LABELS.to(torch.uint8)},
        extras={**BOXES, "loss": torch.zeros(2), "own": torch.zeros(5, 7), "temperature": 0.5},
    )
    assert call(made(segment=found), "segment") is found


def test_a_segmentation_by_labels_may_have_more_slots_than_labels():
    found = Segmentation(labels=LABELS.int(), slots=torch.zeros(2, 5, 8), extras=BOXES)
    assert call(made(segment=found), "segment") is found


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"masks": None}, "with neither masks nor labels: expected one of them"),
        ({"labels": LABELS}, "with both masks and labels: expected one of them"),
        ({"masks": MASKS.numpy()}, "masks of type ndarray: expected a tensor of floats (2,M,2,2)"),
        ({"masks": MASKS.long()}, "masks of int64 (2,3,2,2): expected a tensor of floats (2,M,2,2)"),
        ({"masks": MASKS[..., :1]}, "masks of float32 (2,3,2,1): expected a tensor of floats (2,M,2,2)"),
        ({"masks": MASKS[:, :0]}, "masks of float32 (2,0,2,2): expected a tensor of floats (2,M,2,2)"),
        ({"masks": MASKS.to_sparse()}, "masks of sparse float32 (2,3,2,2): expected a tensor of floats"),
        ({"masks": None, "labels": LABELS.float()}, "labels of float32 (2,2,2): expected a tensor of integers (2,2,2)"),
        ({"masks": None, "labels": LABELS > 0}, "labels of bool (2,2,2): expected a tensor of integers (2,2,2)"),
        ({"masks": None, "labels": LABELS - 1}, "labels from -1 to -1: expected 0 to 1023"),
        ({"masks": None, "labels": LABELS + 5, "slots": torch.zeros(2, 5, 8)}, "labels from 5 to 5: expected 0 to 4"),
        ({"masks": None, "labels": LABELS + 1024}, "labels from 1024 to 1024: expected 0 to 1023"),
        ({"reconstruction": torch.zeros(2, 3, 2, 2).byte()}, "reconstruction of uint8 (2,3,2,2): expected a tensor of floats"),
        ({"reconstruction": torch.zeros(2, 1, 2, 2)}, "reconstruction of float32 (2,1,2,2): expected a tensor of floats (2,3,2,2)"),
        ({"components": torch.zeros(2, 2, 3, 2, 2)}, "components of float32 (2,2,3,2,2): expected a tensor of floats (2,3,3,2,2)"),
        ({"slots": torch.zeros(2, 2, 8)}, "slots of float32 (2,2,8): expected a tensor of floats (2,3,D)"),
        ({"slots": torch.zeros(2, 3, 8).long()}, "slots of int64 (2,3,8): expected a tensor of floats (2,3,D)"),
        ({"attention": torch.zeros(2, 3, 4)}, "attention of float32 (2,3,4): expected a tensor of floats (2,3,h,w)"),
        ({"alternatives": [MASKS]}, "alternatives of type list: expected a mapping of names to tensors"),
        ({"alternatives": {1: MASKS}}, "alternatives of type dict: expected a mapping of names to tensors"),
        (
            {"alternatives": {"a": LABELS.float()}},
            "alternatives['a'] of float32 (2,2,2): expected a tensor of floats (2,M,2,2) or integers (2,2,2)",
        ),
        ({"alternatives": {"a": LABELS - 5}}, "alternatives['a'] from -5 to -5: expected 0 to 1023"),
        ({"extras": {"loss": torch.zeros(2, 1)}}, "extras['loss'] of float32 (2,1): expected a tensor of floats (2)"),
        ({"extras": {"boxes": BOXES["boxes"]}}, "extras['boxes'] without extras['presence']: expected both or neither"),
        ({"extras": {"presence": BOXES["presence"]}}, "extras['presence'] without extras['boxes']: expected both or neither"),
        ({"extras": BOXES | {"boxes": torch.zeros(2, 4, 2)}}, "extras['boxes'] of float32 (2,4,2): expected a tensor of floats (2,2,4)"),
        ({"extras": BOXES | {"depth": torch.zeros(2, 7)}}, "extras['depth'] of float32 (2,7): expected a tensor of floats (2,2)"),
        ({"extras": BOXES | {"depth": torch.full((2, 2), math.nan)}}, "extras['depth'] that are not finite; did the training"),
        ({"extras": BOXES | {"presence": torch.full((2, 2), 1.5)}}, "extras['presence'] from 1.5 to 1.5: expected 0 to 1"),
        ({"extras": BOXES | {"presence": torch.full((2, 2), math.nan)}}, "from nan to nan: expected 0 to 1; did the training diverge?"),
        ({"masks": MASKS[:, :2], "extras": BOXES}, "2 planes for 2 boxes: expected one more than boxes, the background first"),
    ],
)  # fmt: skip
def test_what_a_segmentation_must_hold(given, message):
    found = Segmentation(**{"masks": MASKS, **given})
    with pytest.raises(ObjbenchError, match="^Mine.segment gave .*" + re.escape(message)):
        call(made(segment=found), "segment")


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


def test_hooks_of_a_mixin_or_under_another_name_are_checked():
    def wrong(self, images, progress=None):
        return Segmentation(labels=images[:, 0])

    class Mixin:
        def training_loss(self, images, progress):
            return Losses(images.sum())

    class Mine(Mixin, Method):
        segment = wrong

    class Heir(Mine):
        pass

    for kind in (Mine, Heir):
        method = kind((3, 2, 2), 2, settings=None)
        with pytest.raises(ObjbenchError, match=rf"^{kind.__name__}\.segment gave labels of float32"):
            method.segment(torch.ones(2, 3, 2, 2))
        with pytest.raises(
            ObjbenchError, match=rf"^{kind.__name__}\.training_loss gave a total that depends on no"
        ):
            method.training_loss(torch.ones(2, 3, 2, 2), None)


def test_what_super_gives_is_no_result_yet():
    class Base(Method):
        def optimizers(self, stage):
            return []

        def training_loss(self, images, progress):
            return Losses(images.sum().detach(), {"total": images.sum()})

        def segment(self, images, progress=None):
            return Segmentation()

    class Mine(Base):
        def __init__(self):
            super().__init__((3, 2, 2), 2, settings=None)
            self.weight = nn.Parameter(torch.ones(()))

        def optimizers(self, stage):
            return [*super().optimizers(stage), (SGD(self.parameters(), 0.1), lambda progress: 0.1)]

        def training_loss(self, images, progress):
            return Losses(super().training_loss(images, progress).total * self.weight)

        def segment(self, images, progress=None):
            super().segment(images, progress)
            return Segmentation(labels=torch.zeros(2, 2, 2, dtype=torch.int64))

    mine, images = Mine(), torch.ones(2, 3, 2, 2)
    assert len(mine.optimizers(Stage("a", steps=1))) == 1
    assert mine.training_loss(images, None).total == 24
    assert mine.segment(images).prediction.shape == (2, 2, 2)
    with pytest.raises(ObjbenchError, match=r"Base\.segment gave a Segmentation with neither"):
        Base((3, 2, 2), 2, settings=None).segment(images)


def test_numbers_of_numpy_are_values_of_a_stage():
    numbers = {"steps": np.int64(3), "batch_size": np.int32(2), "clip_norm": np.float32(1)}
    stage = Stage("a", **numbers, precision="fp32")
    stage.check_values()
    assert [type(getattr(stage, name)) for name in numbers] == [int, int, float]
    assert type(Stage("a", steps=torch.tensor(4)).steps) is int
    with pytest.raises(RequestError, match="batch_size: expected a whole number >= 1, found 0"):
        Stage("a", steps=3, batch_size=np.int64(0)).check_values()


@pytest.mark.parametrize("name", [*LEARNED, "objmae"])
def test_another_default_type_changes_nothing(name):
    """Methods say the types of the tensors that they make."""
    images = torch.rand(2, 3, 35, 35, generator=torch.Generator().manual_seed(0))
    found = []
    for default in (nullcontext, float64_by_default):
        torch.manual_seed(0)
        method = create(name, "tetrominoes").eval()
        stage = method.stages()[0].name
        method.seed_images(torch.tensor([1, 2]))
        with default():
            with torch.no_grad():
                result = method.segment(images)
            method.train().seed_images(None)
            torch.manual_seed(1)
            loss = method.training_loss(images, Progress(stage, 0, 10, 0, 10)).total.detach()
        found.append([result.prediction, result.masks, result.reconstruction, loss])
    for one, other in zip(*found, strict=True):
        assert one is None or (one.dtype == other.dtype and torch.equal(one, other))
