"""Every method, ours and the toy plugin's, through the same contract kit; and the kit against broken methods."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from objbench_toys.methods import CountingStepper, Toy, ToyTwoStages
from pydantic import Field

from objbench.methods.base import Losses, Segmentation
from objbench.spec.settings import Group
from objbench.testing import ContractError, check_method
from objbench.testing.kit import Kit
from objbench.testing.training import _steps, check_captured_steps
from objbench.train.eager import EagerStepper

TRAINED = {"losses", "gradients", "determinism", "resume"}
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


def noisy_segment(self, images, progress=None):
    masks, _ = self.mixture(images + torch.randn_like(images))
    return Segmentation(masks=masks)


def boxes_segment(shape, presence):
    def segment(self, images, progress=None):
        count = len(images)
        extras = {"boxes": torch.zeros(count, *shape), "presence": torch.full((count, shape[0]), presence)}
        return Segmentation(masks=self.mixture(images)[0], extras=extras)

    return segment


def other_sizes_segment(self, images, progress=None):
    masks = self.mixture(images)[0]
    return Segmentation(masks=masks, alternatives={"small": masks[..., 1:]})


def scaled_segment(self, images, progress=None):
    return Segmentation(masks=2 * self.mixture(images)[0])


def growing_segment(self, images, progress=None):
    self.colors.add_(1)
    return Segmentation(masks=self.mixture(images)[0])


def headless_loss(self, images, progress):
    return Losses((self.colors.mean() - images.mean()).square())


def state_outside_the_state_dict(self, images, progress):
    self.hidden = getattr(self, "hidden", 0) + 1
    return Losses(self.hidden * (self.mixture(images)[1] - images).square().mean())


@pytest.mark.parametrize(
    ("method", "name", "replacement", "promise"),
    [
        (Toy, "segment", noisy_segment, "segment depends on the batch"),
        (Toy, "segment", scaled_segment, "masks do not sum to one"),
        (
            Toy,
            "segment",
            other_sizes_segment,
            r"alternatives\['small'\] of shape .*: neither masks nor labels",
        ),
        (Toy, "segment", boxes_segment((3, 2), 1.0), r"boxes of shape \(1, 3, 2\), expected \(1, 3, 4\)"),
        (Toy, "segment", boxes_segment((4, 4), 1.0), "4 planes for 4 boxes, expected one more"),
        (Toy, "segment", boxes_segment((3, 4), 1.5), r"presence from 1\.5 to 1\.5, expected \[0,1\]"),
        (Toy, "segment", growing_segment, "segment changes the state of the method: colors"),
        (
            Toy,
            "training_loss",
            headless_loss,
            "no gradient ever reaches head.bias, head.weight, trunk.0.bias",
        ),
        (Toy, "training_loss", state_outside_the_state_dict, "a resumed training differs"),
    ],
)
def test_kit_finds_what_is_broken(monkeypatch, method, name, replacement, promise):
    monkeypatch.setattr(method, name, replacement)
    with pytest.raises(ContractError, match=promise):
        check_method("toy_stepper", "tetrominoes")


def test_kit_finds_repeated_stage_names(monkeypatch):
    stages = ToyTwoStages.stages
    monkeypatch.setattr(ToyTwoStages, "stages", lambda self: [stages(self)[0]] * 2)
    with pytest.raises(ContractError, match=r"stage names repeat: \['colors', 'colors'\]"):
        check_method("toy_two_stages", "tetrominoes")


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
    plain = _steps(kit, 0, EagerStepper, "fp32")
    assert plain.idle("trunk.0.bias").all()
    assert not plain.idle("position").any()
    others = [name for name in plain.gradients if name != "trunk.0.bias"]
    assert not any(plain.idle(name).all() for name in others)
