"""MONet: its parameter counts, loss, masks and resolution."""

from __future__ import annotations

import pytest
import torch
from torch.distributions import Categorical, kl_divergence

from objbench.errors import RequestError
from objbench.methods.base import Progress
from objbench.methods.create import create
from objbench.methods.monet import mask_divergence
from objbench.testing import check_method, random_scenes

TINY = {
    "model.attention_channels": [2, 4, 4],
    "model.latent": 3,
    "model.encoder_channels": [2, 4],
    "model.encoder_hidden": 8,
    "model.decoder_channels": [2, 2],
}
START = Progress("train", 0, 10, 0, 330)


def images(count=2, side=35):
    return random_scenes(count, (3, side, side)).float() / 255


@pytest.fixture
def tiny():
    torch.manual_seed(0)
    return create("monet", "tetrominoes", **TINY)


# The bias of the decoder's mask logits does not outlive the softmax over slots. Its gradient is rounding
# noise, of which Adam makes steps of full length. At this rate trainings may differ by them and pass.
CALM = {"optimizer.learning_rate": 1e-5}


@pytest.mark.parametrize("variant", ["", ":demo"])
def test_contract(variant):
    passed = check_method(f"monet{variant}", "tetrominoes", overrides=TINY | CALM)
    assert {"gradients", "resume", "captured_steps"} <= set(passed)


@pytest.mark.parametrize(
    ("name", "dataset", "millions"),
    [  # as counted for images of 64x64 and 128x128; the number of slots plays no part
        ("monet", "multi_dsprites", "0.97"),
        ("monet", "clevr6", "1.79"),
        ("monet:clevrtex", "multi_dsprites", "14.3"),
        ("monet:clevrtex", "clevrtex", "22.2"),
    ],
)
def test_parameters(name, dataset, millions):
    with torch.device("meta"):
        count = sum(parameter.numel() for parameter in create(name, dataset).parameters())
    digits = len(millions.partition(".")[2])
    assert f"{count / 1e6:.{digits}f}" == millions


def test_the_background_slot_is_the_least_tolerant_one():
    sigma = create("monet", "multi_dsprites", **TINY).sigma
    assert torch.equal(sigma, torch.tensor([0.09] + 5 * [0.11]))


def test_mask_divergence_is_that_of_a_categorical_law_at_every_pixel():
    torch.manual_seed(0)
    log_masks, logits = torch.randn(2, 4, 1, 5, 6).log_softmax(1), torch.randn(2, 4, 1, 5, 6)
    laws = [Categorical(logits=values.squeeze(2).movedim(1, -1)) for values in (log_masks, logits)]
    torch.testing.assert_close(mask_divergence(log_masks, logits), kl_divergence(*laws).sum((1, 2)))


def test_mask_divergence_bears_masks_of_exactly_zero_probability():
    log_masks = torch.tensor([0.0, -1e3]).view(1, 2, 1, 1, 1).requires_grad_()
    divergence = mask_divergence(log_masks, torch.zeros(1, 2, 1, 1, 1))
    divergence.sum().backward()
    assert divergence.item() == pytest.approx(torch.log(torch.tensor(2.0)).item())
    assert log_masks.grad.isfinite().all()


def test_the_loss_weighs_its_parts():
    method = create("monet", "tetrominoes", **TINY, **{"loss.beta": 0.25, "loss.gamma": 3.0})
    losses = method.training_loss(images(), START)
    parts = losses.parts
    expected = parts["reconstruction"] + 0.25 * parts["latent_kl"] + 3 * parts["mask_kl"]
    torch.testing.assert_close(losses.total, expected)


def test_the_loss_is_a_mean_over_images(tiny, monkeypatch):
    monkeypatch.setattr(tiny, "normal", lambda images, *shape: torch.zeros(len(images), *shape))
    batch = images(3)
    whole = tiny.training_loss(batch, START).total
    single = torch.stack([tiny.training_loss(image[None], START).total for image in batch])
    torch.testing.assert_close(whole, single.mean(), rtol=1e-4, atol=0)


def test_a_single_slot_gets_the_whole_image():
    method = create("monet", "tetrominoes", **TINY)
    lonely = type(method)((3, 35, 35), 1, method.settings)
    with torch.no_grad():
        assert torch.equal(lonely.segment(images()).masks, torch.ones(2, 1, 35, 35))


@pytest.mark.parametrize("form", ["log", "linear"])
def test_the_encoder_sees_masks_in_the_form_asked_for(form):
    method = create("monet", "tetrominoes", **TINY, **{"model.encoder_mask": form})
    seen = []
    method.vae.encoder[0].register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    with torch.no_grad():
        masks = method.segment(images()).masks.flatten(0, 1)
    torch.testing.assert_close(seen[0][:, :3], images().repeat_interleave(4, 0))
    torch.testing.assert_close(seen[0][:, 3], masks.log() if form == "log" else masks)


def test_masks_are_those_of_the_attention_network(tiny):
    """The decoder, which draws masks as well, has no say in them."""
    with torch.no_grad():
        before = tiny.segment(images()).masks
        for parameter in tiny.vae.parameters():
            parameter.add_(1)
        assert torch.equal(tiny.segment(images()).masks, before)


def test_a_low_resolution_shows_in_the_maps_but_not_in_their_size():
    torch.manual_seed(0)
    method = create("monet", "tetrominoes", **TINY, **{"model.resolution": 7})
    flat = images().reshape(2, 3, 7, 5, 7, 5).mean((3, 5))  # means of the 5x5 cells
    cells = flat.repeat_interleave(5, 2).repeat_interleave(5, 3)
    with torch.no_grad():
        found, expected = method.segment(images()), method.segment(cells)
    assert found.components.shape == (2, 4, 3, 35, 35)
    torch.testing.assert_close(found.masks, expected.masks)
    torch.testing.assert_close(found.masks.sum(1), torch.ones(2, 35, 35))


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("optimizer.name", "adams", "optimizer.name: expected adam or rmsprop, found 'adams'"),
        ("optimizer.learning_rate", -1.0, "optimizer.learning_rate: expected a number >= 0, found -1.0"),
        ("model.encoder_mask", "logs", "model.encoder_mask: expected log or linear, found 'logs'"),
        (
            "model.encoder_channels",
            [],
            r"model.encoder_channels: expected a non-empty list of whole numbers >= 1, found \[\]",
        ),
        (
            "model.attention_channels",
            [4] * 9,
            r"model.attention_channels: expected fewer scales .* of 9 .* single pixel .*, found \[4, 4",
        ),
        ("model.resolution", 0, "model.resolution: expected a whole number >= 1 or null, found 0"),
        ("model.latent", 0, "model.latent: expected a whole number >= 1, found 0"),
        ("loss.sigma", 0.0, "loss.sigma: expected a number > 0, found 0.0"),
    ],
)
def test_what_makes_no_model_is_refused(key, value, message):
    with pytest.raises(RequestError, match=message):
        create("monet", "tetrominoes", **{**TINY, key: value})
