"""What a slot is worth to a mixture, against the mixture computed again without it."""

from __future__ import annotations

import pytest
import torch

from objbench.methods.iodine.leave_one_out import slot_differences


def log_likelihood(densities, logits):
    """(B,C,H,W) of a mixture with masks softmax(logits)."""
    return (densities + logits.log_softmax(1)).logsumexp(1)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("slots", [2, 5])
def test_equals_the_likelihood_lost_with_the_slot(channels, slots):
    torch.manual_seed(0)
    densities, logits = torch.randn(2, slots, channels, 4, 3), torch.randn(2, slots, 1, 4, 3)
    found = slot_differences(densities, logits.log_softmax(1))
    for slot in range(slots):
        rest = [k for k in range(slots) if k != slot]
        lost = log_likelihood(densities, logits) - log_likelihood(densities[:, rest], logits[:, rest])
        torch.testing.assert_close(found[:, slot], lost.sum(1, keepdim=True), atol=1e-5, rtol=1e-5)


def test_a_slot_that_owns_a_pixel_alone_is_not_lost_to_rounding():
    """The others' share is e-100 of the pixel: as a difference of sums it would be 0 and its logarithm infinite."""
    densities = torch.zeros(1, 3, 1, 1, 1)
    log_masks = torch.tensor([100.0, 0.0, 0.0]).log_softmax(0).view(1, 3, 1, 1, 1)
    torch.testing.assert_close(slot_differences(densities, log_masks), torch.zeros(1, 3, 1, 1, 1))
    bright = torch.tensor([0.0, -5.0, -5.0]).view(1, 3, 1, 1, 1)
    assert slot_differences(bright, log_masks)[0, 0].item() == pytest.approx(5, abs=1e-4)


def test_is_a_constant():
    densities = torch.randn(1, 2, 1, 2, 2, requires_grad=True)
    assert not slot_differences(densities, torch.zeros(1, 2, 1, 2, 2)).requires_grad
