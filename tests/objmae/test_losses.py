"""The three losses against loops over images, slots and pixels."""

from __future__ import annotations

import math

import pytest
import torch

from objmae.losses import object_entropy, pixel_entropy, reconstruction_error


@pytest.fixture
def log_masks():
    torch.manual_seed(0)
    return (3 * torch.randn(2, 3, 4, 5)).log_softmax(1)  # (B,K,N,P*P)


def test_reconstruction_error_is_the_mean_over_pixels_and_channels():
    error = reconstruction_error(
        torch.tensor([[[1.0, 0.0], [0.0, 0.0]]]), torch.tensor([[[-1.0, 0.0], [1.0, 0.0]]])
    )
    assert error.item() == pytest.approx((4 + 1) / 4)


def test_pixel_entropy_equals_a_loop(log_masks):
    B, K, N, P = log_masks.shape
    m = log_masks.exp()
    expected = 0.0
    for b in range(B):
        for i in range(N):
            for j in range(P):
                expected -= sum(m[b, k, i, j].item() * log_masks[b, k, i, j].item() for k in range(K))
    assert pixel_entropy(log_masks).item() == pytest.approx(expected / (B * N * P), rel=1e-5)


def test_object_entropy_equals_a_loop(log_masks):
    B, K, N, P = log_masks.shape
    expected = 0.0
    for b in range(B):
        for k in range(K):
            share = sum(log_masks[b, k, i, j].exp().item() for i in range(N) for j in range(P)) / (N * P)
            expected -= share * math.log(share + 1e-8)
    assert object_entropy(log_masks).item() == pytest.approx(expected / B, rel=1e-5)


def test_undecided_masks_have_the_largest_entropies():
    even = torch.zeros(2, 4, 49, 25).log_softmax(1)
    assert pixel_entropy(even).item() == pytest.approx(math.log(4))
    assert object_entropy(even).item() == pytest.approx(math.log(4))


def test_one_slot_for_all_has_no_entropy_and_finite_gradients():
    logits = torch.tensor([200.0, 0.0, 0.0]).expand(2, 49, 25, 3).movedim(-1, 1).clone().requires_grad_()
    log_masks = logits.log_softmax(1)  # the shares of slots 1 and 2 underflow to zero
    loss = pixel_entropy(log_masks) + object_entropy(log_masks)
    loss.backward()
    assert loss.item() == pytest.approx(0, abs=1e-7)
    assert logits.grad.isfinite().all()


def test_losses_of_low_precision_input_are_float32(log_masks):
    low = log_masks.bfloat16()
    for loss in (pixel_entropy(low), object_entropy(low), reconstruction_error(low, low)):
        assert loss.dtype is torch.float32
