"""COMET: sizes as published, its loss, the rule of its masks on constructed cases, the modes it is called in, the contract."""

from __future__ import annotations

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils.flop_counter import FlopCounterMode

from objbench.errors import RequestError
from objbench.methods.base import Progress
from objbench.methods.comet import nearness, strongest
from objbench.methods.create import create
from objbench.testing import check_method, random_scenes

START = Progress("train", 0, 4, 0, 330)
TINY = {
    "model.channels": 8,
    "model.encoder_blocks": 2,
    "model.energy_blocks": 2,
    "model.latent": 5,
    "descent.steps": 2,
}


def tiny(dataset="tetrominoes", **overrides):
    torch.manual_seed(0)
    return create("comet", dataset, **{**TINY, **overrides})


def images(count=2, side=35):
    return random_scenes(count, (3, side, side)).float() / 255


@pytest.mark.parametrize("slots", [5, 11])
@pytest.mark.parametrize("dataset", ["multi_dsprites", "clevr6", "clevrtex"])
def test_parameters_are_as_many_as_those_of_the_published_code(dataset, slots):
    with FakeTensorMode():
        count = sum(p.numel() for p in create("comet", dataset, slots=slots).parameters())
    constants = 2  # of the energy and of the scores
    assert round((count + constants) / 1e6, 2) == 0.88


def test_larger_latents_need_more_parameters():
    with FakeTensorMode():
        small, large = (
            sum(p.numel() for p in create("comet", "tetrominoes", **{"model.latent": latent}).parameters())
            for latent in (16, 64)
        )
    read = 64  # by the last layer of the encoder, 64 wide
    shown = 3 * 2 * 2 * 64  # gains and biases of two convolutions in three blocks
    assert large - small == 48 * (read + 1 + shown)


@pytest.mark.parametrize("variant", ["", ":demo"])
def test_contract(variant):
    passed = check_method(f"comet{variant}", "tetrominoes", overrides=TINY)
    assert {"gradients", "determinism", "resume", "captured_steps", "batch_size_does_not_matter"} <= set(
        passed
    )


def test_the_published_steps():
    with FakeTensorMode():
        found = {name: create("comet", name).settings for name in ("tetrominoes", "multi_dsprites", "clevr6")}
    assert {name: settings.descent.steps for name, settings in found.items()} == {
        "tetrominoes": 10,
        "multi_dsprites": 5,
        "clevr6": 5,
    }
    assert {settings.descent.step_size for settings in found.values()} == {1000}
    assert [settings.recipe.batch_size for settings in found.values()] == [64, 24, 24]


def test_the_loss_is_the_mean_squared_error_of_the_last_image(monkeypatch):
    method, batch = tiny(), images()
    monkeypatch.setattr(method, "normal", lambda _, *shape: torch.full((2, *shape), 0.3))
    latents = method.encoder(batch, 4)
    start = torch.full_like(batch, 0.6179114)  # the normal distribution's share below 0.3
    painted = method.energy.descend(start, latents, 2, 1000.0)
    expected = ((painted - batch) ** 2).sum() / batch.numel()
    torch.testing.assert_close(method.training_loss(batch, START).total, expected)


def test_noise_is_uniform():
    noise = tiny()._noise(torch.zeros(4, 3, 100, 100)).flatten().sort().values
    torch.testing.assert_close(noise, torch.linspace(0, 1, len(noise)), atol=0.01, rtol=0)


@pytest.fixture
def painted(monkeypatch):
    """A method of three slots that works on 2x2 pixels, what it would paint and how its energies would pull."""
    method = tiny(slots=3, **{"model.resolution": 2})
    red, green, blue = torch.eye(3)
    planes = torch.stack([red, green, blue])[None, :, :, None, None].expand(1, 3, 3, 2, 2)  # (B,K,3,H,W)
    pulls = torch.zeros(1, 3, 3, 2, 2)
    pulls[0, 1, 0] = -2.0
    pulls[0, 0, :, 0] = 0.5  # 1.5 in sum, less than 2
    pulls[0, 2, :, 1] = 1.0
    starts = []

    def descend(start, latents, *_, **__):
        starts.append((start, latents))
        return planes.flatten(0, 1) if len(start) == 3 else torch.full((1, 3, 2, 2), 0.25)

    monkeypatch.setattr(method.energy, "descend", descend)
    monkeypatch.setattr(method.energy, "gradient", lambda *_: pulls.flatten(0, 1))
    return method, starts


def test_a_pixel_belongs_to_the_component_that_is_painted_nearest(painted):
    method, _ = painted
    image = torch.zeros(1, 3, 35, 35)
    image[:, 0, :17, :17] = 0.9  # red, left above
    image[:, 2, :17, 17:] = 0.6  # a dark blue, right above
    image[:, 1, 17:] = 0.8  # green
    found = method.segment(image)
    expected = torch.full((35, 35), 1, dtype=torch.uint8)
    expected[:17, :17], expected[:17, 17:] = 0, 2
    assert torch.equal(found.prediction[0], expected)
    torch.testing.assert_close(found.reconstruction, torch.full((1, 3, 35, 35), 0.25))
    torch.testing.assert_close(found.components[0, :, :, 0, 0], torch.eye(3))


def test_the_other_masks_are_of_the_energy_that_pulls_most(painted):
    method, _ = painted
    labels = method.segment(images(1)).alternatives["gradients"][0]
    assert labels.shape == (35, 35)
    assert labels[0].unique().tolist() == [1]
    assert labels[-1].unique().tolist() == [2]


def test_each_energy_and_their_sum_begin_with_the_same_noise(painted):
    method, starts = painted
    found = method.segment(images(1))
    (whole, latents), (single, alone) = sorted(starts, key=lambda call: len(call[0]))
    assert len(whole) == 1
    assert torch.equal(single, whole.expand(3, -1, -1, -1))
    assert torch.equal(alone, latents[0, :, None])
    assert torch.equal(latents, found.slots)


def test_of_components_equally_near_the_first_has_the_pixel():
    black = torch.zeros(1, 3, 2, 2)
    masks = nearness(black, torch.stack([black + 0.5, black, black], dim=1))
    assert masks.argmax(1).unique().tolist() == [1]
    torch.testing.assert_close(masks.sum(1), torch.ones(1, 2, 2))
    assert strongest(torch.ones(1, 3, 3, 2, 2)).unique().tolist() == [0]


@pytest.mark.parametrize("mode", [torch.inference_mode, torch.enable_grad])
def test_segments_are_the_same_in_every_mode_and_keep_no_graph(mode):
    method, seeds = tiny().eval(), torch.tensor([3, 4])

    def found():
        method.seed_images(seeds)
        return method.segment(images())

    with torch.no_grad():
        expected = found()
    with mode():
        result = found()
    for name in ("masks", "reconstruction", "components", "slots"):
        assert not getattr(result, name).requires_grad
        torch.testing.assert_close(getattr(result, name), getattr(expected, name))
    assert all(parameter.grad is None for parameter in method.parameters())


def test_bfloat16_changes_images_and_gradients_little():
    method, batch = tiny(), images()
    norms, painted = [], []
    for enabled in (False, True):
        method.zero_grad()
        torch.manual_seed(2)
        with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
            loss = method.training_loss(batch, START).total
            loss.backward()
            method.seed_images(torch.tensor([3, 4]))
            with torch.no_grad():
                painted.append(method.segment(batch).components)
            method.seed_images(None)
        norms.append(torch.stack([p.grad.norm() for p in method.parameters()]))
    assert painted[1].dtype == torch.float32
    torch.testing.assert_close(painted[1], painted[0], atol=0.01, rtol=0)
    assert (norms[1] - norms[0]).norm() < 0.05 * norms[0].norm()


def test_operations_can_be_counted_and_all_steps_but_the_last_cost_the_same():
    counts = []
    for steps in (2, 3, 4):
        with FlopCounterMode(display=False) as counter:
            tiny(**{"descent.steps": steps}).training_loss(images(), START).total.backward()
        counts.append(counter.get_total_flops())
    assert counts[2] - counts[1] == counts[1] - counts[0] > 0
    assert counts[0] > 2 * (counts[1] - counts[0])  # the last one is differentiated twice


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("model.channels", 1, r"model\.channels: expected a whole number >= 2, found 1"),
        ("descent.steps", 0, r"descent\.steps: expected a whole number >= 1, found 0"),
        ("descent.step_size", 0.0, r"descent\.step_size: expected a number > 0, found 0"),
    ],
)
def test_settings_that_do_not_fit_are_refused(key, value, message):
    with pytest.raises(RequestError, match=message):
        tiny(**{key: value})
