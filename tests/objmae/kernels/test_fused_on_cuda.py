"""The public functions on the card: they choose the fused kernels, always the same bits, and can be captured."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers.kernels import SIZES, Size, at_size, leaf, needs_cuda, needs_triton
from torch import Tensor

from objmae.kernels.attention import attention
from objmae.kernels.broadcast import broadcast
from objmae.kernels.mixture import mixture_losses
from objmae.kernels.residual_norm import residual_norm
from objmae.model import random_patches

pytestmark = [pytest.mark.gpu, needs_cuda, needs_triton]


def one_step(size: Size, B: int = 8) -> tuple[list[Tensor], Any]:
    """Leaves, and a function that computes all gradients through the public functions, in bfloat16 on CUDA."""
    y = leaf(B, size.K, size.N, size.pixels, 4, dtype=torch.bfloat16)
    base, x, branch = (leaf(B, size.K, size.d, dtype=torch.bfloat16) for _ in range(3))
    qkv = leaf(B, size.N, 3, size.decoder_heads, size.d // size.decoder_heads, dtype=torch.bfloat16)
    log_attention, weight = leaf(B, size.N, size.K), leaf(size.d)
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


def test_the_public_functions_choose_the_kernels_on_cuda():
    _, outputs = one_step(SIZES["tetrominoes"])
    names = {type(out.grad_fn).__name__ for out in outputs()}
    kernels = ("Mixture", "Broadcast", "ResidualNorm", "Attention")
    assert names == {f"Fused{kernel}Backward" for kernel in kernels}


@at_size
def test_gradients_are_the_same_bits_each_time(size):
    leaves, outputs = one_step(size)
    first, second = (torch.autograd.grad([x.sum() for x in outputs()], leaves) for _ in range(2))
    for one, other in zip(first, second, strict=True):
        assert torch.equal(one, other)


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


def test_all_that_the_card_runs_passes_in_the_interpreter_too():
    """In a process of its own, as Triton chooses when it is imported."""
    files = [Path(__file__).with_name("test_fused.py"), Path(__file__).parents[1] / "test_fast.py"]
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-m", "not gpu", *files]
    done = subprocess.run(
        command, env={**os.environ, "TRITON_INTERPRET": "1"}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout[-5000:]
    assert "passed" in done.stdout
