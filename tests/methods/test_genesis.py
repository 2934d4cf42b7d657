"""GENESIS: sizes as published, its parts by their formulas, its loss by independent computations, the method contract."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.distributions import Categorical, Independent, MixtureSameFamily, Normal, kl_divergence

from objbench.errors import RequestError
from objbench.methods.base import Progress
from objbench.methods.create import create
from objbench.testing import check_method, random_scenes

START = Progress("train", 0, 4, 0, 330)
TINY = {
    "model.encoder_channels": [4, 6, 6],
    "model.strides": [2, 1, 2],
    "model.features": 8,
    "model.mask_latent": 5,
    "model.posterior_width": 6,
    "model.prior_width": 7,
    "model.mask_channels": [6, 6, 4, 4],
    "model.latent": 3,
    "model.component_channels": [2, 4],
    "model.component_hidden": 8,
    "model.decoder_channels": [4, 4],
}


def tiny(dataset="tetrominoes", **overrides):
    torch.manual_seed(0)
    return create("genesis", dataset, **{**TINY, **overrides})


def images(count=2, side=35):
    return random_scenes(count, (3, side, side)).float() / 255


@pytest.fixture
def noisy(monkeypatch):
    """A method whose random numbers are known: the method, its images, noise of masks and of components."""
    method = tiny()
    noise = {(4, 5): torch.randn(2, 4, 5), (4, 3): torch.randn(2, 4, 3)}
    monkeypatch.setattr(method, "normal", lambda _, *shape: noise[shape])
    return method, images(), noise[4, 5], noise[4, 3]


@pytest.mark.parametrize(
    ("dataset", "overrides", "millions"),
    [
        ("multi_dsprites", {}, 12.6),  # of the published code at 64x64
        ("clevr6", {}, 13.4),  # at 128x128
        ("clevr10", {}, 13.4),  # whatever the number of slots
        ("clevrtex", {}, 13.4),
        ("objects_room", {}, 12.6),
        ("tetrominoes", {"model.resolution": 32}, 4.6),
    ],
)
def test_parameters_are_as_many_as_those_of_the_published_code(dataset, overrides, millions):
    with FakeTensorMode():
        count = sum(p.numel() for p in create("genesis", dataset, **overrides).parameters())
    assert round(count / 1e6, 1) == millions


def test_the_decoder_of_masks_grows_as_the_encoder_of_the_image_shrinks_in_reverse():
    with FakeTensorMode():
        method = create("genesis", "clevr6")
    kinds = (nn.Conv2d, nn.ConvTranspose2d)
    down, up = (
        [layer.stride[0] for layer in layers if isinstance(layer, kinds) and layer.kernel_size == (5, 5)]
        for layers in (method.encoder, method.mask_decoder)
    )
    assert (down, up) == ([2, 2, 2, 1, 1], [1, 1, 2, 2, 2])


@pytest.mark.parametrize(
    ("dataset", "coarsest", "painted"),
    [
        ("tetrominoes", 9, 36),  # 35, 18, 9 and 9, 18, 36
        ("multi_dsprites", 16, 64),
        ("clevr6", 16, 128),
    ],
)
def test_the_image_is_seen_and_painted_whole(dataset, coarsest, painted):
    with FakeTensorMode():
        method = create("genesis", dataset)
        features = method.encoder(torch.rand(2, *method.image_shape))
        logits = method.mask_decoder(torch.rand(2, 64))
    assert features.shape == (2, 256)
    assert [layer.kernel_size for layer in method.encoder if isinstance(layer, nn.Conv2d)][-1] == (
        coarsest,
    ) * 2
    assert logits.shape == (2, 1, painted, painted)


# The last slot's logits are seen by batch norms alone, hence tiny gradients, of which Adam makes steps of full length.
CALM = {"optimizer.learning_rate": 1e-5}


@pytest.mark.parametrize("variant", ["", ":demo"])
def test_contract(variant):
    passed = check_method(f"genesis{variant}", "tetrominoes", overrides=TINY | CALM)
    assert {"gradients", "determinism", "resume", "captured_steps", "batch_size_does_not_matter"} <= set(
        passed
    )


def test_the_library_has_a_wider_decoder_closer_bounds_and_other_batches():
    with FakeTensorMode():
        small, large = (create("genesis:library", name).settings for name in ("multi_dsprites", "clevr6"))
    assert small.model.decoder_channels == [32, 32, 64, 64]
    assert (small.loss.beta_least, small.loss.beta_most) == (1e-5, 1e3)
    assert (small.recipe.batch_size, large.recipe.batch_size) == (64, 32)


def test_a_gate_is_the_sigmoid_of_the_second_half_and_each_half_has_its_norm():
    method = tiny()
    convolution, norm, _ = method.encoder[:3]
    value, gate = convolution(images()).chunk(2, dim=1)
    expected = standardised(value) * standardised(gate).sigmoid()
    assert convolution.bias is None
    assert norm.num_features == 8
    torch.testing.assert_close(method.encoder[:3](images()), expected)


def standardised(maps):
    """Maps less their mean, divided by their deviation; of each channel over the batch."""
    centred = maps - maps.mean((0, 2, 3), keepdim=True)
    return centred / (centred.square().mean((0, 2, 3), keepdim=True) + 1e-5).sqrt()


def test_masks_sum_to_one():
    with torch.no_grad():
        masks = tiny(slots=7).segment(images()).masks
    assert masks.shape == (2, 7, 35, 35)
    torch.testing.assert_close(masks.sum(1), torch.ones(2, 35, 35))


def test_a_mask_is_its_share_of_what_is_left_and_the_last_one_the_rest(noisy):
    method, batch, noise, _ = noisy
    _, latents = method.posterior(method.encoder(batch), noise)
    shares = method.mask_decoder(latents.flatten(0, 1)).view(2, 4, 36, 36)[:, :, :35, :35].sigmoid()
    left, expected = torch.ones(2, 35, 35), []
    for slot in range(3):
        expected.append(left * shares[:, slot])
        left = left * (1 - shares[:, slot])
    torch.testing.assert_close(method.segment(batch).masks, torch.stack([*expected, left], dim=1))


def test_latents_of_masks_come_one_after_another_from_an_lstm_that_begins_with_zeros():
    method = tiny()
    posterior = method.posterior
    features, noise = torch.randn(2, 8), torch.randn(2, 4, 5)
    law, samples = posterior(features, noise)
    lstm = nn.LSTM(8 + 5, 6, batch_first=True)
    lstm.load_state_dict({f"{name}_l0": value for name, value in posterior.cell.state_dict().items()})
    seen = torch.cat([features[:, None].expand(-1, 3, -1), samples[:, :-1]], dim=2)
    raw = torch.cat([posterior.first(features)[:, None], posterior.later(lstm(seen)[0])], dim=1)
    mean, deviation = raw[..., :5], nn.functional.softplus(raw[..., 5:] + 0.5) + 1e-8
    torch.testing.assert_close(law.mean, mean)
    torch.testing.assert_close(law.deviation, deviation)
    torch.testing.assert_close(samples, mean + deviation * noise)


def test_the_prior_of_a_component_is_squashed_and_sees_the_latent_of_its_mask():
    vae, latents = tiny().vae, torch.randn(2, 4, 5)
    law = vae.prior_of(latents)
    mean, deviation = vae.prior(latents).chunk(2, dim=2)
    torch.testing.assert_close(law.mean, mean.tanh())
    torch.testing.assert_close(law.deviation, (deviation + 4).sigmoid() + 1e-4)
    latents[:, 1] += 1
    changed = (vae.prior_of(latents).mean != law.mean).any(2)
    assert changed.tolist() == [[False, True, False, False]] * 2


def test_the_encoder_of_a_component_sees_the_log_mask_and_the_image(noisy):
    method, batch, *_ = noisy
    seen = []
    method.vae.encoder[0].register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    masks = method.segment(batch).masks.flatten(0, 1)
    torch.testing.assert_close(seen[0][:, 0].exp(), masks)
    assert torch.equal(seen[0][:, 1:], batch.repeat_interleave(4, 0))


def test_the_error_is_that_of_a_mixture_of_normals_in_every_channel(noisy):
    method, batch, *_ = noisy
    found = method.segment(batch)
    weights = Categorical(found.masks[:, :, None].expand(-1, -1, 3, -1, -1).movedim(1, -1))
    law = MixtureSameFamily(weights, Normal(found.components.movedim(1, -1), 0.7))
    error = -law.log_prob(batch).sum((1, 2, 3)).mean()
    torch.testing.assert_close(method.training_loss(batch, START).parts["reconstruction"], error)


def test_the_error_bears_a_small_deviation():
    method = tiny(**{"loss.sigma": 1e-3})
    losses = method.training_loss(images(), START)
    losses.total.backward()
    assert losses.total.isfinite()
    assert all(p.grad.isfinite().all() for p in method.parameters())


def test_the_divergences_are_log_q_less_log_p_of_the_samples_summed_over_slots(noisy):
    method, batch, noise, component_noise = noisy
    mask_law, mask_latents = method.posterior(method.encoder(batch), noise)
    log_masks = method.segment(batch).masks[:, :, None].log()
    law = method.vae.encode(batch, log_masks)
    latents = law.mean + law.deviation * component_noise
    losses = method.training_loss(batch, START)
    expected = {
        "mask_kl": summed(mask_law, mask_latents) - summed(method.prior(mask_latents), mask_latents),
        "kl": summed(law, latents) - summed(method.vae.prior_of(mask_latents), latents),
    }
    for name, value in expected.items():
        torch.testing.assert_close(losses.parts[name], value.mean(), rtol=1e-4, atol=1e-4)


def summed(law, values):
    """Log-densities (B,) of values (B,K,Z)."""
    return Independent(Normal(law.mean, law.deviation), 2).log_prob(values)


def test_the_estimated_divergence_of_components_has_the_exact_one_for_its_mean():
    method, image = tiny(), images(1)
    torch.manual_seed(1)
    with torch.no_grad():
        masks = torch.rand(1, 4, 1, 35, 35).log_softmax(1)
        law, prior = method.vae.encode(image, masks), method.vae.prior_of(torch.randn(1, 4, 5))
        samples = law.sample(torch.randn(4000, 4, 3))
        estimate = (law.log_density(samples) - prior.log_density(samples)).sum(1).mean()
    exact = kl_divergence(Normal(law.mean, law.deviation), Normal(prior.mean, prior.deviation)).sum()
    assert estimate.item() == pytest.approx(exact.item(), abs=0.1)


def test_the_loss_weighs_both_divergences_with_the_weight_of_geco(noisy):
    method, batch, *_ = noisy
    method.geco.beta.fill_(0.5)
    losses = method.training_loss(batch, START)
    expected = losses.parts["reconstruction"] + 0.5 * (losses.parts["mask_kl"] + losses.parts["kl"])
    torch.testing.assert_close(losses.total, expected)


def test_a_step_of_geco_is_that_of_the_paper():
    method, batch = tiny(), images()
    losses = method.training_loss(batch, START)
    method.after_step(START, losses, [])
    slack = 0.5655 * 3 * 35 * 35 - losses.parts["reconstruction"].item()
    assert slack < 0
    assert losses.parts["beta"].item() == 1
    assert method.geco.beta.item() == pytest.approx(math.exp(1e-5 * 64**2 / 35**2 * slack), rel=1e-5)


def test_the_weight_of_geco_stays_within_the_bounds_of_the_settings():
    method = tiny(**{"loss.beta_least": 0.25, "loss.beta_most": 2.0, "loss.rate": 1.0})
    method.geco.update(torch.tensor(1e6), START)
    assert method.geco.beta.item() == 0.25
    method.geco.update(torch.tensor(0.0), START)
    assert method.geco.beta.item() == 2.0


def test_a_goal_out_of_reach_is_warned_of(caplog):
    for goal in (0.5655, 0.5):
        method = tiny(**{"loss.goal": goal})
        method.setup(images(), method.stages()[0])
    (said,) = caplog.messages
    assert "loss.goal=0.5 is out of reach" in said


def test_a_slot_is_the_latent_of_its_mask_and_that_of_its_component(noisy):
    method, batch, noise, component_noise = noisy
    found = method.segment(batch)
    _, mask_latents = method.posterior(method.encoder(batch), noise)
    law = method.vae.encode(batch, found.masks[:, :, None].log())
    assert found.slots.shape == (2, 4, 8)
    torch.testing.assert_close(found.slots[..., :5], mask_latents)
    torch.testing.assert_close(found.slots[..., 5:], law.sample(component_noise), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(found.components, method.vae.decode(found.slots[..., 5:]))
    torch.testing.assert_close(found.reconstruction, (found.masks[:, :, None] * found.components).sum(1))


def test_a_lower_resolution_is_enlarged_again():
    with torch.no_grad():
        found = tiny(**{"model.resolution": 7}).segment(images())
    assert found.masks.shape == (2, 4, 35, 35)
    assert torch.equal(
        found.masks[..., ::5, ::5].repeat_interleave(5, -1).repeat_interleave(5, -2), found.masks
    )


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        (
            "model.strides",
            [2, 2],
            r"model\.encoder_channels: expected 2 numbers, as many as model\.strides has",
        ),
        (
            "model.mask_channels",
            [4, 4],
            r"model\.mask_channels: expected 4 numbers, one more than model\.strides",
        ),
        ("model.strides", [2, 6, 1], r"model\.strides\S*: expected .* <= 5"),
        (
            "loss.beta_least",
            1e11,
            r"loss\.beta_least: expected at most loss\.beta_most, .*, found 100000000000",
        ),
        ("loss.beta_least", 0.0, r"loss\.beta_least: expected a number > 0, found 0\.0"),
        ("slots", 1, r"slots: expected at least 2 \(.*\), found 1"),
    ],
)
def test_settings_that_do_not_fit_are_refused(key, value, message):
    with pytest.raises(RequestError, match=message):
        tiny(**{key: value})
