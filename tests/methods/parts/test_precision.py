from __future__ import annotations

import torch

from objbench.methods.parts.precision import widened


def test_half_precision_becomes_float32_and_double_stays():
    kinds = {kind: widened(torch.zeros(1, dtype=kind)).dtype for kind in (torch.bfloat16, torch.float64)}
    assert kinds == {torch.bfloat16: torch.float32, torch.float64: torch.float64}
