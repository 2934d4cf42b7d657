"""SPAIR*: sizes as published, its loss and its masks by their formulas, schedules, refusals, and the method contract."""

from __future__ import annotations

import math

import pytest
import torch
from helpers.known import tensors_kept
from torch.distributions import Bernoulli, Normal, kl_divergence

from objbench.errors import RequestError
from objbench.methods.base import Progress
from objbench.methods.create import create
from objbench.methods.parts.spatial_transformer import paste
from objbench.testing import check_method

START = Progress("train", 0, 4, 0, 330)
TINY = {
    "model.channels": [8, 16],
    "model.strides": [3, 4],  # 36x36 in 3x3 cells
    "model.groups": [2, 4],
    "model.features": 8,
    "model.feature_groups": 2,
    "model.glimpse": 6,
    "model.what": 5,
    "model.hidden": [9],
    "model.look_hidden": [8],
    "model.decoder_channels": [6],
    "model.background_channels": [4, 8],
    "model.background_hidden": 7,
    "model.background_decoder_channels": [4],
}
OBJECTS = ("kl_where", "kl_what", "kl_depth", "kl_presence")


def tiny(dataset="tetrominoes", **overrides):
    torch.manual_seed(0)
    return create("spair", dataset, **{**TINY, **overrides})


@pytest.fixture
def same_noise(monkeypatch):
    """Give a method the same noise in every call."""

    def fix(method):
        def noise(images, *shape):
            return torch.randn(len(images), *shape, generator=torch.Generator().manual_seed(len(shape)))

        monkeypatch.setattr(method, "normal", noise)

    return fix


@pytest.mark.parametrize(
    ("dataset", "cells", "count"),
    [
        ("clevr6", (4, 4), 1_308_638),  # 1.31 M for 128x128, at any number of slots
        ("clevrtex", (4, 4), 1_310_276),  # three more dimensions of the background
        ("multi_dsprites", (4, 4), 1_062_878),
        ("tetrominoes", (3, 3), 1_016_798),
    ],
)
def test_number_of_cells_and_parameters(dataset, cells, count):
    method = create("spair", dataset)
    assert method.cells == cells
    assert sum(parameter.numel() for parameter in method.parameters()) == count


@pytest.mark.parametrize("variant", ["", ":demo"])
def test_contract(variant):
    overrides = TINY if not variant else {}
    passed = check_method(f"spair{variant}", "tetrominoes", overrides=overrides)
    assert {"gradients", "determinism", "resume", "captured_steps", "batch_size_does_not_matter"} <= set(
        passed
    )


def test_presence_is_hard_in_a_segmentation_and_soft_in_training():
    method, images = tiny(), torch.rand(4, 3, 35, 35)
    presence = method.segment(images).extras["presence"]
    assert set(presence.unique().tolist()) == {0.0, 1.0}
    padded = method.canvas.put(images)
    soft = method._scene(padded, method.background(padded), hard=False).objects.presence
    assert ((soft > 0.01) & (soft < 0.99)).any()


def test_presence_is_random_at_test_time_for_each_image_by_itself():
    method, images = tiny().eval(), torch.rand(1, 3, 35, 35).expand(8, -1, -1, -1)
    method.seed_images(torch.arange(8))
    assert len(method.segment(images).extras["presence"].unique(dim=0)) > 1


def test_masks_are_alpha_times_presence_and_the_background_is_what_their_sum_leaves(same_noise):
    method, images = tiny(**{"model.anchor": 36}), torch.rand(2, 3, 35, 35)
    same_noise(method)
    with torch.no_grad():
        method.paint.layers[-1].bias[3] = 5  # opaque boxes
        method.find.presence_net[-1].bias.fill_(5)  # in almost every cell
    found, padded = method.segment(images), method.canvas.put(images)
    scene = method._scene(padded, method.background(padded), hard=True)
    alpha = paste(scene.glimpses.alpha, scene.objects.where, (36, 36))[..., :35, :35].squeeze(2)
    torch.testing.assert_close(found.masks[:, 1:], alpha)
    torch.testing.assert_close(found.masks.sum(1), torch.ones(2, 35, 35))
    assert found.masks[:, 0].min() < -0.5  # alphas add up to more than one where boxes overlap
    absent = scene.objects.presence == 0
    assert (found.masks[:, 1:][absent] == 0).all()


def test_composited_masks_multiply_the_pixels():
    method, images = tiny(**{"model.anchor": 36}), torch.rand(2, 3, 35, 35)
    found = method.segment(images)
    composited = found.alternatives["composited"]
    torch.testing.assert_close(composited.sum(1), torch.ones(2, 35, 35))
    assert composited.min() >= -1e-6
    picture = (composited[:, :, None] * found.components).sum(1)
    torch.testing.assert_close(picture, found.reconstruction)
    assert not torch.allclose(composited, found.masks, atol=0.01)


def test_the_nearer_of_two_objects_hides_the_other():
    method = tiny(**{"model.anchor": 36})
    images = torch.rand(1, 3, 36, 36)
    scene = method._scene(images, method.background(images), hard=True)
    one = torch.ones(1, 2, 1, 6, 6)
    whole = torch.tensor([1.0, 1.0, 0.0, 0.0]).expand(1, 2, 4)
    depth = torch.tensor([[[0.1], [0.9]]])
    colours = torch.tensor([1.0, 0.0])[None, :, None, None, None].expand(1, 2, 3, 6, 6)
    objects = scene.objects._replace(where=whole, depth=depth)
    glimpses = scene.glimpses._replace(colours=colours, alpha=one, importance=one / depth[..., None, None])
    picture = method._render(scene._replace(objects=objects, glimpses=glimpses))
    torch.testing.assert_close(picture[0, :, 18, 18], torch.full((3,), 0.9))  # 10 / (10 + 10/9)


def by_hand(method, images, sigma, rho):
    """The terms of the loss of images, from distributions of torch and the count prior cell by cell."""
    padded = method.canvas.put(images)
    posterior = method.background(padded)
    scene = method._scene(padded, posterior, hard=False)
    found, n = scene.objects, scene.objects.presence.shape[1]
    painted = method.paint(found.what.flatten(0, 1)).sigmoid().unflatten(0, found.what.shape[:2])
    rgb, alpha = paste(painted, found.where, (36, 36)).split([3, 1], dim=2)
    alpha = alpha * found.presence[..., None, None, None]
    importance = (alpha / found.depth[..., None, None]).clamp(min=0.01)
    mixed = importance * (rgb * alpha + scene.background[:, None] * (1 - alpha))
    picture = mixed.sum(1) / importance.sum(1)
    counts = torch.arange(n + 1).double()
    p_count = (rho**counts / (rho**counts).sum()).expand(len(images), -1)
    before, kl = torch.zeros(len(images), 1), 0.0
    for cell in range(n):
        given = ((counts - before) / (n - cell)).clamp(0, 1)
        prior = (p_count * given).sum(1).clamp(1e-6, 1 - 1e-6)
        kl = kl + kl_divergence(Bernoulli(logits=found.logits[:, cell]), Bernoulli(probs=prior.float()))
        z = found.presence[:, cell, None].round()
        p_count = p_count * (z * given + (1 - z) * (1 - given))
        p_count, before = p_count / p_count.sum(1, keepdim=True), before + z

    def divergence(one, mean, deviation):
        return (
            kl_divergence(Normal(one.mean, one.deviation), Normal(mean, deviation)).flatten(1).sum(1).mean()
        )

    where_prior = torch.tensor([-2.197, -2.197, 0, 0]), torch.tensor([0.5, 0.5, 1, 1])
    return {
        "reconstruction": -Normal(picture, sigma).log_prob(padded).flatten(1).sum(1).mean(),
        "kl_where": divergence(found.where_posterior, *where_prior),
        "kl_what": divergence(found.what_posterior, torch.tensor(0.0), torch.tensor(1.0)),
        "kl_depth": divergence(found.depth_posterior, torch.tensor(0.0), torch.tensor(1.0)),
        "kl_presence": kl.mean(),
        "kl_background": divergence(posterior, torch.tensor(0.0), torch.tensor(3.0)),
        "objects": found.presence.round().sum(1).mean(),
    }


def test_loss_is_the_likelihood_and_divergences_of_which_those_of_objects_weigh_more(same_noise):
    method, images = tiny(), torch.rand(3, 3, 35, 35)
    same_noise(method)
    with torch.no_grad():
        losses = method.training_loss(images, START)
        expected = by_hand(method, images, 0.15, 1e-4)
    assert losses.parts.keys() == expected.keys()
    for name, value in expected.items():
        torch.testing.assert_close(losses.parts[name], value, rtol=1e-3, atol=1e-4, msg=name)
    total = (
        expected["reconstruction"] + expected["kl_background"] + 2.7 * sum(expected[name] for name in OBJECTS)
    )
    torch.testing.assert_close(losses.total, total, rtol=1e-4, atol=0)


def test_absent_objects_pay_their_divergences_all_the_same():
    method, images = tiny(), torch.rand(2, 3, 35, 35)
    with torch.no_grad():
        method.find.presence_net[-1].bias.fill_(-50)
        parts = method.training_loss(images, START).parts
    assert parts["objects"] == 0
    assert min(parts["kl_where"], parts["kl_what"], parts["kl_depth"]) > 0.5


def test_at_first_no_objects_are_expected_and_in_the_end_any_number():
    method, images = tiny(), torch.rand(2, 3, 35, 35)
    found = {}
    for part in (0, 2, 4):
        method.clock.step.fill_(part / 100 * 250_000)
        torch.manual_seed(0)
        found[part] = method.training_loss(images, START).parts["kl_presence"].item()
    assert found[0] > 3 * found[2]
    assert found[2] > found[4]
    method.clock.step.fill_(math.inf)
    torch.manual_seed(0)
    assert method.training_loss(images, START).parts["kl_presence"].item() == pytest.approx(found[4])


def test_on_clevrtex_sigma_falls_over_a_fifth_of_the_training():
    sigma = create("spair", "clevrtex").settings.curriculum.sigma
    values = [sigma.at(torch.tensor(float(step))).item() for step in (0, 25_000, 50_000, 250_000)]
    assert values == pytest.approx([0.5, 0.325, 0.15, 0.15])


def test_steps_go_on_in_the_curriculum_as_fast_as_the_training_is_short():
    method = tiny()
    method.after_step(START, method.training_loss(torch.rand(1, 3, 35, 35), START), [])
    assert method.clock.step.item() == 250_000 / 4


def test_a_plateau_of_the_reconstruction_lowers_the_learning_rate():
    method = tiny()
    ((_, rate),) = method.optimizers(method.stages()[0])
    for _ in range(5):
        assert rate(START) == 1e-4
        method.after_evaluation(START, {"mse": 0.1, "ari_fg": 0.5})
    assert rate(START) == 5e-5
    method.after_evaluation(START, {"ari_fg": 0.5})  # another definition of the metrics: no error


def test_boxes_are_fractions_of_the_image_without_the_canvas():
    method = tiny(**{"model.anchor": 12})
    last = method.find.where_net[-1]
    torch.nn.init.zeros_(last.weight)
    with torch.no_grad():
        last.bias[:8] = torch.tensor([20.0, 20, 0, 0, -100, -100, -100, -100])
    boxes = method.segment(torch.rand(1, 3, 35, 35)).extras["boxes"][0]
    expected = torch.tensor([12.0, 24, 12, 12]) / 35  # left, top, width, height of cell 7, in the last row
    torch.testing.assert_close(boxes[7], expected, rtol=1e-3, atol=1e-4)


def test_no_tensors_are_kept_from_step_to_step():
    assert tensors_kept(tiny(), START) == 0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model.strides": [2, 4]}, r"model\.strides: expected a product that divides 36x36, found \[2, 4\]"),
        ({"model.strides": [2]}, r"model\.strides: expected 2 numbers, as many as model\.channels, found \[2\]"),
        ({"model.groups": [3, 4]}, r"model\.groups and model\.feature_groups: expected divisors of \[8, 16, 8\]"),
        ({"model.canvas": 30}, r"model\.canvas: expected at least 35"),
        ({"loss.temperature": 0.0}, r"loss\.temperature: expected a number > 0, found 0\.0"),
    ],
)  # fmt: skip
def test_what_makes_no_sense_is_refused(change, message):
    with pytest.raises(RequestError, match=message):
        tiny(**change)


def test_the_background_can_begin_with_the_median_colour():
    method = tiny(**{"model.background_start": "median"})
    images = torch.tensor([0.9, 0.5, 0.1]).view(1, 3, 1, 1).repeat(4, 1, 35, 35)
    last = method.background.paint.layers[-1]
    with torch.no_grad():
        method.setup(images, method.stages()[0])
    assert last.bias.sigmoid().tolist() == pytest.approx([0.9, 0.5, 0.1], abs=1e-4)


def test_a_known_model_has_the_loss_that_it_had(same_noise):
    method = tiny()
    same_noise(method)
    with torch.no_grad():
        for parameter in method.parameters():
            parameter.copy_(0.1 * torch.arange(1.0, 1 + parameter.numel()).sin().view(parameter.shape))
        ramp = torch.linspace(0, 1, 2 * 3 * 35 * 35).view(2, 3, 35, 35)
        losses = method.training_loss(ramp, START)
    found = {"total": losses.total.item()} | {name: value.item() for name, value in losses.parts.items()}
    golden = {
        "total": 5173.539,
        "reconstruction": 4519.067,
        "kl_where": 191.4366,
        "kl_what": 4.742774,
        "kl_depth": 0.9044194,
        "kl_presence": 44.97294,
        "kl_background": 0.9183652,
        "objects": 4.0,
    }
    assert found == pytest.approx(golden, rel=1e-4)
