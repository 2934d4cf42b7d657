"""Definitions: how different evaluators score the same label maps, under the same names of metrics.

- `clevrtex`, the default: every registered metric, as its docstring says. ARI is scikit-learn's; the rest is the
  evaluator of Karazija et al. (2021), which the objmae paper uses.
- `deepmind`: the ARI of the multi-object datasets' code (Kabra et al. 2019), which most papers on them report.
- `emorl`: the ARI of EfficientMORL's code (Emami et al. 2021).

The three agree up to rounding if both sides have two planes or more among the pixels that count. They differ on
degenerate images, which are common in datasets with single objects. All are computed in float64 (`deepmind`
originally in float32) and at the resolution of the label maps. A plugin (entry point group objbench.definitions) adds
its own: a function without arguments that returns metrics by name.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from objbench.errors import RequestError
from objbench.metrics.batch import Comparison, Metric
from objbench.metrics.rand_index import adjusted_rand
from objbench.registry import get, names

TAKEN = (  # beside metrics in records and reports
    "n_images", "slots", "masks", "crowded", "repeated", "keys", "loss", "n_boxes", "n_objects", "hours", "iterations",
)  # fmt: skip


def _deepmind_ari(batch: Comparison) -> Tensor:
    """Adjusted Rand index over all pixels; 1 if both sides are one plane, else NaN if the formula is 0/0."""
    return torch.where(
        _ratio_undefined(batch.table), _one_if_constant(batch.table), adjusted_rand(batch.table)
    )


def _deepmind_ari_fg(batch: Comparison) -> Tensor:
    """Adjusted Rand index over the pixels whose true label is > 0; NaN if the formula is 0/0, as for a single object.

    The original removes the background by dropping its plane of the true masks. A correct prediction of a single
    object is then 0/0, undefined. One exception: a prediction that is constant over the whole image, background
    included, scores 1 if the object's label is 1, if the object fills the image, or if there is no object.
    """
    objects = batch.table[:, :, 1:]
    background = batch.table[:, :, :1]
    without_plane = (
        torch.cat([objects[:, :, :1] + background, objects[:, :, 1:]], 2) if objects.shape[2] else background
    )
    return torch.where(_ratio_undefined(objects), _one_if_constant(without_plane), adjusted_rand(objects))


def _emorl_ari(batch: Comparison) -> Tensor:
    """Adjusted Rand index over all pixels; if the formula is 0/0, 1 for one plane on both sides, else 0."""
    return _zero_if_undefined(batch.table)


def _emorl_ari_fg(batch: Comparison) -> Tensor:
    """Adjusted Rand index over the pixels whose true label is > 0; 1 for one object in one plane, 0 without an object."""
    return _zero_if_undefined(batch.table[:, :, 1:])


def clevrtex() -> Mapping[str, Any]:
    """Every registered metric, including those of plugins."""
    return {name: get("metrics", name) for name in names("metrics")}


def deepmind() -> Mapping[str, Any]:
    """ARI and ARI-FG, undefined for single objects."""
    return {"ari": Metric(_deepmind_ari), "ari_fg": Metric(_deepmind_ari_fg)}


def emorl() -> Mapping[str, Any]:
    """ARI and ARI-FG, 0 for an image without an object."""
    return {"ari": Metric(_emorl_ari), "ari_fg": Metric(_emorl_ari_fg)}


def metrics_of(definition: str) -> Mapping[str, Any]:
    """The metrics of a definition by name.

    Raises:
        RequestError: There is no such definition, or a plugin's metric has a name that records or reports use for something else.
    """
    metrics: Mapping[str, Any] = get("definitions", definition)()
    for name in metrics:
        if name in TAKEN:
            raise RequestError(
                f"metric '{name}': records and reports have this name for something else; register it under another one"
            )
    return metrics


def _ratio_undefined(table: Tensor) -> Tensor:
    """Whether (R - E) / (M - E) is 0/0: fewer than two pixels, every pixel its own plane, or all in one: bool (B,)."""
    n = table.sum((1, 2))
    in_pred, in_true = (table.sum(side).square().sum(1) for side in (2, 1))
    return ((in_pred == n) & (in_true == n)) | ((in_pred == n.square()) & (in_true == n.square()))


def _one_if_constant(table: Tensor) -> Tensor:
    """1 if all pixels of an image are in one cell of the table, else NaN."""
    return torch.where(_occupied_cells(table) == 1, 1.0, torch.nan)


def _zero_if_undefined(table: Tensor) -> Tensor:
    one_cell = (_occupied_cells(table) == 1).double()
    return torch.where(_ratio_undefined(table), one_cell, adjusted_rand(table))


def _occupied_cells(table: Tensor) -> Tensor:
    return (table > 0).sum((1, 2))
