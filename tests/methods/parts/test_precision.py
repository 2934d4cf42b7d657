from __future__ import annotations

import threading

import torch
from helpers.default_dtype import float64_by_default

from objbench.methods.parts.precision import float32_default, widened


def test_half_precision_becomes_float32_and_double_stays():
    kinds = {kind: widened(torch.zeros(1, dtype=kind)).dtype for kind in (torch.bfloat16, torch.float64)}
    assert kinds == {torch.bfloat16: torch.float32, torch.float64: torch.float64}


def test_modules_are_made_in_float32_whatever_the_default_which_stays():
    with float64_by_default():
        with float32_default, float32_default:
            assert torch.nn.Linear(1, 1).weight.dtype == torch.float32
        assert torch.get_default_dtype() == torch.float64


def test_a_thread_that_is_done_takes_float32_from_no_other():
    entered, left = threading.Event(), threading.Event()

    def other() -> None:
        with float32_default:
            entered.set()
            left.wait(10)

    with float64_by_default():
        thread = threading.Thread(target=other)
        thread.start()
        entered.wait(10)
        with float32_default:
            left.set()
            thread.join()
            assert torch.ones(1).dtype == torch.float32
        assert torch.get_default_dtype() == torch.float64
