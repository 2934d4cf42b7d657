"""Another default type than float32, as programs set it that compute in float64."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def float64_by_default() -> Iterator[None]:
    """Tensors and modules without a type are float64."""
    torch.set_default_dtype(torch.float64)
    try:
        yield
    finally:
        torch.set_default_dtype(torch.float32)
