"""SPACE's background: masks, divergences and the order of its latents, written out."""

from __future__ import annotations

import pytest
import torch
from torch.distributions import Normal, kl_divergence

from objbench.errors import RequestError
from objbench.methods.space.background import Background, BackgroundModel
from objbench.methods.space.layers import Upscalings

SIZE = (8, 8)


def settings(**changes):
    values = {
        "components": 3,
        "mask_latent": 4,
        "latent": 5,
        "hidden": 6,
        "image_channels": [4, 4],
        "mask_decoder": Upscalings(channels=[4, 4], upscales=[8], groups=[2, 2]),
        "encoder_channels": [4, 4],
        "decoder_channels": [4, 4],
        "start": "grey",
    }
    return BackgroundModel(**values | changes)


def background(**changes):
    torch.manual_seed(0)
    return Background(SIZE, settings(**changes))


def sample(part, images=None, components=3):
    torch.manual_seed(1)
    images = torch.rand(2, 3, *SIZE) if images is None else images
    noise = torch.randn(len(images), components, 4), torch.randn(len(images), components, 5)
    return images, noise, part(images, *noise)


def test_masks_sum_to_one_but_for_what_is_added_before_the_logarithm():
    _, _, found = sample(background(components=5), components=5)
    assert found.log_masks.shape == (2, 5, 1, *SIZE)
    torch.testing.assert_close(found.log_masks.exp().sum(1), torch.full((2, 1, *SIZE), 1 + 5e-5))
    assert found.components.shape == (2, 5, 3, *SIZE)
    torch.testing.assert_close(found.picture, (found.log_masks.exp() * found.components).sum(1))


def test_the_first_mask_takes_its_share_of_everything_and_the_last_what_is_left(monkeypatch):
    part = background()
    shares = torch.tensor([0.25, 0.5]).logit()
    painted = shares.repeat(2)[:, None, None, None].expand(-1, -1, *SIZE)
    monkeypatch.setattr(part.mask_decoder, "forward", lambda latents: painted)
    _, _, found = sample(part)
    expected = torch.tensor([0.25, 0.375, 0.375]) + 1e-5
    torch.testing.assert_close(found.log_masks[1, :, 0, 3, 3].exp(), expected)


def walk(part, images, noise):
    """The latents of the masks and their divergence, one LSTM step after another."""
    features = part.encoder(images)
    batch = len(images)
    state, prior_state = ([p.first[i].repeat(batch, 1) for i in (0, 1)] for p in (part.posterior, part.prior))
    latent, latents, kl = part.before_first.repeat(batch, 1), [], torch.zeros(batch)
    for k in range(noise.shape[1]):
        state = part.posterior.cell(torch.cat([features, latent], 1), tuple(state))
        mean, raw = part.posterior.head(state[0]).chunk(2, 1)
        posterior = Normal(mean, torch.nn.functional.softplus(raw) + 1e-4)
        prior_mean, prior_raw = part.prior.head(prior_state[0]).chunk(2, 1)
        prior = Normal(prior_mean, torch.nn.functional.softplus(prior_raw) + 1e-4)
        latent = posterior.mean + posterior.stddev * noise[:, k]
        latents.append(latent)
        kl = kl + kl_divergence(posterior, prior).sum(1)
        prior_state = part.prior.cell(latent, tuple(prior_state))
    return torch.stack(latents, 1), kl


def test_divergence_is_that_of_masks_and_components_from_their_learned_priors():
    part = background().eval()
    with torch.no_grad():
        part.posterior.first.normal_()
        part.prior.first.normal_()
        part.before_first.normal_()
    images, noise, found = sample(part)
    latents, mask_kl = walk(part, images, noise[0])
    component_kl = torch.zeros(2)
    for k in range(3):
        seen = torch.cat([found.log_masks[:, k], images], 1)
        posterior, prior = part.vae.encoder(seen).chunk(2, 1), part.vae.prior(latents[:, k]).chunk(2, 1)
        q, p = (Normal(m, torch.nn.functional.softplus(raw) + 1e-4) for m, raw in (posterior, prior))
        component_kl += kl_divergence(q, p).sum(1)
        decoded = part.vae.decoder(q.mean + q.stddev * noise[1][:, k]).sigmoid()
        torch.testing.assert_close(found.components[:, k], decoded, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(found.kl, mask_kl + component_kl, rtol=1e-4, atol=1e-4)


def test_batch_norm_has_running_statistics_for_segmenting():
    part, images = background(), torch.rand(4, 3, *SIZE)
    alone = {}
    for mode in (True, False):
        part.train(mode)
        whole, single = sample(part, images)[2], sample(part, images[:1])[2]
        alone[mode] = (whole.components[:1] - single.components).abs().max().item()
    assert alone[True] > 1e-3  # in training, an image sees the others
    counts = {name: int(value) for name, value in part.named_buffers() if name.endswith("tracked")}
    assert set(counts.values()) == {2}
    assert len(counts) == 2 + 2 + 2  # in both encoders and the decoder


def test_recurrence_is_float32_under_autocast():
    part = background()
    with torch.autocast("cpu", torch.bfloat16):
        hidden, memory = part.prior(torch.randn(2, 4).bfloat16(), part.prior.start(2))
    assert {hidden.dtype, memory.dtype} == {torch.float32}


@pytest.mark.parametrize(
    ("size", "changes", "message"),
    [
        (SIZE, {"components": 1}, r"background\.components: expected a whole number >= 2, found 1"),
        ((16, 16), {}, r"mask_decoder\.upscales: expected factors with a product of 16 .*, found \[8\]"),
        ((8, 16), {}, r"mask_decoder\.upscales: expected square images \(images are 8x16\)"),
    ],
)
def test_what_does_not_fit_is_refused(size, changes, message):
    with pytest.raises(RequestError, match=message):
        Background(size, settings(**changes))
