"""The fused kernels against the plain forms: on CUDA, and on the CPU in Triton's interpreter.

The interpreter must be chosen before Triton is imported. So one test here runs this file again in a process of its
own, with TRITON_INTERPRET=1; the tests on the CPU are skipped outside of it.
"""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor

from objmae.kernels.attention import attention, plain_attention
from objmae.kernels.available import triton_installed
from objmae.kernels.broadcast import broadcast, plain_broadcast
from objmae.kernels.mixture import mixture_losses, plain_mixture_losses
from objmae.kernels.residual_norm import plain_residual_norm, residual_norm
from objmae.model import random_patches

INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"
needs_interpreter = pytest.mark.skipif(not INTERPRETED, reason="runs in Triton's interpreter")
needs_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
on_device = pytest.mark.parametrize(
    "device",
    [
        pytest.param("cpu", marks=needs_interpreter),
        pytest.param("cuda", marks=[pytest.mark.gpu, needs_cuda]),
    ],
)
in_precision = pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])


class Size(NamedTuple):
    """Of a dataset: slots, patches, pixels of a patch, width and heads of the encoder and of the decoder."""

    K: int
    N: int
    pixels: int
    D: int
    encoder_heads: int
    d: int
    decoder_heads: int


SIZES = {
    "tetrominoes": Size(4, 49, 25, 192, 4, 128, 4),
    "multi_dsprites": Size(6, 64, 64, 384, 8, 256, 8),
    "clevr6": Size(7, 64, 256, 768, 16, 512, 16),
    "clevrtex": Size(11, 64, 256, 768, 16, 512, 16),
}
at_size = pytest.mark.parametrize("size", SIZES.values(), ids=SIZES.keys())


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


def leaf(*shape: int, device: str, dtype: torch.dtype = torch.float32, scale: float = 1) -> Tensor:
    """The same values on all devices."""
    return (scale * torch.randn(*shape)).to(device, dtype).requires_grad_()


def coarse(*shape: int, device: str, dtype: torch.dtype) -> Tensor:
    """Leaves whose sums bfloat16 holds exactly: the interpreter cuts off where CUDA rounds to the nearest."""
    values = (16 * torch.randn(*shape)).round().clamp(-64, 64) / 16
    return values.to(device, dtype).requires_grad_()


def assert_close(found: Tensor, expected: Tensor) -> None:
    """Equal within the rounding of the tensor's type, at the scale of its largest value."""
    assert found.dtype is expected.dtype
    tolerance = 1e-5 if found.dtype is torch.float32 else 1e-2
    scale = expected.abs().max().item()
    torch.testing.assert_close(found, expected, rtol=0, atol=tolerance * scale)


def assert_same_function(found: Any, expected: Any, leaves: list[Tensor]) -> None:
    """Equal outputs, and equal gradients of one random combination of them."""
    found, expected = ([x] if isinstance(x, Tensor) else list(x) for x in (found, expected))
    upstream = [torch.randn(x.shape).to(x) for x in expected]
    for one, other in zip(found, expected, strict=True):
        assert_close(one, other)
    gradients = (torch.autograd.grad(outputs, leaves, upstream) for outputs in (found, expected))
    for one, other in zip(*gradients, strict=True):
        assert_close(one, other)


@on_device
@in_precision
@at_size
@pytest.mark.parametrize("target_dtype", [torch.float32, torch.uint8])
def test_mixture(device, dtype, size, target_dtype):
    from objmae.kernels.fused.mixture import FusedMixture

    B, N = (2, 175 // size.pixels or 1) if device == "cpu" else (8, size.N)
    y = leaf(B, size.K, N, size.pixels, 4, device=device, dtype=dtype, scale=3)
    target = torch.randint(256, (B, N, size.pixels * 3), dtype=torch.uint8, device=device)
    if target_dtype is torch.float32:
        target = target / 127.5 - 1
    assert_same_function(FusedMixture.apply(y, target), plain_mixture_losses(y, target), [y])


@on_device
def test_mixture_with_one_slot_for_all_has_finite_gradients(device):
    from objmae.kernels.fused.mixture import FusedMixture

    y = torch.zeros(1, 3, 2, 4, 4, device=device)
    y[:, 0, ..., 3] = 200  # the shares of slots 1 and 2 underflow to zero
    y.requires_grad_()
    _, pixel, objects = FusedMixture.apply(y, torch.zeros(1, 2, 12, device=device))
    (gradient,) = torch.autograd.grad(pixel + objects, y)
    assert pixel.item() == 0
    assert objects.item() == pytest.approx(0, abs=1e-7)
    assert gradient.isfinite().all()


@on_device
@in_precision
@at_size
@pytest.mark.parametrize("share", [0.25, 1.0])
def test_broadcast(device, dtype, size, share):
    from objmae.kernels.fused.broadcast import FusedBroadcast

    B, N = (1, 5) if device == "cpu" else (8, size.N)
    n = int(share * N)
    leaves = [
        leaf(B, size.K, size.d, device=device, dtype=dtype),
        leaf(B, n, size.K, device=device),
        leaf(size.d, device=device),
        leaf(size.d, device=device),
    ]
    base, log_attention, weight, token = leaves
    ids, position = random_patches(B, N, n, torch.device(device)), torch.randn(N, size.d).to(device)
    arguments = base, log_attention, ids, weight, token, position, dtype
    assert_same_function(FusedBroadcast.apply(*arguments), plain_broadcast(*arguments), leaves)


@on_device
@pytest.mark.parametrize(
    ("stream", "dtype"),
    [(torch.float32, torch.float32), (torch.float32, torch.bfloat16), (torch.bfloat16, torch.bfloat16)],
)
@pytest.mark.parametrize("width", [48, 64, 128, 192, 256, 384, 512, 768])
def test_residual_norm(device, stream, dtype, width):
    from objmae.kernels.fused.residual_norm import FusedResidualNorm

    rows = 37 if device == "cpu" else 70_001
    leaves = [
        coarse(rows, width, device=device, dtype=stream),
        coarse(rows, width, device=device, dtype=dtype),
        leaf(width, device=device),
        leaf(width, device=device),
    ]
    assert_same_function(FusedResidualNorm.apply(*leaves, 1e-5), plain_residual_norm(*leaves, 1e-5), leaves)


@on_device
@pytest.mark.parametrize("used", [0, 1])
def test_residual_norm_of_which_one_output_is_used(device, used):
    from objmae.kernels.fused.residual_norm import FusedResidualNorm

    leaves = [leaf(5, 64, device=device), leaf(5, 64, device=device), *(leaf(64, device=device),) * 2]
    inputs = leaves[: 2 if used == 0 else 4]
    found = FusedResidualNorm.apply(*leaves, 1e-5)[used]
    assert_same_function(found, plain_residual_norm(*leaves, 1e-5)[used], inputs)


@on_device
def test_residual_norm_with_more_rows_than_its_backward_pass_has_programs(device, monkeypatch):
    from objmae.kernels.fused import residual_norm as module

    monkeypatch.setattr(module, "PROGRAMS", 2)
    leaves = [leaf(150, 64, device=device), leaf(150, 64, device=device)]
    leaves += [leaf(64, device=device), leaf(64, device=device)]
    found = module.FusedResidualNorm.apply(*leaves, 1e-5)
    assert_same_function(found, plain_residual_norm(*leaves, 1e-5), leaves)


@on_device
@pytest.mark.parametrize(("tokens", "width"), [(5, 12), (16, 48), (49, 32), (53, 48), (64, 16), (75, 48)])
def test_attention(device, tokens, width):
    from objmae.kernels.fused.attention import FusedAttention

    B, dtypes = (1, (torch.float32, torch.float16)) if device == "cpu" else (8, (torch.bfloat16,))
    for dtype in dtypes:  # the interpreter cannot multiply matrices of bfloat16
        qkv = leaf(B, tokens, 3, 2, width, device=device, dtype=dtype)
        wide = qkv.detach().float().requires_grad_()
        out, expected = FusedAttention.apply(qkv), plain_attention(wide)
        assert_close(out, expected.to(dtype))
        upstream = torch.randn(expected.shape).to(out)
        (found,) = torch.autograd.grad(out, qkv, upstream)
        (gradient,) = torch.autograd.grad(expected, wide, upstream.float())
        assert_close(found, gradient.to(dtype))


def one_step(size: Size, B: int = 8) -> tuple[list[Tensor], Any]:
    """Leaves, and a function that computes all gradients through the public functions, in bfloat16 on CUDA."""
    low = {"device": "cuda", "dtype": torch.bfloat16}
    y = leaf(B, size.K, size.N, size.pixels, 4, **low)
    base, x, branch = (leaf(B, size.K, size.d, **low) for _ in range(3))
    qkv = leaf(B, size.N, 3, size.decoder_heads, size.d // size.decoder_heads, **low)
    log_attention, weight = leaf(B, size.N, size.K, device="cuda"), leaf(size.d, device="cuda")
    target = torch.randint(256, (B, size.N, size.pixels * 3), dtype=torch.uint8, device="cuda")
    ids, position = random_patches(B, size.N, size.N, y.device), torch.randn(size.N, size.d, device="cuda")
    leaves = [y, base, x, branch, qkv, log_attention, weight]

    def outputs() -> list[Tensor]:
        return [
            *mixture_losses(y, target),
            broadcast(base, log_attention, ids, weight, weight, position, torch.bfloat16),
            *residual_norm(x, branch, weight, weight, 1e-5),
            attention(qkv),
        ]

    return leaves, outputs


@pytest.mark.gpu
@needs_cuda
def test_the_public_functions_choose_the_kernels_on_cuda():
    _, outputs = one_step(SIZES["tetrominoes"])
    names = {type(out.grad_fn).__name__ for out in outputs()}
    kernels = ("Mixture", "Broadcast", "ResidualNorm", "Attention")
    assert names == {f"Fused{kernel}Backward" for kernel in kernels}


@pytest.mark.gpu
@needs_cuda
@at_size
def test_gradients_are_the_same_bits_each_time(size):
    leaves, outputs = one_step(size)
    first, second = (torch.autograd.grad([x.sum() for x in outputs()], leaves) for _ in range(2))
    for one, other in zip(first, second, strict=True):
        assert torch.equal(one, other)


@pytest.mark.gpu
@needs_cuda
def test_kernels_can_be_captured_in_a_graph():
    leaves, outputs = one_step(SIZES["tetrominoes"])

    def gradients() -> tuple[Tensor, ...]:
        return torch.autograd.grad([x.sum() for x in outputs()], leaves)

    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        expected = gradients()  # compiles
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):  # fails if anything waits for the device
        found = gradients()
    graph.replay()
    for one, other in zip(found, expected, strict=True):
        assert torch.equal(one, other)


@pytest.mark.skipif(INTERPRETED, reason="runs in Triton's interpreter already")
@pytest.mark.skipif(not triton_installed(), reason="needs Triton")
def test_all_on_the_cpu_in_the_interpreter():
    command = [sys.executable, "-m", "pytest", "-q", "-k", "cpu", "-p", "no:cacheprovider", __file__]
    done = subprocess.run(
        command, env={**os.environ, "TRITON_INTERPRET": "1"}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout[-5000:]
    assert "passed" in done.stdout
