"""The measured limits of the device: large matrix products, and a copy."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import torch

from benches.report import Row, Section
from benches.timing import Candidate, interleave, say

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}
AT_ONCE = 10  # so that the wait for the device at the end of a call weighs little


def products(device: torch.device, precisions: Sequence[str], size: int, repeats: int) -> Section:
    """A product of two random matrices in each precision; float32 without TF32, which is torch's default."""
    say(f"matrix products of {size}x{size}")
    candidates = {}
    for name in precisions:
        a, b = (torch.randn(size, size, device=device).to(DTYPES[name]) for _ in range(2))
        candidates[name] = Candidate(name, partial(_again, partial(torch.matmul, a, b)))
    timings = interleave(list(candidates.values()), repeats, 0.1, device)
    rows = []
    for candidate in candidates.values():
        timing = timings[candidate]
        rows.append(
            Row(candidate.name, [AT_ONCE * 2 * size**3 / s / 1e12 for s in timing.seconds], 1, timing)
        )
    return Section(f"Product of two {size}x{size} matrices: what MFU counts as 100 %", "TFLOP/s", rows)


def copying(device: torch.device, megabytes: int, repeats: int) -> Section:
    """A copy within the memory of the device; bytes read and bytes written both count."""
    source = torch.randint(256, (megabytes * 10**6,), dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    candidate = Candidate("copy", partial(_again, partial(target.copy_, source)))
    timing = interleave([candidate], repeats, 0.1, device)[candidate]
    rows = [Row("copy", [AT_ONCE * 2 * source.nbytes / s / 1e9 for s in timing.seconds], 1, timing)]
    return Section(f"Copy of {megabytes:,} MB, read and written bytes together", "GB/s", rows)


def _again(call: Callable[[], object]) -> None:
    for _ in range(AT_ONCE):
        call()
