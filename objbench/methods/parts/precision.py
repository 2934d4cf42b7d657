"""Numbers that need float32, whatever the precision of the networks."""

from __future__ import annotations

import threading

import torch
from torch import Tensor


def widened(values: Tensor) -> Tensor:
    """`values` in float32; float64 stays float64."""
    return values if values.dtype == torch.float64 else values.float()


class _Float32Default:
    """Within it, new tensors and modules without a type are float32, whatever default type the program has set.

    The default is that of the process: it is set back when the last thread is out, and other threads have it meanwhile.
    """

    def __init__(self) -> None:
        self._lock, self._within, self._before = threading.Lock(), 0, torch.float32

    def __enter__(self) -> None:
        with self._lock:
            if not self._within:
                self._before = torch.get_default_dtype()
            self._within += 1
            torch.set_default_dtype(torch.float32)

    def __exit__(self, *error: object) -> None:
        with self._lock:
            self._within -= 1
            if not self._within:
                torch.set_default_dtype(self._before)


float32_default = _Float32Default()
