from __future__ import annotations

import os

import pytest
import torch
from benches.process import host_synchronisations, in_fresh_process, memory_is_measurable, peak_growth


def growth_of_64_mebibytes():
    return peak_growth(lambda: float(torch.ones(2**24).sum()))


@pytest.mark.skipif(not memory_is_measurable(), reason="the system does not tell a process's peak memory")
def test_peak_growth_counts_what_is_freed_again():
    growth = in_fresh_process(
        growth_of_64_mebibytes
    )  # this one would use an earlier test's freed memory again
    assert 60 * 2**20 < growth < 80 * 2**20


def test_a_fresh_process_is_another_one():
    assert in_fresh_process(os.getpid) != os.getpid()


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
def test_host_synchronisations_are_counted():
    values = torch.ones(4, device="cuda")
    assert host_synchronisations(lambda: values * 2) == 0
    assert host_synchronisations(lambda: [values.sum().item(), values.max().item()]) == 2
