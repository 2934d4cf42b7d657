"""The fused kernels against the plain forms: on the card where there is one, else in Triton's interpreter."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from helpers.kernels import (
    DEVICE,
    INTERPRETED,
    GuardedMemory,
    assert_close,
    assert_same_function,
    at_size,
    coarse,
    guarded,
    leaf,
    needs_triton,
)

from objmae.kernels.attention import plain_attention
from objmae.kernels.broadcast import plain_broadcast
from objmae.kernels.mixture import plain_mixture_losses
from objmae.kernels.residual_norm import plain_residual_norm
from objmae.model import random_patches

pytestmark = [needs_triton] if INTERPRETED else [needs_triton, pytest.mark.gpu]
in_precision = pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])


@pytest.fixture(autouse=True)
def _seed_and_guards(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    torch.manual_seed(0)
    guards = GuardedMemory(monkeypatch)
    yield
    assert guards.memories
    guards.assert_untouched()


@in_precision
@at_size
@pytest.mark.parametrize("target_dtype", [torch.float32, torch.uint8])
def test_mixture(dtype, size, target_dtype):
    B, N = (2, 175 // size.pixels or 1) if INTERPRETED else (8, size.N)
    check_mixture(B, size.K, N, size.pixels, dtype, target_dtype)


@in_precision
@pytest.mark.parametrize(
    ("B", "K", "N", "pixels"),
    [
        (1, 1, 1, 1),
        (2, 3, 7, 9),
        (2, 5, 1, 70),
        (3, 11, 3, 25),
        (1, 16, 5, 13),
        (1, 17, 1, 65),
        (37, 2, 1, 3),
    ],
)
def test_mixture_of_odd_sizes(dtype, B, K, N, pixels):
    """Part of a tile, a pixel more than a tile, more slots than a power of two, more images than a tile."""
    check_mixture(B, K, N, pixels, dtype, torch.uint8)


def check_mixture(B, K, N, pixels, dtype, target_dtype):
    from objmae.kernels.fused.mixture import FusedMixture

    y = leaf(B, K, N, pixels, 4, dtype=dtype, scale=3)
    target = torch.randint(256, (B, N, pixels * 3), dtype=torch.uint8)
    if target_dtype is torch.float32:
        target = target / 127.5 - 1
    target = guarded(target, 255)
    assert_same_function(FusedMixture.apply(y, target), plain_mixture_losses(y, target), [y])


def test_mixture_with_one_slot_for_all_has_finite_gradients():
    from objmae.kernels.fused.mixture import FusedMixture

    y = torch.zeros(1, 3, 2, 4, 4, device=DEVICE)
    y[:, 0, ..., 3] = 200  # the shares of slots 1 and 2 underflow to zero
    y.requires_grad_()
    _, pixel, objects = FusedMixture.apply(y, torch.zeros(1, 2, 12, device=DEVICE))
    (gradient,) = torch.autograd.grad(pixel + objects, y)
    assert pixel.item() == 0
    assert objects.item() == pytest.approx(0, abs=1e-7)
    assert gradient.isfinite().all()


@in_precision
@at_size
@pytest.mark.parametrize("share", [0.25, 1.0])
def test_broadcast(dtype, size, share):
    B, N = (1, 5) if INTERPRETED else (8, size.N)
    check_broadcast(B, size.K, N, int(share * N), size.d, dtype)


@in_precision
@pytest.mark.parametrize(
    ("B", "K", "N", "n", "d"),
    [(1, 1, 1, 1, 1), (3, 3, 37, 11, 48), (2, 2, 33, 33, 7), (2, 5, 17, 16, 33), (1, 4, 64, 1, 128)],
)
def test_broadcast_of_odd_sizes(dtype, B, K, N, n, d):
    """Several tiles of places, the last one not full; one place kept, and all."""
    check_broadcast(B, K, N, n, d, dtype)


def check_broadcast(B, K, N, n, d, dtype):
    from objmae.kernels.fused.broadcast import FusedBroadcast

    leaves = [leaf(B, K, d, dtype=dtype), leaf(B, n, K), leaf(d), leaf(d)]
    base, log_attention, weight, token = leaves
    ids = guarded(random_patches(B, N, n, torch.device("cpu")), 0)
    position = guarded(torch.randn(N, d), torch.nan)
    arguments = base, log_attention, ids, weight, token, position, dtype
    assert_same_function(FusedBroadcast.apply(*arguments), plain_broadcast(*arguments), leaves)


def residual_norm_leaves(rows, width, stream=torch.float32, dtype=torch.float32):
    return [coarse(rows, width, dtype=stream), coarse(rows, width, dtype=dtype), leaf(width), leaf(width)]


@pytest.mark.parametrize(
    ("stream", "dtype"),
    [(torch.float32, torch.float32), (torch.float32, torch.bfloat16), (torch.bfloat16, torch.bfloat16)],
)
@pytest.mark.parametrize("width", [7, 48, 64, 128, 192, 256, 384, 512, 768])
def test_residual_norm(stream, dtype, width):
    from objmae.kernels.fused.residual_norm import FusedResidualNorm

    leaves = residual_norm_leaves(37 if INTERPRETED else 70_001, width, stream, dtype)
    assert_same_function(FusedResidualNorm.apply(*leaves, 1e-5), plain_residual_norm(*leaves, 1e-5), leaves)


@pytest.mark.parametrize("eps", [1e-5, 0.5])
def test_residual_norm_of_rows_that_are_far_from_zero_or_constant(eps):
    from objmae.kernels.fused.residual_norm import FusedResidualNorm

    leaves = residual_norm_leaves(3, 48)
    with torch.no_grad():
        leaves[0][0] += 32
        leaves[0][1], leaves[1][1] = 3, -1
    assert_same_function(FusedResidualNorm.apply(*leaves, eps), plain_residual_norm(*leaves, eps), leaves)


@pytest.mark.parametrize("used", [0, 1])
def test_residual_norm_of_which_one_output_is_used(used):
    from objmae.kernels.fused.residual_norm import FusedResidualNorm

    leaves = residual_norm_leaves(5, 64)
    inputs = leaves[: 2 if used == 0 else 4]
    found = FusedResidualNorm.apply(*leaves, 1e-5)[used]
    assert_same_function(found, plain_residual_norm(*leaves, 1e-5)[used], inputs)


def test_residual_norm_with_more_rows_than_its_backward_pass_has_programs(monkeypatch):
    from objmae.kernels.fused import residual_norm as module

    monkeypatch.setattr(module, "PROGRAMS", 2)
    leaves = residual_norm_leaves(150, 64)
    found = module.FusedResidualNorm.apply(*leaves, 1e-5)
    assert_same_function(found, plain_residual_norm(*leaves, 1e-5), leaves)


@pytest.mark.parametrize(
    ("tokens", "width"),
    [(1, 8), (5, 12), (16, 48), (33, 17), (49, 32), (53, 48), (64, 16), (75, 48), (128, 64)],
)
def test_attention(tokens, width):
    from objmae.kernels.fused.attention import FusedAttention

    B, dtypes = (2, (torch.float32, torch.float16)) if INTERPRETED else (8, (torch.bfloat16,))
    for dtype in dtypes:  # the interpreter cannot multiply matrices of bfloat16
        qkv = leaf(B, tokens, 3, 2, width, dtype=dtype)
        wide = qkv.detach().float().requires_grad_()
        out, expected = FusedAttention.apply(qkv), plain_attention(wide)
        assert_close(out, expected.to(dtype))
        upstream = guarded(torch.randn(expected.shape).to(dtype), torch.nan)
        (found,) = torch.autograd.grad(out, qkv, upstream)
        (gradient,) = torch.autograd.grad(expected, wide, upstream.float())
        assert_close(found, gradient.to(dtype))
