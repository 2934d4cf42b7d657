"""Slot Attention: sizes as published, its symmetries, its variants, and the method contract."""

from __future__ import annotations

import json

import pytest
import torch
from helpers.known import first_slots
from typer.testing import CliRunner

from objbench.cli.main import app
from objbench.errors import RequestError
from objbench.methods.base import Progress
from objbench.methods.create import create
from objbench.testing import check_method

START = Progress("train", 0, 4, 0, 330)
TINY = {"model.channels": 4, "model.slot_width": 6, "model.mlp_width": 8}


def tiny(variant="", dataset="tetrominoes", **overrides):
    torch.manual_seed(0)
    return create(f"slot_attention{variant}", dataset, **{**TINY, **overrides})


@pytest.mark.parametrize(
    ("name", "dataset", "count"),
    [
        ("slot_attention", "clevr6", 890_308),  # published as 0.89 M
        ("slot_attention", "clevrtex", 890_308),  # the same at any number of slots
        ("slot_attention:clevrtex", "clevrtex", 890_308 + 3 * 64),
        ("slot_attention", "tetrominoes", 235_812),  # 0.24 M at any size of the image
        ("slot_attention", "multi_dsprites", 235_812),
    ],
)
def test_number_of_parameters(name, dataset, count):
    method = create(name, dataset)
    assert sum(parameter.numel() for parameter in method.parameters()) == count


@pytest.mark.parametrize("variant", ["", ":demo"])
def test_contract(variant):
    passed = check_method(f"slot_attention{variant}", "tetrominoes", overrides=TINY)
    assert {"gradients", "determinism", "resume", "captured_steps", "batch_size_does_not_matter"} <= set(
        passed
    )


def test_the_published_decoder_grows_to_the_size_of_the_image():
    method = tiny(dataset="clevr6", **{"model.encoder_strides": [4, 2]})
    assert method.decoder.grid == (8, 8)
    found = method.segment(torch.rand(1, 3, 128, 128))
    assert found.components.shape == (1, 7, 3, 128, 128)
    assert found.attention.shape == (1, 7, 16, 16)


def test_loss_is_the_mean_squared_error_of_images_in_minus_one_to_one(monkeypatch):
    method, images = tiny(), torch.rand(2, 3, 35, 35)
    noise = torch.randn(2, 4, 6)
    monkeypatch.setattr(method, "normal", lambda *_: noise)
    found = method.segment(images)
    torch.testing.assert_close((found.masks[:, :, None] * found.components).sum(1), found.reconstruction)
    expected = 4 * (found.reconstruction - images).square().mean()
    torch.testing.assert_close(method.training_loss(images, START).total, expected)


def test_slots_take_the_order_of_their_noise(monkeypatch):
    method, images = tiny(), torch.rand(2, 3, 35, 35)
    noise = torch.randn(2, 4, 6)
    monkeypatch.setattr(method, "normal", lambda *_: noise)
    before = method.segment(images)
    monkeypatch.setattr(method, "normal", lambda *_: noise.flip(1))
    after = method.segment(images)
    for name in ("slots", "attention", "masks", "components"):
        torch.testing.assert_close(getattr(after, name), getattr(before, name).flip(1), msg=name)
    torch.testing.assert_close(after.reconstruction, before.reconstruction)


def test_slots_start_from_the_learned_normal_distribution():
    start = first_slots(tiny(**{"model.iterations": 1}))
    assert start.shape == (400, 4, 6)
    assert float(start.mean()) == pytest.approx(3, abs=0.02)
    assert float(start.std()) == pytest.approx(0.3679, abs=0.02)


def test_a_strided_encoder_has_a_sixteenth_of_the_places():
    method = tiny(":strided", "multi_dsprites")
    assert method.segment(torch.rand(1, 3, 64, 64)).attention.shape == (1, 6, 16, 16)


def test_the_unit_range_takes_and_paints_images_as_they_are(monkeypatch):
    method, images = tiny(":clevrtex"), torch.rand(2, 3, 35, 35)
    noise, seen = torch.randn(2, 4, 6), []
    monkeypatch.setattr(method, "normal", lambda *_: noise)
    method.encoder.register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    found = method.segment(images)
    assert torch.equal(seen[0], images)
    expected = (found.reconstruction - images).square().mean()
    torch.testing.assert_close(method.training_loss(images, START).total, expected)


def test_norms_have_one_weight_per_channel():
    norms = {
        name: p.shape for name, p in tiny().named_parameters() if "norm" in name and name.endswith("weight")
    }
    assert norms == {
        "encoder.norm.weight": (4,),
        "attention.norm_inputs.weight": (4,),
        "attention.norm_slots.weight": (6,),
        "attention.norm_mlp.weight": (6,),
    }


def test_initial_values_are_keras_defaults():
    method = create("slot_attention", "clevr6")
    recurrent = method.attention.gru.weight_hh
    torch.testing.assert_close(recurrent.T @ recurrent, torch.eye(64), rtol=0, atol=1e-5)
    bound = (6 / (1 + 64)) ** 0.5  # Glorot's, of a weight (1,1,64)
    assert 0.9 * bound < float(method.slot_mean.detach().abs().max()) <= bound
    biases = [p for name, p in method.named_parameters() if "bias" in name]
    assert all(not bias.any() for bias in biases)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("model.iterations", 0, "model.iterations: expected a whole number >= 1, found 0"),
        ("model.image_range", "unity", "model.image_range: expected symmetric or unit, found 'unity'"),
        (
            "model.encoder_strides",
            [1, 6],
            "model.encoder_strides.1: expected a whole number >= 1 and <= 5, found 6",
        ),
        (
            "model.decoder_strides",
            [],
            r"model.decoder_strides: expected a non-empty list of whole numbers >= 1 and <= 5, found \[\]",
        ),
        ("schedule.decay_steps", 0, "schedule.decay_steps: expected a whole number >= 1, found 0"),
    ],
)
def test_what_makes_no_model_is_refused(key, value, message):
    with pytest.raises(RequestError, match=message):
        create("slot_attention", "tetrominoes", **{key: value})


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_the_first_tenth_of_the_demo_beats_the_trivial_baselines():
    arguments = ["run", "slot_attention:demo", "--dataset", "tetrominoes@aligned", "--source", "generated"]
    short = ["--set", "recipe.steps=2000", "--set", "recipe.evaluations=1", "--device", "cpu"]
    result = CliRunner().invoke(app, [*arguments, "--in-memory", *short, "--json"])
    assert result.exit_code == 0, result.stderr
    (record,) = json.loads(result.stdout)
    assert record["metrics"]["test"]["ari_fg"]["mean"] > 0.68  # 0.77 on val in the full run; grid has 0.56
