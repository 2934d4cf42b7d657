"""GENESIS-V2: sizes as published, its parts by their formulas, its goals, and the method contract."""

from __future__ import annotations

import math

import pytest
import torch
from torch.distributions import Normal, kl_divergence

from objbench.errors import RequestError
from objbench.methods.base import Progress
from objbench.methods.create import create
from objbench.methods.genesis_v2 import InstanceColoring, pool
from objbench.methods.parts.gaussian import Gaussian
from objbench.testing import check_method

START = Progress("train", 0, 4, 0, 330)
TINY = {  # two channels per group: one would be normalised away with its bias, and Adam would follow rounding errors
    "model.encoder_channels": [16, 16, 16],
    "model.colors": 3,
    "model.latent": 4,
    "model.prior_width": 5,
    "model.decoder_channels": [16, 16],
}


def tiny(dataset="tetrominoes", **overrides):
    torch.manual_seed(0)
    return create("genesis_v2", dataset, **{**TINY, **overrides})


@pytest.mark.parametrize(
    ("dataset", "count"),
    [
        ("multi_dsprites", 2_729_422),  # published as 2.73 M for 64x64, at any number of slots
        ("clevr6", 2_840_270),  # 2.84 M for 128x128
        ("clevrtex", 2_840_270),
        ("tetrominoes", 2_914_638),  # more than at 64x64: what the U-Net leaves of 35x35 is 5x5, not 4x4
    ],
)
def test_number_of_parameters(dataset, count):
    method = create("genesis_v2", dataset)
    assert sum(parameter.numel() for parameter in method.parameters()) == count


def test_decoder_paints_from_a_sixteenth_of_the_size():
    grids = {
        name: create("genesis_v2", name).decoder.grid for name in ("tetrominoes", "multi_dsprites", "clevr6")
    }
    assert grids == {"tetrominoes": (3, 3), "multi_dsprites": (4, 4), "clevr6": (8, 8)}


# Neither distances of colours nor a softmax over slots sees a bias that all of them share: its gradient is rounding
# noise, which Adam makes steps of full length of. At this rate two trainings may differ by them and pass for equal.
CALM = {"optimizer.learning_rate": 1e-5}


@pytest.mark.parametrize("variant", ["", ":demo"])
def test_contract(variant):
    passed = check_method(f"genesis_v2{variant}", "tetrominoes", overrides=TINY | CALM)
    assert {"gradients", "determinism", "resume", "captured_steps", "batch_size_does_not_matter"} <= set(
        passed
    )


def test_sketchy_has_the_finer_goal():
    goals = [create(name, "clevr6", **TINY).geco.goal for name in ("genesis_v2", "genesis_v2:sketchy")]
    assert goals == [0.5655 * 3 * 128 * 128, 0.5645 * 3 * 128 * 128]


def coloring(slots=3, gate=0.0, colors=2, size=(5, 4)):
    torch.manual_seed(0)
    part = InstanceColoring(size, 8, colors, slots)
    part.gate.data.fill_(gate)
    return part


def test_masks_sum_to_one():
    log_masks = coloring(slots=5, gate=1.0)(torch.randn(2, 8, 5, 4), torch.rand(2, 1, 5, 4).log())
    torch.testing.assert_close(log_masks.exp().sum(1), torch.ones(2, 1, 5, 4))


def test_masks_begin_as_bells_around_random_pixels():
    log_noise = torch.full((1, 1, 5, 4), 0.5).log()
    log_noise[0, 0, 2, 0] = 0  # the first seed; places run from -1 to 1 in five rows and four columns
    mask = coloring(slots=3)(torch.randn(1, 8, 5, 4), log_noise).exp()[0, 0, 0]
    assert mask[2, 0].item() == pytest.approx(0.99)  # would be 1, but leaves the others a hundredth
    assert mask[1, 0].item() == pytest.approx(
        2 ** (-3 * 0.5**2)
    )  # distance 1/2 and exp(log_scale) = 1/(K ln 2)
    assert mask[4, 1].item() == pytest.approx(2 ** (-3 * (1 + (2 / 3) ** 2)))
    assert mask[0, 3].item() == pytest.approx(0.01)


def test_a_seed_is_the_highest_of_noise_times_what_is_left():
    part = coloring(slots=3)
    noise = torch.rand(1, 1, 5, 4)
    log_masks = part(torch.randn(1, 8, 5, 4), noise.log())
    left = 1 - log_masks.exp()[0, 0, 0]
    seed = divmod(int((noise[0, 0] * left).argmax()), 4)
    share = log_masks.exp()[0, 1, 0] / left
    assert share[seed].item() == pytest.approx(0.99)
    assert share.max().item() == pytest.approx(0.99)


def test_gradients_pass_where_the_share_is_clamped():
    part = coloring(slots=2)
    log_noise = torch.full((1, 1, 5, 4), 0.5).log()
    log_noise[0, 0, 0, 0] = 0
    part(torch.randn(1, 8, 5, 4), log_noise)[0, 0, 0, 4, 3].backward()  # the far corner, clamped to 0.01
    distance = 8 * 2 * math.log(2)  # squared, in units of exp(log_scale)
    expected = distance * math.exp(-distance) / 0.01
    assert part.log_scale.grad.item() == pytest.approx(expected, rel=1e-4)


def test_the_gate_lets_features_in():
    features, log_noise = torch.randn(1, 8, 5, 4), torch.rand(1, 1, 5, 4).log()
    shut, open_ = coloring(gate=0.0), coloring(gate=1.0)
    assert torch.equal(shut(features, log_noise), shut(0 * features, log_noise))
    assert not torch.allclose(open_(features, log_noise), open_(0 * features, log_noise))


def test_pixels_are_as_near_as_their_gated_features_and_their_places():
    part = coloring(slots=3, gate=0.3, colors=4)
    features, log_noise = torch.randn(1, 8, 5, 4), torch.full((1, 1, 5, 4), 0.5).log()
    log_noise[0, 0, 2, 0] = 0  # the first seed
    with torch.no_grad():
        colors, mask = part.head(features)[0], part(features, log_noise).exp()[0, 0, 0]
    for row, column in ((1, 0), (4, 1), (0, 3)):
        y, x = (row - 2) / 2, column / 1.5  # from the seed, in places from -1 to 1
        inside = 0.3 * (colors[:, row, column] - colors[:, 2, 0])
        squared = (inside[:2].square().sum() + (inside[2] + y) ** 2 + (inside[3] + x) ** 2).item()
        assert mask[row, column].item() == pytest.approx(max(2 ** (-3 * squared), 0.01), rel=1e-4)


def test_pooling_is_the_mean_under_each_mask():
    features = torch.randn(1, 6, 4, 4)
    masks = torch.zeros(1, 2, 1, 4, 4)
    masks[0, 0, 0, :2], masks[0, 1, 0, 2:] = 1, 1
    pooled = pool(features, masks.log())
    expected = torch.stack([features[0, :, :2].mean((1, 2)), features[0, :, 2:].mean((1, 2))])
    torch.testing.assert_close(pooled[0], expected, atol=1e-5, rtol=1e-4)


def test_loss_is_the_mixture_error_plus_the_weighted_divergence(monkeypatch):
    method, images = tiny(), torch.rand(2, 3, 35, 35)
    noise = {(1, 35, 35): torch.randn(2, 1, 35, 35), (4, 4): torch.randn(2, 4, 4)}
    monkeypatch.setattr(method, "normal", lambda _, *shape: noise[shape])
    found = method.segment(images)
    density = Normal(found.components, 0.7).log_prob(images[:, None]).exp()
    error = -(found.masks[:, :, None] * density).sum(1).log().sum((1, 2, 3)).mean()
    method.geco.beta.fill_(0.5)
    losses = method.training_loss(images, START)
    torch.testing.assert_close(losses.parts["reconstruction"], error)
    torch.testing.assert_close(losses.total, error + 0.5 * losses.parts["kl"])


def test_estimated_divergence_has_the_exact_one_for_its_mean(monkeypatch):
    method, copies = tiny(**{"model.resolution": 14}), 500
    image, seed_noise = torch.rand(1, 3, 35, 35), torch.randn(1, 14, 14)

    def noise(images, *shape):  # the same seeds in every copy, other latents
        count = len(images)
        return seed_noise.expand(count, *shape) if len(shape) == 3 else torch.randn(count, *shape)

    def standard(latents):
        return Gaussian(torch.zeros_like(latents), torch.ones_like(latents))

    monkeypatch.setattr(method, "normal", noise)
    monkeypatch.setattr(method.prior, "forward", standard)
    with torch.no_grad():
        posterior = method._decompose(method.resolution.downsample(image)).posterior
        estimate = method.training_loss(image.expand(copies, -1, -1, -1), START).parts["kl"]
    exact = kl_divergence(Normal(posterior.mean[0], posterior.deviation[0]), Normal(0.0, 1.0)).sum()
    assert estimate.item() == pytest.approx(exact.item(), abs=0.15)


def test_geco_lowers_the_weight_while_the_error_is_high():
    method, images = tiny(), torch.rand(2, 3, 35, 35)
    losses = method.training_loss(images, START)
    method.after_step(START, losses, [])
    excess = losses.parts["reconstruction"].item() - 0.5655 * 3 * 35 * 35
    assert excess > 0
    assert losses.parts["beta"].item() == 1
    assert method.geco.beta.item() == pytest.approx(math.exp(-1e-5 * 64**2 / 35**2 * excess), rel=1e-5)


def test_goal_of_the_clevrtex_readme_is_warned_of_where_a_training_begins(caplog):
    method = create("genesis_v2:clevrtex", "tetrominoes", **TINY)
    assert method.geco.goal == 0.5 * 3 * 35 * 35
    assert not caplog.messages
    method.setup(torch.rand(2, 3, 35, 35), method.stages()[0])
    (said,) = caplog.messages
    assert (
        "loss.goal=0.5 is out of reach: with loss.sigma=0.7 a perfect reconstruction has an error of 0.5623"
        in said
    )


def test_the_usual_goal_is_not_warned_of(caplog):
    method = tiny()
    method.setup(torch.rand(2, 3, 35, 35), method.stages()[0])
    assert not caplog.messages


def test_nan_is_no_goal():
    with pytest.raises(RequestError, match=r"loss\.goal: .*found nan"):
        tiny(**{"loss.goal": math.nan})


def test_a_single_slot_is_refused():
    method = tiny()
    with pytest.raises(RequestError, match=r"slots: expected at least 2 \(.*\), found 1"):
        type(method)((3, 35, 35), 1, method.settings)


def test_a_deviation_of_zero_is_refused():
    with pytest.raises(RequestError, match=r"loss\.sigma: expected a number > 0, found 0\.0"):
        tiny(**{"loss.sigma": 0.0})


@pytest.mark.parametrize(
    ("key", "value"), [("encoder_channels", [12, 16]), ("decoder_channels", []), ("encoder_channels", [0])]
)
def test_channels_that_do_not_form_groups_are_refused(key, value):
    with pytest.raises(RequestError, match=f"model.{key}.*: expected a.* multiples? of 8 > 0"):
        tiny(**{f"model.{key}": value})


def test_an_embedding_without_room_for_places_is_refused():
    with pytest.raises(RequestError, match=r"model\.colors: expected a whole number >= 2, found 1"):
        tiny(**{"model.colors": 1})


def test_segmentation_shows_the_masks_that_pool_as_attention():
    method = tiny(**{"model.resolution": 14})
    found = method.segment(torch.rand(2, 3, 35, 35))
    assert found.masks.shape == (2, 4, 35, 35)
    assert found.attention.shape == (2, 4, 14, 14)
    torch.testing.assert_close(found.attention.sum(1), torch.ones(2, 14, 14))
