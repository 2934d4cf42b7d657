"""The memory that the bench `train` counts where no allocator does."""

from __future__ import annotations

import torch
from benches.train_memory import TensorMemory

MIB = 2**20


def floats(mebibytes: int) -> torch.Tensor:
    return torch.ones(mebibytes * MIB // 4)


def test_peak_of_tensors_that_live_at_once():
    with TensorMemory() as memory:
        first = floats(1)
        second = floats(2)
        del first
        third = floats(1)
    assert memory.peak == 3 * MIB
    assert len(second) + len(third) > 0


def test_views_and_work_in_place_take_no_memory():
    with TensorMemory() as memory:
        values = floats(1)
        values += 1
        values.view(2, -1)[0].mul_(2)
    assert memory.peak == MIB


def test_what_was_there_before_is_not_counted():
    before = floats(4)
    with TensorMemory() as memory:
        before += 1
        doubled = before[: MIB // 4] * 2
    assert memory.peak == doubled.nbytes == MIB


def test_what_the_backward_pass_needs_is_held_until_it_has_run():
    start = floats(1).requires_grad_()
    with TensorMemory() as memory:
        total = start.exp().exp().exp().sum()
        assert memory.peak == 3 * MIB + 4  # each exp keeps its result
        total.backward()
    assert start.grad is not None
    # Each exp's result goes when its gradient is there; the gradient of the sum is a view of a number.
    assert memory.peak == 4 * MIB + 8
