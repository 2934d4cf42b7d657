"""All metrics of a batch at once."""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from typing import Any

import torch
from torch import Tensor

from objbench.errors import ObjbenchError
from objbench.metrics.batch import Comparison, Metric, compare
from objbench.metrics.contingency import count_planes
from objbench.metrics.definitions import metrics_of
from objbench.registry import DEFAULT_DEFINITION

# Pixels or table cells processed at once, which bounds the memory of a call.
CPU_PASS = 2**21
DEVICE_PASS = 2**26


def score(
    pred: Tensor,
    true: Tensor,
    reconstruction: Tensor | None = None,
    images: Tensor | None = None,
    definition: str = DEFAULT_DEFINITION,
) -> dict[str, Tensor]:
    """Compute every metric of each image: name -> float64 (B,), on the device of `pred`.

    A value depends on its own image only, not on the batch and not on the number of empty planes after the last
    occupied one. A plugin (entry point group objbench.metrics) is a `Metric`, or a function of (pred, true,
    reconstruction, images): it gets label maps (B,H,W) and returns a tensor with one value per image, or None if it needs
    a reconstruction and there is none. What it gets is a copy, which it may write into.

    Args:
        pred: float masks (B,M,H,W), scored by arg-max, the lowest plane on ties; or integer labels (B,H,W).
        true: Integer labels (B,H,W) or (B,1,H,W), 0 = background; gaps are empty planes.
        reconstruction: float (B,C,H,W) in [0,1]; without it or `images`, the metrics that need it are left out.
        images: float (B,C,H,W) in [0,1], or uint8.
        definition: clevrtex: every registered metric; deepmind, emorl: see `objbench.metrics.definitions`.

    Raises:
        ObjbenchError: Shapes, dtypes or labels do not fit, or predictions contain NaN.

    Example:
        >>> import torch
        >>> true = torch.tensor([[[0, 0, 1, 1], [0, 0, 1, 1]]])
        >>> scores = score(true.clamp(max=0), true)
        >>> {name: float(scores[name]) for name in ("ari", "ari_fg", "miou", "mbo", "count_accuracy")}
        {'ari': 0.0, 'ari_fg': 1.0, 'miou': 0.25, 'mbo': 0.5, 'count_accuracy': 0.0}
    """
    whole = compare(pred, true, reconstruction, images)
    per_pass = _images_per_pass(whole)
    metrics = metrics_of(definition)
    parts = [
        _score(whole[start : start + per_pass], metrics) for start in range(0, len(whole.pred), per_pass)
    ]
    return {name: _join([part[name] for part in parts]) for name in parts[0]}


def _score(batch: Comparison, metrics: Mapping[str, Any]) -> dict[str, Tensor]:
    results = {}
    for name, metric in metrics.items():
        ours = getattr(metric, "__module__", "").startswith("objbench.")
        given = batch if ours else deepcopy(batch)  # with what was computed for the metrics before
        if isinstance(metric, Metric):
            values = metric.of(given)
        else:
            values = metric(given.pred, given.true, given.reconstruction, given.images)
        if values is not None:
            if not isinstance(values, Tensor) or values.is_complex():
                kind = values.dtype if isinstance(values, Tensor) else type(values).__name__
                raise ObjbenchError(
                    f"metric '{name}' returned {kind}; expected a tensor of real numbers (B,)"
                )
            if values.shape != batch.pred.shape[:1]:
                raise ObjbenchError(
                    f"metric '{name}' returned shape {tuple(values.shape)} for {len(batch.pred)} images;"
                    " expected one value per image"
                )
            results[name] = values.double()
    return results


def _images_per_pass(batch: Comparison) -> int:
    cells = count_planes("pred", batch.pred) * count_planes("true", batch.true)
    budget = CPU_PASS if batch.pred.device.type == "cpu" else DEVICE_PASS
    return max(1, budget // max(batch.pred[0].numel(), cells))


def _join(parts: list[Tensor]) -> Tensor:
    return parts[0] if len(parts) == 1 else torch.cat(parts)
