"""The autoregressive prior: what each slot's law depends on, and its ranges."""

from __future__ import annotations

import torch

from objbench.methods.parts.autoregressive import AutoregressivePrior


def test_prior_of_a_slot_sees_the_slots_before_it_alone():
    torch.manual_seed(0)
    prior, latents = AutoregressivePrior(4, 5), torch.randn(1, 3, 4)
    before = prior(latents)
    latents[0, 1] += 1
    after = prior(latents)
    assert torch.equal(before.mean[0, :2], after.mean[0, :2])
    assert not torch.allclose(before.mean[0, 2], after.mean[0, 2])
    assert torch.equal(before.mean[0, 0], torch.zeros(4))
    assert torch.equal(before.deviation[0, 0], torch.ones(4))


def test_prior_of_a_slot_sees_all_slots_before_it_and_no_other_image():
    torch.manual_seed(0)
    prior, latents = AutoregressivePrior(4, 5), torch.randn(2, 3, 4)
    before = prior(latents).mean
    latents[0, 0] += 1
    after = prior(latents).mean
    assert not torch.allclose(before[0, 2], after[0, 2])
    assert torch.equal(before[1], after[1])


def test_a_later_slot_has_the_squashed_output_of_the_lstm():
    torch.manual_seed(0)
    prior, latents = AutoregressivePrior(4, 5), torch.randn(2, 3, 4)
    found = prior(latents)
    mean, deviation = prior.head(prior.lstm(latents)[0][:, :-1]).chunk(2, dim=2)
    torch.testing.assert_close(found.mean[:, 1:], mean.tanh())
    torch.testing.assert_close(found.deviation[:, 1:], (deviation + 4).sigmoid() + 1e-4)
