"""GNM: sizes as published, its loss by its formula, its curricula, what it segments, and the method contract."""

from __future__ import annotations

import pytest
import torch
from helpers.known import KnownNoise, known_loss, tensors_kept
from torch.distributions import Normal

from objbench.errors import RequestError
from objbench.methods.base import Progress
from objbench.methods.create import create
from objbench.testing import check_method

START = Progress("train", 0, 4, 0, 330)
TINY = {
    "model.encoder_channels": [4, 4, 6, 8],
    "model.what": 3,
    "model.glimpse_channels": [8, 4],
    "model.steps": 2,
    "model.step_latent": 3,
    "model.hidden": [8],
    "model.step_hidden": [8],
    "model.background": 2,
    "model.background_hidden": [8],
    "model.background_prior_hidden": [8],
    "model.background_channels": [8, 4],
    "model.background_upscales": [8, 8],
}
TINY_REDUCED = {
    **TINY,
    "model.resolution": 14,
    "model.canvas": 16,
    "model.encoder_channels": [6, 8],
    "model.background_upscales": [4, 4],
}


def tiny(name="gnm", dataset="tetrominoes", **overrides):
    torch.manual_seed(0)
    return create(name, dataset, **{**TINY, **overrides})


@pytest.mark.parametrize(
    ("dataset", "count"),
    [
        ("clevr6", 8_636_446),  # published: 8.64 M for 128x128
        ("clevrtex", 8_636_446),
        (
            "multi_dsprites",
            8_601_662,
        ),  # without the first scale of the encoder, and 2 instead of 4 in the background
        ("tetrominoes", 8_601_662),
    ],
)
def test_number_of_parameters(dataset, count):
    method = create("gnm", dataset)
    assert sum(parameter.numel() for parameter in method.parameters()) == count


def test_parts_have_the_sizes_that_are_published_for_them():
    method = create("gnm", "clevrtex")
    sizes = {name: sum(p.numel() for p in part.parameters()) for name, part in method.named_children()}
    assert sizes["draw"] == 5_957_376  # published: 5.96 M
    assert sizes["background_posterior"] == 1_187_092  # 1.19 M
    assert sum(p.numel() for p in method.painter.glimpse.parameters()) == 689_248  # .69 M
    assert sizes["encoder"] == 632_608  # .63 M


@pytest.mark.parametrize(
    ("name", "deviations"),
    [
        ("gnm", [0.2, 0.2, 0.2, 0.5]),
        ("gnm:clevrtex", [0.5, 0.5, 0.5, 0.5]),
        ("gnm:wide", [0.4, 0.4, 0.4, 0.7]),
    ],
)
def test_deviations_of_the_presets(name, deviations):
    found = [
        create(name, dataset, **TINY | (TINY_LARGE if "clevr" in dataset else {})).settings.loss.sigma
        for dataset in ("tetrominoes", "multi_dsprites", "clevr6", "clevrtex")
    ]
    assert found == deviations


TINY_LARGE = {"model.encoder_channels": [4, 4, 4, 6, 8], "model.background_upscales": [8, 16]}


@pytest.mark.parametrize(
    ("name", "dataset", "overrides"),
    [
        ("gnm", "tetrominoes", TINY),
        ("gnm", "multi_dsprites", TINY),
        ("gnm:demo", "tetrominoes", TINY_REDUCED),
    ],
)
def test_contract(name, dataset, overrides):
    passed = check_method(name, dataset, overrides=overrides)
    assert {"gradients", "determinism", "resume", "captured_steps", "batch_size_does_not_matter"} <= set(
        passed
    )


def test_there_are_four_by_four_cells_whatever_the_size():
    assert {
        create("gnm", name).cells for name in ("tetrominoes", "multi_dsprites", "clevr6", "clevrtex")
    } == {(4, 4)}


def test_loss_is_the_likelihood_and_the_divergences_weighed_by_the_curriculum(monkeypatch):
    method, images = tiny(dataset="multi_dsprites"), torch.rand(2, 3, 64, 64)
    noise = KnownNoise(method, monkeypatch)
    method.clock.step.fill_(50_000.0)  # presence 0.001, weights: global 0.5, where 1, background 1
    losses = method.training_loss(images, START)
    noise.rewind()
    found = method.segment(images)  # at the end of all curricula
    error = -Normal(found.reconstruction, 0.2).log_prob(images).sum((1, 2, 3)).mean()
    parts = losses.parts
    torch.testing.assert_close(parts["reconstruction"], error)
    total = error + parts["kl"] + 0.5 * parts["kl_global"] + parts["kl_fixed"] + parts["kl_background"]
    torch.testing.assert_close(losses.total, total)
    assert parts["objects"].item() == pytest.approx(found.extras["presence"].sum(1).mean().item(), rel=1e-5)


def test_curricula_at_their_ends():
    """Of the last step of a training, whatever its length."""
    curriculum = tiny(dataset="multi_dsprites").settings.curriculum
    steps = torch.tensor(0.0), torch.tensor(float("inf"))
    expected = {
        "temperature": [1.0, 0.5],
        "presence": [0.1, 0.001],
        "beta_global": [0.0, 1.0],
        "beta_where": [10.0, 1.0],
        "beta_background": [50.0, 1.0],
    }
    for name, values in expected.items():
        assert [getattr(curriculum, name).at(step).item() for step in steps] == pytest.approx(
            values, rel=1e-5
        ), name


def test_a_captured_step_follows_the_curriculum():
    """The step is in a tensor, so that the same work gives other losses later."""
    method, images = tiny(), torch.rand(2, 3, 35, 35)
    totals = []
    for step in (0, 1, 2):
        torch.manual_seed(1)
        progress = Progress("train", step, 30, 0, 330)
        losses = method.training_loss(images, START)  # as if captured at the first step
        totals.append(losses.total.item())
        method.after_step(progress, losses, [])
    assert method.clock.step.item() == 30_000
    assert len(set(totals)) == 3
    with torch.no_grad():
        method.setup(images, method.stages()[0])
    assert method.clock.step.item() == 0


@pytest.mark.parametrize(("start", "colour"), [("median", [0.01, 0.4, 0.8]), ("grey", [0.5, 0.5, 0.5])])
def test_a_background_begins_with_grey_or_with_the_median_colour(start, colour):
    method = tiny(**{"model.background_start": start})
    last = method.painter.background[-1]
    images = torch.tensor([0.0, 0.4, 0.8]).view(1, 3, 1, 1).repeat(3, 1, 35, 35)
    images[:, :, :8] = 1.0
    with torch.no_grad():
        last.bias.zero_()
        method.setup(images, method.stages()[0])
    assert last.bias.sigmoid().tolist() == pytest.approx(colour, abs=1e-4)


def test_early_steps_but_the_first_force_objects_to_explain(monkeypatch):
    method, images = tiny(), torch.rand(2, 3, 35, 35)
    forced = {}
    from objbench.methods.gnm.scene import Scene

    render = Scene.render

    def noted(self, flag):
        forced[method.clock.step.item()] = flag.item()
        return render(self, flag)

    monkeypatch.setattr(Scene, "render", noted)
    for step in (0.0, 1.0, 499.0, 500.0, 1e5):
        method.clock.step.fill_(step)
        method.training_loss(images, START)
    assert forced == {0.0: False, 1.0: True, 499.0: True, 500.0: False, 1e5: False}


def surely_present(method):
    with torch.no_grad():
        method.head.presence.weight.zero_()
        method.head.presence.bias.fill_(50.0)
    return method


def test_presence_is_capped_while_objects_are_forced():
    method, images = surely_present(tiny()), torch.rand(2, 3, 35, 35)
    counts = []
    for step in (100.0, 600.0):
        method.clock.step.fill_(step)
        counts.append(method.training_loss(images, START).parts["objects"].item())
    assert 16 * 0.98 < counts[0] <= 16 * 0.99 + 1e-4
    assert counts[1] > 16 * 0.995


def test_presence_is_soft_at_test_time(monkeypatch):
    """Temperature 0.5 after the training, 1 before it: sigmoid(noise / temperature) where the logit is 0."""
    method, images = tiny().eval(), torch.rand(2, 3, 35, 35)
    with torch.no_grad():
        method.head.presence.weight.zero_()
        method.head.presence.bias.zero_()
    noise = KnownNoise(method, monkeypatch)
    found = {}
    for name, progress in (("end", None), ("start", START)):
        noise.rewind()
        found[name] = method.segment(images, progress).extras["presence"]
    uniform = Normal(0.0, 1.0).cdf(next(n for n in noise.drawn if n.shape == (2, 16)))
    logistic = uniform.log() - (1 - uniform).log()
    torch.testing.assert_close(found["start"], torch.sigmoid(logistic), atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(found["end"], torch.sigmoid(logistic / 0.5), atol=1e-5, rtol=1e-4)
    assert ((found["end"] > 0.01) & (found["end"] < 0.99)).any()


def test_prior_and_posterior_share_a_head(monkeypatch):
    """If StructDRAW drew the features of the image, the prior would be the posterior."""
    method, images = tiny(), torch.rand(2, 3, 35, 35)
    draw = method.draw.forward
    monkeypatch.setattr(
        method.draw, "forward", lambda features, noise: draw(features, noise)._replace(canvas=features)
    )
    found = method._infer(method.canvas.put(images))
    torch.testing.assert_close(found.cells.kl_to(found.cells_prior), torch.zeros(2))


def test_masks_are_the_background_and_one_for_each_cell_of_the_images_size():
    found = tiny().eval().segment(torch.rand(2, 3, 35, 35))
    assert found.masks.shape == (2, 17, 35, 35)
    assert not found.partition
    torch.testing.assert_close(found.masks.sum(1), torch.ones(2, 35, 35))
    assert found.alternatives["composited"].shape == (2, 17, 35, 35)
    assert found.reconstruction.shape == (2, 3, 35, 35)
    shapes = {name: tuple(value.shape) for name, value in found.extras.items()}
    assert shapes == {"boxes": (2, 16, 4), "presence": (2, 16), "depth": (2, 16)}


def test_masks_published_and_composited_differ_where_boxes_overlap():
    method = surely_present(tiny()).eval()
    with torch.no_grad():
        method.painter.glimpse[-2].bias.fill_(4.0)  # before the pixel shuffle
    found = method.segment(torch.rand(2, 3, 35, 35))
    assert found.masks.min().item() < -0.5
    assert found.alternatives["composited"].min().item() >= 0


def test_boxes_are_fractions_of_the_image_not_of_the_canvas(monkeypatch):
    """In the middle of its cell, an object of the first cell has its centre at an eighth of the canvas."""
    method = tiny().eval()
    monkeypatch.setattr(method, "normal", lambda images, *shape: torch.zeros(len(images), *shape))
    with torch.no_grad():
        method.head.where.weight.zero_()
    left, top, width, height = method.segment(torch.rand(1, 3, 35, 35)).extras["boxes"][0, 0].tolist()
    assert width == height == pytest.approx(64 / 35 / (1 + torch.e))
    assert left + width / 2 == pytest.approx(64 / 35 / 8)
    assert top + height / 2 == pytest.approx(64 / 35 / 8)


def test_no_memory_is_kept_from_step_to_step():
    assert tensors_kept(tiny(), START) == 0


@pytest.mark.parametrize(
    ("dataset", "overrides", "message"),
    [
        ("multi_dsprites", {"model.background_upscales": [8, 4]}, "expected factors with a product of 64"),
        ("multi_dsprites", {"model.background_upscales": [64]}, "expected 2 numbers, as many as"),
        ("multi_dsprites", {"model.encoder_channels": [4] * 7}, "expected fewer halvings"),
        ("tetrominoes", {"model.canvas": 32}, "model.canvas: expected at least 35"),
        ("tetrominoes", {"loss.sigma": 0.0}, "loss.sigma: expected a number > 0, found 0.0"),
        ("tetrominoes", {"curriculum.beta_where.end_step": -1}, "beta_where.end_step: expected a whole"),
    ],
)
def test_bad_settings_are_refused(dataset, overrides, message):
    with pytest.raises(RequestError, match=message):
        tiny(dataset=dataset, **overrides)


def test_a_known_model_has_the_loss_that_it_had():
    golden = {
        "total": 26265.08,
        "reconstruction": 7487.584,
        "kl": 8.465669e-05,
        "kl_global": 3.630155e-03,
        "kl_fixed": 18764.26,
        "kl_background": 0.2648231,
        "objects": 11.94008,
    }
    found = known_loss(tiny(), Progress("train", 5000, 300_000, 0, 330))
    assert found == pytest.approx(golden, rel=1e-3)
