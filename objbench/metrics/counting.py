"""Whether the number of objects is right."""

from __future__ import annotations

from torch import Tensor

from objbench.metrics.batch import Comparison, Metric


@Metric
def count_accuracy(batch: Comparison) -> Tensor:
    """1 if as many predicted planes as true ones have a pixel, else 0; the background counts (ClevrTex's `acc`)."""
    predicted = (batch.table.sum(2) > 0).sum(1)
    present = (batch.table.sum(1) > 0).sum(1)
    return (predicted == present).double()
