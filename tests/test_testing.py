"""Every method, ours and the toy plugin's, through the same contract kit; and the kit against broken methods."""

from __future__ import annotations

import sys
from typing import Any

import pytest
import torch
from helpers import plain as plain_file
from objbench_toys.methods import CountingStepper, Toy
from pydantic import Field

from objbench.errors import RequestError
from objbench.methods.base import Losses, Segmentation, Stage
from objbench.metrics import score
from objbench.spec.settings import Group
from objbench.testing import ContractError, check_method, random_scenes
from objbench.testing.kit import Kit
from objbench.testing.training import _steps, check_captured_steps
from objbench.train.plain import PlainStepper

TRAINED = {"optimizers", "losses", "gradients", "determinism", "resume"}
SMALL_OBJMAE = {
    "model.width": 24,
    "model.heads": 2,
    "model.depth": 1,
    "model.decoder_width": 16,
    "model.decoder_heads": 2,
    "model.decoder_depth": 1,
}


@pytest.mark.parametrize("name", ["one_slot", "grid", "color_kmeans"])
def test_trivial_methods_keep_the_contract(name):
    passed = check_method(name, "tetrominoes")
    assert "segmentation" in passed
    assert not TRAINED & set(passed)


@pytest.mark.parametrize(
    "name", ["toy_refiner", "toy_two_stages", "toy_two_stages:wide", "toy_geco", "toy_many_planes"]
)
def test_toy_methods_keep_the_contract(name):
    assert set(check_method(name, "tetrominoes")) >= TRAINED


def test_own_stepper_is_used_and_keeps_the_contract():
    before = CountingStepper.advanced
    assert set(check_method("toy_stepper", "tetrominoes")) >= TRAINED
    assert CountingStepper.advanced > before


@pytest.mark.parametrize("variant", ["", ":demo", ":no_masking", ":no_entropy"])
def test_objmae_keeps_the_contract(variant):
    assert set(check_method(f"objmae{variant}", "tetrominoes", overrides=SMALL_OBJMAE)) >= TRAINED


def broken(monkeypatch, **hooks):
    """Check a method that has these hooks instead of sound ones."""
    monkeypatch.setattr("objbench_toys.methods.ToyStepper", type("Broken", (Toy,), hooks))
    return check_method("toy_stepper", "tetrominoes")


def segmenting(**fields):
    """A `segment` that also gives these fields, or what functions make of masks and images."""

    def segment(self, images, progress=None):
        masks = self.mixture(images)[0]
        given = {name: value(masks, images) if callable(value) else value for name, value in fields.items()}
        return Segmentation(**{"masks": masks, **given})

    return segment


def boxes(value, count=3, presence=1.0):
    def extras(masks, images):
        shape = (len(images), count)
        return {"boxes": torch.full((*shape, 4), value), "presence": torch.full(shape, presence)}

    return segmenting(extras=extras)


def noisy_segment(self, images, progress=None):
    masks, _ = self.mixture(images + torch.randn_like(images))
    return Segmentation(masks=masks)


def growing_segment(self, images, progress=None):
    self.colors.add_(1)
    return Segmentation(masks=self.mixture(images)[0])


def registering_segment(self, images, progress=None):
    self.last = torch.nn.Buffer(images[0])
    return Segmentation(masks=self.mixture(images)[0])


def headless_loss(self, images, progress):
    return Losses((self.colors.mean() - images.mean()).square())


def state_outside_the_state_dict(self, images, progress):
    self.hidden = getattr(self, "hidden", 0) + 1
    return Losses(self.hidden * (self.mixture(images)[1] - images).square().mean())


def loss_of_a_list(self, images, progress):
    self.layers = [torch.nn.Linear(3, 3)]
    return Losses(
        self.layers[0](images.mean((2, 3))).square().mean() + headless_loss(self, images, progress).total
    )


def late_setup(self, images, stage):
    self.late = torch.nn.Parameter(torch.ones(2))


def some_optimizers(self, stage):
    return [(torch.optim.Adam(self.trunk.parameters()), lambda progress: 0.1)]


def falling_rate(self, stage):
    return [(torch.optim.Adam(self.parameters()), lambda progress: 0.1 - progress.step)]


@pytest.mark.parametrize(
    ("hooks", "promise"),
    [
        ({"segment": noisy_segment}, r"segment depends on the batch: draw random numbers with self\.normal \("),
        ({"segment": segmenting(masks=lambda m, x: 2 * m)}, "masks do not sum to one"),
        ({"segment": segmenting(masks=lambda m, x: m / 0)}, "masks are not finite"),
        ({"segment": segmenting(reconstruction=lambda m, x: 255 * x)}, r"reconstruction from .* to 2\d\d: expected image units"),
        ({"segment": segmenting(reconstruction=lambda m, x: x / 0)}, "reconstruction: not finite"),
        ({"segment": segmenting(slots=lambda m, x: m.mean(3) / 0)}, "slots: not finite"),
        ({"segment": segmenting(alternatives=lambda m, x: {"small": m[..., 1:]})}, r"Broken.segment gave alternatives\['small'\] of"),
        ({"segment": segmenting(alternatives=lambda m, x: {"a": m * torch.nan})}, "^check 'scores': Broken.segment: the predicted masks of image 0 .*NaN"),
        ({"segment": segmenting(reconstruction=lambda m, x: x if len(x) > 2 else None)}, "^check 'scores': Broken.segment: every batch must give the"),
        ({"segment": boxes(17.0)}, "boxes from 17 to 17: expected fractions of the image"),
        ({"segment": boxes(0.5, count=4)}, "Broken.segment gave 4 planes for 4 boxes: expected one more"),
        ({"segment": boxes(0.5, presence=1.5)}, r"extras\['presence'\] from 1.5 to 1.5: expected 0 to 1"),
        ({"segment": growing_segment}, "segment changes the state of the method: colors"),
        ({"segment": registering_segment}, "Broken registers 'last' in setup or later: make it in __init__"),
        ({"training_loss": headless_loss}, "no gradient ever reaches head.bias, head.weight, trunk.0.bias"),
        ({"training_loss": state_outside_the_state_dict}, "a resumed training differs"),
        ({"training_loss": loss_of_a_list}, r"parameters that the method does not have, of shape \(3, 3\), \(3,\): make them its"),
        ({"setup": late_setup}, "^check 'gradients': Broken registers 'late' in setup or later: make it in __init__$"),
        ({"optimizers": some_optimizers}, "no optimizer of any stage has colors, head.bias, head.weight: give them to one, or"),
        ({"optimizers": falling_rate}, "^check 'gradients': Broken.optimizers gave Adam a learning rate of -0.9 at step 1 of the"),
        ({"frozen": ("nope", "colors")}, "^`frozen` lists nope: no parameter of that name$"),
        ({"frozen": "colors"}, "^`frozen` is 'colors': expected a tuple of names of parameters$"),
        ({"stages": lambda self: [Stage("a", 4, 2)]}, "^check 'stages': stage 'a' needs either steps or epochs"),
        ({"stages": lambda self: [Stage("a", 4, None, -2)]}, "^stages: Broken.stages gave a stage 'a' with batch_size: expected"),
        ({"stages": lambda self: [Stage("a", 4)] * 2}, "Broken.stages gave stages whose names repeat: a, a"),
        ({"segment": lambda self, images: None}, r"^__init__: Broken.segment is called with \(images, progress\), which it"),
        ({"training_loss": lambda *_: 1 / 0}, rf"^check 'losses': ZeroDivisionError: division by zero \(at {__file__}:\d+\)$"),
        ({"training_loss": lambda *_: sys.exit(3)}, rf"^check 'losses': sys.exit\(3\) was called \(at {__file__}:\d+\)$"),
        ({"after_step": lambda *_: {}["x"]}, rf"^check 'gradients': KeyError: 'x' \(at {__file__}:\d+\)$"),
        ({"capture_key": lambda *_: {}["x"]}, rf"^capture_key: KeyError: 'x' \(at {__file__}:\d+\)$"),
        ({"__init__": lambda *_: {}["x"]}, rf"^__init__: KeyError: 'x' \(at {__file__}:\d+\)$"),
    ],
)  # fmt: skip
def test_kit_finds_what_is_broken(monkeypatch, hooks, promise):
    with pytest.raises(ContractError, match=promise):
        broken(monkeypatch, **hooks)


def test_a_parameter_that_requires_no_gradient_is_frozen(tmp_path):
    text = plain_file.TEXT.replace(
        "        self.color = ",
        "        self.anchor = torch.nn.Parameter(torch.zeros(3), requires_grad=False)\n        self.color = ",
    )
    file = tmp_path / "mine.py"
    file.write_text(text)
    with pytest.raises(
        ContractError, match="no gradient ever reaches anchor: list them in `frozen` if that is meant"
    ):
        check_method(str(file), "tetrominoes")
    file.write_text(text.replace("    class Settings", '    frozen = ("anchor",)\n\n    class Settings'))
    assert "gradients" in check_method(str(file), "tetrominoes")
    late = "    def setup(self, images, stage):\n        self.anchor.requires_grad_(True)\n\n    def training_loss"
    learning = (
        text.replace("    def training_loss", late)
        .replace("self.color", "(self.color + self.anchor)")
        .replace("(self.color + self.anchor) = ", "self.color = ")
    )
    file.write_text(learning)
    assert "gradients" in check_method(str(file), "tetrominoes")


def test_a_lack_of_memory_breaks_no_promise(monkeypatch):
    def training_loss(self, images, progress):
        raise MemoryError

    with pytest.raises(MemoryError):
        broken(monkeypatch, training_loss=training_loss)


def test_values_that_a_method_refuses_are_a_wrong_request():
    with pytest.raises(
        RequestError, match=r"toy_stepper: model\.width: expected a whole number >= 1, found 0"
    ):
        check_method("toy_stepper", "tetrominoes", overrides={"model.width": 0})


def test_after_evaluation_gets_the_scores_that_the_trainer_gives(monkeypatch):
    seen = []

    def after_evaluation(self, progress, metrics):
        seen.append(dict(metrics))

    extras = {"extras": lambda masks, images: {"loss": images.mean((1, 2, 3))}}
    segment = segmenting(reconstruction=lambda masks, images: images / 2, **extras)
    assert set(broken(monkeypatch, segment=segment, after_evaluation=after_evaluation)) >= TRAINED
    kit = Kit("toy_stepper", "tetrominoes", None, {}, None)
    n = len(kit.images)
    given = dict(zip(("pred", "true"), (kit.segment(kit.method()).masks, kit.masks), strict=True))
    images = kit.images.float() / 255
    expected = score(**given, reconstruction=images / 2, images=kit.images)
    defined = {name for name, values in expected.items() if not values.isnan().all()}
    assert all(metrics.keys() == defined | {"loss"} for metrics in seen)
    assert seen[0]["mse"] == pytest.approx(float(expected["mse"].sum()) / n)
    assert seen[0]["loss"] == pytest.approx(float(images.mean()))


def test_masks_of_the_kit_are_the_rectangles():
    kit = Kit("grid", "tetrominoes", None, {}, None)
    assert torch.equal(kit.images, random_scenes(len(kit.images), (3, 35, 35)))
    for image, mask in zip(kit.images, kit.masks, strict=True):
        for label in mask.unique():
            pixels = image[:, mask == label]
            assert (pixels == pixels[:, :1]).all()


def test_kit_finds_a_setting_without_a_type(monkeypatch):
    class Model(Group):
        width: Any = Field(description="of the hidden layer")

    class Settings(Toy.Settings):
        model: Model

    monkeypatch.setattr(Toy, "Settings", Settings)
    with pytest.raises(ContractError, match=r"model\.width=\[None\] is not refused: give it a type"):
        check_method("toy_stepper", "tetrominoes")


def test_kit_finds_a_setting_without_a_description(monkeypatch):
    class Model(Group):
        width: int

    class Settings(Toy.Settings):
        model: Model

    monkeypatch.setattr(Toy, "Settings", Settings)
    with pytest.raises(ContractError, match=r"settings without a description: model\.width"):
        check_method("toy_stepper", "tetrominoes")


def test_a_bias_before_a_normalisation_is_left_out_of_captured_steps(monkeypatch):
    """Its gradient is rounding, of which Adam makes whole steps; every other parameter is compared."""
    build_toy = Toy.__init__

    def with_norm(self, *arguments):
        build_toy(self, *arguments)
        self.trunk.insert(1, torch.nn.InstanceNorm2d(self.trunk[0].out_channels))

    monkeypatch.setattr(Toy, "__init__", with_norm)
    kit = Kit("toy_geco", "tetrominoes", None, {}, None)
    check_captured_steps(kit)
    plain = _steps(kit, 0, PlainStepper, "fp32")
    assert plain.idle("trunk.0.bias").all()
    assert not plain.idle("position").any()
    others = [name for name in plain.gradients if name != "trunk.0.bias"]
    assert not any(plain.idle(name).all() for name in others)


@pytest.mark.parametrize(
    ("made", "loss", "optimizer"),
    [
        ("torch.nn.LazyConv2d(slots, 1)", "self.made(images)", "Adam(self.parameters(), rate)"),
        (
            "torch.nn.Embedding(7, slots, sparse=True)",
            "self.made((images.mean(1) * 6).long())",
            "SparseAdam(list(self.parameters()), rate)",
        ),
    ],
)
def test_lazy_layers_and_sparse_gradients_keep_the_contract(tmp_path, made, loss, optimizer):
    text = plain_file.TEXT.replace("self.color = torch.nn.Parameter(torch.rand(3))", f"self.made = {made}")
    text = text.replace("(self.color[:, None, None] - images)", loss)
    text = text.replace("Adam(self.parameters(), rate)", optimizer)
    text = text.replace("        return Segmentation", f"        {loss}\n        return Segmentation")
    assert set(check_method(plain_file.write(tmp_path, text=text), "tetrominoes")) >= TRAINED
