"""SPACE: sizes as published, its loss by its formula, its curricula, what it segments, and the method contract."""

from __future__ import annotations

import math

import pytest
import torch
from helpers.known import KnownNoise, known_loss, tensors_kept
from torch.distributions import Normal
from torch.optim import Adam, RMSprop

from objbench.errors import RequestError
from objbench.methods.base import Progress
from objbench.methods.create import create
from objbench.methods.space.background import Backdrop
from objbench.methods.space.foreground import Picture
from objbench.testing import check_method

START = Progress("train", 0, 4, 0, 330)
END = torch.tensor(float("inf"))
TINY = {
    "model.encoder": {
        "channels": [4, 8, 8, 6],
        "kernels": [4, 4, 4, 1],
        "strides": [2, 2, 2, 1],
        "groups": [2] * 4,
    },
    "model.what": 3,
    "model.glimpse": 8,
    "model.glimpse_encoder": {"channels": [4, 8], "kernels": [4, 4], "strides": [2, 1], "groups": [2, 2]},
    "model.glimpse_decoder": {"channels": [8, 8, 4], "upscales": [2, 4], "groups": [2, 2, 2]},
    "model.background.components": 3,
    "model.background.mask_latent": 3,
    "model.background.latent": 3,
    "model.background.hidden": 8,
    "model.background.image_channels": [4, 4],
    "model.background.mask_decoder": {"channels": [8, 4, 4], "upscales": [8, 8], "groups": [2, 2, 2]},
    "model.background.encoder_channels": [4, 4],
    "model.background.decoder_channels": [4, 4],
    "loss.frame": 2,
}
TINY_40 = {**TINY, "model.background.mask_decoder.upscales": [5, 8]}


TINY_32 = {**TINY, "model.background.mask_decoder.upscales": [4, 8]}


def flat(overrides):
    """Overrides by dotted keys to the values themselves."""
    found = {}
    for key, value in overrides.items():
        found |= (
            {f"{key}.{name}": v for name, v in value.items()} if isinstance(value, dict) else {key: value}
        )
    return found


def tiny(name="space", dataset="tetrominoes", **overrides):
    torch.manual_seed(0)
    return create(name, dataset, **{**flat(TINY_40 if dataset == "tetrominoes" else TINY), **overrides})


def size(module):
    return sum(parameter.numel() for parameter in module.parameters())


@pytest.mark.parametrize(
    ("dataset", "count"),
    [
        ("clevr6", 5_307_651),  # published: 5.31 M for 128x128
        ("clevrtex", 5_307_651),
        (
            "multi_dsprites",
            4_901_955,
        ),  # less is left for the linear layers of the background, and an upscaling is 2
        ("tetrominoes", 4_915_795),
    ],
)
def test_number_of_parameters(dataset, count):
    assert size(create("space", dataset)) == size(create("space:clevrtex", dataset)) == count


def test_parts_have_the_sizes_that_are_published_for_them():
    method = create("space", "clevrtex")
    assert size(method.foreground) == 2_357_167  # published: 2.36 M
    assert size(method.background) == 2_950_484  # 2.95 M
    assert size(method.background.mask_decoder) == 2_123_217  # 2.12 M


@pytest.mark.parametrize("name", ["space", "space:clevrtex"])
def test_cells_have_eight_pixels_or_sixteen(name):
    datasets = ("tetrominoes", "multi_dsprites", "clevr6", "clevrtex")
    cells = [create(name, dataset).foreground.encoder.cells for dataset in datasets]
    assert cells == [(5, 5), (8, 8), (8, 8), (8, 8)]


def schedule(settings):
    """What the tables of the reference list, at the beginning and at the end."""
    c, zero = settings.curriculum, torch.zeros(())
    ramps = [
        (round(ramp.at(zero).item(), 4), round(ramp.at(END).item(), 4))
        for ramp in (c.presence, c.size, c.temperature)
    ]
    loss, rates = settings.loss, settings.optimizer
    return (
        *ramps,
        c.boundary_steps,
        loss.foreground_sigma,
        loss.background_sigma,
        rates.foreground_rate,
        rates.background_rate,
    )


@pytest.mark.parametrize(
    ("name", "dataset", "expected"),
    [
        ("space", "tetrominoes", ((0.1, 0.01), (0, -1), (2.5, 0.5), 100_000, 0.15, 0.15, 1e-4, 1e-3)),
        ("space", "multi_dsprites", ((0.5, 0.05), (0, -1), (2.5, 0.5), 20_000, 0.15, 0.15, 3e-5, 1e-3)),
        ("space", "clevr6", ((0.1, 0.01), (0, -1), (2.5, 0.5), 20_000, 0.05, 0.05, 1e-4, 1e-3)),
        ("space", "clevrtex", ((0.1, 0.01), (0, -1), (2.5, 0.5), 20_000, 0.05, 0.05, 1e-4, 1e-3)),
        ("space:clevrtex", "tetrominoes", ((0.1, 0.01), (-1, -2), (2.5, 2.5), None, 0.15, 0.15, 1e-5, 1e-3)),
        ("space:clevrtex", "clevrtex", ((0.1, 0.01), (-1, -2), (2.5, 2.5), None, 0.15, 0.15, 1e-5, 1e-3)),
    ],
)
def test_presets_have_the_published_settings(name, dataset, expected):
    assert schedule(create(name, dataset).settings) == expected


# Convolutions before a batch norm have biases that it takes away again: their gradient is rounding noise, of which Adam
# makes steps of full length. At this rate two trainings may differ by them and pass for equal.
CALM = {"optimizer.background_rate": 1e-5}


@pytest.mark.parametrize(
    ("name", "dataset", "overrides"),
    [
        ("space", "tetrominoes", TINY_40),
        ("space", "multi_dsprites", TINY),
        ("space:clevrtex", "multi_dsprites", TINY),
        ("space:demo", "multi_dsprites_binarized", TINY_32),
    ],
)
def test_contract(name, dataset, overrides):
    passed = check_method(name, dataset, overrides=flat(overrides) | CALM)
    assert {"gradients", "determinism", "resume", "captured_steps", "batch_size_does_not_matter"} <= set(
        passed
    )


def test_rmsprop_has_the_foreground_and_adam_the_background():
    method = tiny()
    (stage,) = method.stages()
    assert stage.clip_norm == 1.0  # of the gradients of both together
    pairs = method.optimizers(stage)
    assert [type(optimizer) for optimizer, _ in pairs] == [RMSprop, Adam]
    assert [rate(START) for _, rate in pairs] == [1e-4, 1e-3]
    owned = [{id(p) for group in optimizer.param_groups for p in group["params"]} for optimizer, _ in pairs]
    assert owned == [{id(p) for p in part.parameters()} for part in (method.foreground, method.background)]
    assert sum(map(len, owned)) == len(list(method.parameters()))


def test_loss_is_the_mixture_the_divergences_and_the_boundary(monkeypatch):
    overrides = {"loss.foreground_sigma": 0.2, "loss.background_sigma": 0.1}
    method, images = tiny(dataset="multi_dsprites", **overrides).eval(), torch.rand(2, 3, 64, 64)
    noise = KnownNoise(method, monkeypatch)
    parts = method.training_loss(images, START).parts  # at step 0: temperature 2.5
    noise.rewind()
    _, _, objects = method.foreground(images, lambda *shape: noise(images, *shape), torch.tensor(2.5))
    picture, backdrop = method.foreground.picture(objects), method._backdrop(images)
    density = Normal(backdrop.components, 0.1).log_prob(images[:, None]).exp()
    behind = (backdrop.log_masks.exp() * density).sum(1)
    before = Normal(picture.colours, 0.2).log_prob(images).exp()
    mixed = (picture.alpha + 1e-5) * before + (1 - picture.alpha + 1e-5) * behind
    error = -mixed.double().log().sum((1, 2, 3)).mean()
    torch.testing.assert_close(parts["reconstruction"], error.float(), rtol=1e-4, atol=1e-3)
    overlap = -Normal(picture.overlap, 0.7).log_prob(torch.zeros(())).sum((1, 2, 3)).mean()
    torch.testing.assert_close(parts["boundary"], overlap)
    torch.testing.assert_close(parts["kl_background"], backdrop.kl.mean())
    assert parts["objects"].item() == pytest.approx(objects.presence.sum(1).mean().item(), rel=1e-5)


def test_where_alpha_is_zero_or_one_the_other_side_keeps_a_hundred_thousandth():
    method, images = tiny(dataset="multi_dsprites"), torch.zeros(1, 3, 2, 2)
    alpha = torch.tensor([0.0, 1.0]).expand(1, 1, 2, 2)
    black, white = torch.zeros(1, 3, 2, 2), torch.ones(1, 3, 2, 2)
    certain = torch.zeros(1, 1, 1, 2, 2)  # the logarithm of one mask of 1
    found = method._likelihood(
        images, Picture(white, alpha, alpha), Backdrop(certain, black[:, None], torch.zeros(1))
    )
    hit, missed = (Normal(mean, 0.15).log_prob(torch.tensor(0.0)).exp().item() for mean in (0.0, 1.0))
    pixels = [1e-5 * missed + (1 + 1e-5) * hit, (1 + 1e-5) * missed + 1e-5 * hit]
    expected = 6 * sum(math.log(pixel) for pixel in pixels)  # three channels, two rows
    assert found.item() == pytest.approx(expected, rel=1e-4)


def test_the_four_terms_have_equal_weights():
    losses = tiny().training_loss(torch.rand(2, 3, 35, 35), START)
    names = ("reconstruction", "kl_foreground", "kl_background", "boundary")
    torch.testing.assert_close(losses.total, sum(losses.parts[name] for name in names))


@pytest.mark.parametrize(("name", "steps"), [("space", (99_999, 100_000)), ("space:clevrtex", (10**9,))])
def test_the_boundary_is_punished_until_its_last_step_or_throughout(name, steps):
    method, images = tiny(name), torch.rand(2, 3, 35, 35)
    found = []
    for step in steps:
        method.clock.step.fill_(float(step))
        found.append(method.training_loss(images, START).parts["boundary"].item() != 0)
    assert found == [True, False][: len(steps)]


def test_a_captured_step_follows_the_curriculum():
    """The step is in a tensor, so that the same work gives other losses later."""
    method, images = tiny(), torch.rand(2, 3, 35, 35)
    divergences = []
    for step in (0, 1, 2):
        torch.manual_seed(1)
        losses = method.training_loss(images, START)  # as if captured at the first step
        divergences.append(losses.parts["kl_foreground"].item())
        method.after_step(Progress("train", step, 30, 0, 330), losses, [])
    assert method.clock.step.item() == 20_000
    assert len(set(divergences)) == 3
    method.setup(images, method.stages()[0])
    assert method.clock.step.item() == 0


def presence(method, bias):
    with torch.no_grad():
        method.foreground.encoder.heads.weight[0].zero_()
        method.foreground.encoder.heads.bias[0] = bias
    return method


@pytest.mark.parametrize(
    ("name", "temperatures"), [("space", (2.5, 1.5, 0.5)), ("space:clevrtex", (2.5, 2.5, 2.5))]
)
def test_presence_is_soft_at_test_time(name, temperatures, monkeypatch):
    """A sample sigmoid((logit + noise) / temperature), at the temperature of the step or of the end."""
    method, images = presence(tiny(name), 0.0).eval(), torch.rand(2, 3, 35, 35)
    noise = KnownNoise(method, monkeypatch)
    halfway = Progress("train", 25_000, 200_000, 0, 330)  # of 0..50,000
    for progress, temperature in zip((START, halfway, None), temperatures, strict=True):
        noise.rewind()
        found = method.segment(images, progress).extras["presence"]
        uniform = Normal(0.0, 1.0).cdf(noise.drawn[0])
        logistic = uniform.log() - (1 - uniform).log()
        torch.testing.assert_close(found, torch.sigmoid(logistic / temperature), atol=1e-5, rtol=1e-4)


def test_empty_cells_keep_some_presence_in_the_published_row():
    """At temperature 2.5 a logit of -8.8 leaves about 0.03; at 0.5 nothing."""
    images = torch.rand(8, 3, 35, 35)
    rows = {name: presence(tiny(name), -1e6).eval() for name in ("space", "space:clevrtex")}
    left = {name: method.segment(images).extras["presence"] for name, method in rows.items()}
    assert 0.02 < left["space:clevrtex"].mean().item() < 0.06
    assert left["space"].median().item() < 1e-6


def test_masks_are_the_background_and_one_for_each_cell_of_the_images_size():
    found = tiny().eval().segment(torch.rand(2, 3, 35, 35))
    assert found.masks.shape == found.alternatives["composited"].shape == (2, 26, 35, 35)
    assert not found.partition
    torch.testing.assert_close(found.masks.sum(1), torch.ones(2, 35, 35))
    torch.testing.assert_close(found.alternatives["composited"].sum(1), torch.ones(2, 35, 35))
    assert found.components.shape == (2, 26, 3, 35, 35)
    shapes = {name: tuple(value.shape) for name, value in found.extras.items()}
    assert shapes == {"boxes": (2, 25, 4), "presence": (2, 25), "depth": (2, 25)}


def test_masks_published_and_composited_differ_where_boxes_overlap():
    method = presence(tiny(), 1e6).eval()
    with torch.no_grad():
        method.foreground.vae.decoder[-1].bias[3] = 4.0  # alpha
    found = method.segment(torch.rand(2, 3, 35, 35))
    assert found.masks.min().item() < -0.5
    assert found.alternatives["composited"].min().item() >= 0


def test_the_reconstruction_is_the_mean_of_the_mixture(monkeypatch):
    method, images = tiny(dataset="multi_dsprites").eval(), torch.rand(2, 3, 64, 64)
    noise = KnownNoise(method, monkeypatch)
    found = method.segment(images)
    noise.rewind()
    _, _, objects = method.foreground(images, lambda *shape: noise(images, *shape), torch.tensor(0.5))
    picture, behind = method.foreground.picture(objects), method._backdrop(images).picture
    expected = picture.alpha * picture.colours + (1 - picture.alpha) * behind
    torch.testing.assert_close(found.reconstruction, expected)
    torch.testing.assert_close(found.components[:, 0], behind)
    torch.testing.assert_close(found.masks[:, 1:], method.foreground.planes(objects).masks[:, :, 0])


def test_boxes_are_fractions_of_the_image_not_of_the_canvas(monkeypatch):
    """In the middle of its cell, an object of the first of five cells has its centre at a tenth of the canvas."""
    method = tiny().eval()
    monkeypatch.setattr(method, "normal", lambda images, *shape: torch.zeros(len(images), *shape))
    with torch.no_grad():
        method.foreground.encoder.heads.weight.zero_()
        method.foreground.encoder.heads.bias.zero_()
    left, top, width, height = method.segment(torch.rand(1, 3, 35, 35)).extras["boxes"][0, 0].tolist()
    assert width == height == pytest.approx(40 / 35 / 2)
    assert left + width / 2 == top + height / 2 == pytest.approx(40 / 35 / 10)


def test_segmenting_uses_the_running_statistics_of_batch_norm():
    method, images = tiny(), torch.rand(4, 3, 35, 35)
    method.train()
    method.training_loss(images, START)
    norms = [module for module in method.modules() if isinstance(module, torch.nn.BatchNorm2d)]
    assert len(norms) == 6
    method.eval()
    seeds = torch.arange(4)

    def background(part):
        method.seed_images(seeds[part])
        found = method.segment(images[part]).components[:, 0]
        method.seed_images(None)
        return found

    torch.testing.assert_close(background(slice(1)), background(slice(4))[:1], rtol=1e-4, atol=1e-5)
    before = background(slice(4))
    norms[-1].running_mean += 1.0
    assert (background(slice(4)) - before).abs().max().item() > 1e-3


def test_no_memory_is_kept_from_step_to_step():
    assert tensors_kept(tiny(), START) == 0


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"model.background.components": 1}, r"components: expected a whole number >= 2, found 1"),
        ({"model.background.mask_decoder.upscales": [8, 8]}, "expected factors with a product of 40"),
        ({"model.canvas": 32}, "model.canvas: expected at least 35"),
        ({"model.canvas": 44}, r"model\.encoder: expected layers that divide 44x44 pixels evenly"),
        ({"loss.background_sigma": 0.0}, "loss.background_sigma: expected a number > 0, found 0.0"),
        ({"curriculum.boundary_steps": 0}, "boundary_steps: expected a whole number >= 1 or null, found 0"),
    ],
)
def test_bad_settings_are_refused(overrides, message):
    with pytest.raises(RequestError, match=message):
        tiny(**overrides)


def test_the_components_of_the_background_can_begin_with_the_median_colour():
    method = tiny(**{"model.background.start": "median"})
    images = torch.tensor([0.9, 0.5, 0.1]).view(1, 3, 1, 1).repeat(4, 1, 35, 35)
    last = method.background.vae.decoder.layers[-1]
    with torch.no_grad():
        last.weight.mul_(1e-3)
        method.setup(images, method.stages()[0])
    assert last.bias.sigmoid().tolist() == pytest.approx([0.9, 0.5, 0.1], abs=1e-4)


def test_a_known_model_has_the_loss_that_it_had():
    golden = {
        "total": 6268.880,
        "reconstruction": 3030.083,
        "kl_foreground": 1039.119,
        "kl_background": 0.02623554,
        "boundary": 2199.653,
        "objects": 14.91372,
    }
    found = known_loss(tiny(), Progress("train", 5000, 200_000, 0, 330))
    assert found == pytest.approx(golden, rel=1e-3)
