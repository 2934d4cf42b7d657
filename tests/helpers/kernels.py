"""The fused kernels in tests: on the card where there is one, else on the CPU in Triton's interpreter.

Triton chooses when it is imported; tests/conftest.py makes the choice. A process has one of the two.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor

from helpers.project import requirements
from objmae.kernels.available import triton_installed

INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"
DEVICE = "cpu" if INTERPRETED else "cuda"
GUARD = 1 << 16  # values before and behind each tensor: more than a tile reaches
WHEELS = any(  # whether the extra dev has Triton here: if it should be here and is not, tests fail
    part.name == "triton" and part.marker and part.marker.evaluate({"extra": "dev"})
    for part in requirements()
)
needs_triton = pytest.mark.skipif(
    not WHEELS and not triton_installed(), reason="Triton has no wheels for this system"
)
needs_interpreter = pytest.mark.skipif(not INTERPRETED, reason="Triton compiles for the card in this process")
needs_cuda = pytest.mark.skipif(INTERPRETED, reason="needs a CUDA device")


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


def guarded(values: Tensor, fill: float) -> Tensor:
    """The same values on the device, in the middle of a larger memory: what is read beside them is `fill`."""
    memory = torch.full((values.numel() + 2 * GUARD,), fill, dtype=values.dtype, device=DEVICE)
    inside = memory[GUARD:-GUARD].view(values.shape)
    inside.copy_(values)
    return inside


class GuardedMemory:
    """What kernels write into is NaN at first, so that a gap is seen, and lies between guards, which have to stay.

    Attributes:
        memories: of all tensors made so since `monkeypatch` put this in the place of torch's functions.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.memories: list[Tensor] = []
        for owner, name in ((torch, "empty_like"), (Tensor, "new_empty")):
            monkeypatch.setattr(owner, name, self._guarding(getattr(owner, name)))

    def _guarding(self, function: Callable[..., Tensor]) -> Callable[..., Tensor]:
        def make(*arguments: Any, **keywords: Any) -> Tensor:
            made = function(*arguments, **keywords)
            if not made.is_floating_point() or not made.numel():
                return made
            inside = guarded(torch.full_like(made, torch.nan), torch.inf)
            self.memories.append(inside._base)
            return inside

        return make

    def assert_untouched(self) -> None:
        """A kernel that writes beside its tensors has a wrong mask."""
        for memory in self.memories:
            assert (memory[:GUARD] == torch.inf).all()
            assert (memory[-GUARD:] == torch.inf).all()


def leaf(*shape: int, dtype: torch.dtype = torch.float32, scale: float = 1) -> Tensor:
    """The same values on all devices, NaN around them."""
    return guarded((scale * torch.randn(*shape)).to(dtype), torch.nan).requires_grad_()


def coarse(*shape: int, dtype: torch.dtype) -> Tensor:
    """Leaves whose sums bfloat16 holds exactly: the interpreter cuts off where CUDA rounds to the nearest."""
    values = (16 * torch.randn(*shape)).round().clamp(-64, 64) / 16
    return guarded(values.to(dtype), torch.nan).requires_grad_()


def assert_close(found: Tensor, expected: Tensor) -> None:
    """Equal within the rounding of the tensor's type, at the scale of its largest value."""
    assert found.dtype is expected.dtype
    tolerance = 1e-5 if found.dtype is torch.float32 else 1e-2
    scale = expected.abs().max().item()
    torch.testing.assert_close(found, expected, rtol=0, atol=tolerance * scale)


def assert_same_function(found: Any, expected: Any, leaves: list[Tensor]) -> None:
    """Equal outputs, and equal gradients of one random combination of them."""
    found, expected = ([x] if isinstance(x, Tensor) else list(x) for x in (found, expected))
    upstream = [guarded(torch.randn(x.shape).to(x.dtype), torch.nan) for x in expected]
    for one, other in zip(found, expected, strict=True):
        assert_close(one, other)
    gradients = (torch.autograd.grad(outputs, leaves, upstream) for outputs in (found, expected))
    for one, other in zip(*gradients, strict=True):
        assert_close(one, other)
