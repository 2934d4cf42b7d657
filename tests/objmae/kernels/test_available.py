"""Where the fused kernels run, with a stand-in for a GPU."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from objmae.kernels import available


@pytest.mark.parametrize(
    ("capability", "runs"),
    [((7, 0), False), ((7, 5), False), ((8, 0), True), ((9, 0), True), ((10, 0), True)],
)
def test_gpus_that_triton_does_not_support_take_the_plain_forms(monkeypatch, capability, runs):
    monkeypatch.setattr(available, "triton_installed", lambda: True)
    monkeypatch.setattr(
        available, "triton_supports", available.triton_supports.__wrapped__
    )  # keeps no answer
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
    device = torch.device("cuda", 0)
    tensor = SimpleNamespace(is_cuda=True, dtype=torch.bfloat16, device=device)
    assert available.fused(tensor) is runs
    assert not available.fused(SimpleNamespace(is_cuda=True, dtype=torch.float64, device=device))
    assert not available.fused(torch.ones(1))
