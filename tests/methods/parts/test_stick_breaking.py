"""Stick-breaking masks."""

from __future__ import annotations

import torch

from objbench.methods.parts.stick_breaking import stick_breaking

START = torch.zeros(2, 1, 4, 5)


def breaks(logits):
    """Gives out the given logits (B,K-1,1,H,W), one slot after the other."""
    parts = iter(logits.unbind(1))
    return lambda log_scope: next(parts)


def test_each_slot_takes_its_share_of_what_is_left():
    torch.manual_seed(0)
    logits = torch.randn(2, 3, 1, 4, 5)
    shares = logits.sigmoid()
    left = [(1 - shares[:, :k]).prod(1) for k in range(4)]
    expected = torch.stack([*(left[k] * shares[:, k] for k in range(3)), left[3]], dim=1)
    torch.testing.assert_close(stick_breaking(breaks(logits), START, 4).exp(), expected)


def test_masks_sum_to_one_in_log_space_however_decided_they_are():
    torch.manual_seed(0)
    log_masks = stick_breaking(breaks(100 * torch.randn(2, 5, 1, 4, 5)), START, 6)
    assert log_masks.isfinite().all()
    torch.testing.assert_close(log_masks.logsumexp(1), START, atol=1e-5, rtol=0)


def test_a_single_slot_takes_everything():
    log_masks = stick_breaking(breaks(torch.empty(2, 0, 1, 4, 5)), START, 1)
    assert torch.equal(log_masks.exp(), torch.ones(2, 1, 1, 4, 5))


def test_the_next_share_is_asked_for_with_the_scope_that_is_left():
    seen = []

    def half(log_scope):
        seen.append(log_scope.exp().mean().item())
        return torch.zeros_like(log_scope)

    stick_breaking(half, START, 4)
    assert seen == [1, 0.5, 0.25]


def test_bfloat16_logits_give_float32_masks():
    log_masks = stick_breaking(lambda log_scope: torch.ones_like(START).bfloat16(), START.bfloat16(), 3)
    assert log_masks.dtype == torch.float32
    torch.testing.assert_close(log_masks.logsumexp(1), START, atol=1e-6, rtol=0)
