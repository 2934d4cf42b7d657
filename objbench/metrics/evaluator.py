"""Scores accumulated over batches and processes."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from objbench.errors import ObjbenchError
from objbench.metrics.definitions import metrics_of
from objbench.metrics.scoring import score
from objbench.registry import DEFAULT_DEFINITION
from objbench.scores import mean_and_std

_OWN = ("n_images", "keys")  # of `compute` and `per_image`, beside the metrics


class Evaluator:
    """Accumulates `score` over batches: update, compute, reset, and merge across processes.

    The state is the float64 value of every metric for every image (and its key), in the order of the updates; it
    can be pickled. Sums are rounded once (math.fsum), so mean and std are bit-identical for every batch size and for
    every distribution of the images over processes.

    Args:
        definition: As of `score`. RequestError if it is unknown.

    Example:
        >>> evaluator = Evaluator()
        >>> truth = torch.tensor([[[0, 0, 1, 1]], [[0, 1, 1, 1]]])
        >>> evaluator.update(truth, truth, keys=["0000", "0001"])
        >>> evaluator.compute()["miou"]
        {'mean': 1.0, 'std': 0.0}
        >>> evaluator
        Evaluator(clevrtex, 2 images)
    """

    def __init__(self, definition: str = DEFAULT_DEFINITION) -> None:
        self.definition = definition
        metrics_of(definition)
        self.reset()

    def __repr__(self) -> str:
        return f"Evaluator({self.definition}, {self._n_images:,} images)"

    def reset(self) -> None:
        """Forget all images."""
        self._values: dict[str, list[float]] = {}
        self._keys: list[str] = []
        self._n_images = 0

    def update(
        self,
        pred: Tensor,
        true: Tensor,
        reconstruction: Tensor | None = None,
        images: Tensor | None = None,
        keys: Sequence[str] | NDArray[Any] | None = None,
        further: Mapping[str, Tensor] = MappingProxyType({}),
    ) -> None:
        """Score a batch and keep the values.

        Args:
            pred: As of `score`.
            true: As of `score`.
            reconstruction: As of `score`.
            images: As of `score`.
            keys: The names of the images, in all updates or in none.
            further: Values of something else to be averaged, (B,) each, by name.

        Raises:
            ObjbenchError: A key was seen before, this batch gives other metrics than earlier ones, or `further` has the
                name of a metric or another number of values.
        """
        scores = score(pred, true, reconstruction, images, self.definition)
        for name, column in further.items():
            if name in scores or name in _OWN:
                raise ObjbenchError(
                    f"further '{name}': the evaluator has this name itself; choose another one"
                )
            if not isinstance(column, Tensor) or column.is_complex():
                kind = column.dtype if isinstance(column, Tensor) else type(column).__name__
                raise ObjbenchError(f"further '{name}' is {kind}; expected a tensor of real numbers (B,)")
            if column.shape != pred.shape[:1]:
                raise ObjbenchError(
                    f"further '{name}' has shape {tuple(column.shape)} for {len(pred)} images; expected one value per image"
                )
        scores |= {name: column.to(pred.device, torch.float64) for name, column in further.items()}
        named = [] if keys is None else _names(keys, len(pred))
        values = torch.stack(list(scores.values())).tolist()
        self._append(dict(zip(scores, values, strict=True)), named, len(pred))

    def merge(self, other: Evaluator) -> None:
        """Add the images of `other`, which another process evaluated by the same definition.

        Raises:
            ObjbenchError: The definitions differ, both contain the same key, or `other` is this evaluator.
        """
        if other is self:
            raise ObjbenchError("an Evaluator was to be merged into itself: every image would count twice")
        if other.definition != self.definition:
            raise ObjbenchError(
                f"scores by '{other.definition}' cannot be merged into those by '{self.definition}'"
            )
        if other._n_images:
            self._append(other._values, other._keys, other._n_images)

    def compute(self) -> dict[str, Any]:
        """Mean and sample std over the images: {"n_images": N, metric: {"mean": m, "std": s}}; std None for one image.

        Infinite values make the mean infinite, or NaN if they have both signs, and std None.

        A metric that is undefined (NaN) for some images is averaged over the others and has "n", their number. A
        metric that is defined for no image is left out.
        """
        result: dict[str, Any] = {"n_images": self._n_images}
        for name, values in self._values.items():
            defined = [value for value in values if not math.isnan(value)]
            if defined:
                result[name] = _mean_std(defined)
            if 0 < len(defined) < len(values):
                result[name]["n"] = len(defined)
        return result

    def per_image(self) -> dict[str, NDArray[Any]]:
        """Each metric's values float64 (N,) in the order of the updates, and "keys" (N,) if keys were given."""
        values: dict[str, NDArray[Any]] = {name: np.array(column) for name, column in self._values.items()}
        return {"keys": np.array(self._keys), **values} if self._keys else values

    def _append(self, values: dict[str, list[float]], keys: list[str], count: int) -> None:
        if self._n_images:
            if values.keys() != self._values.keys():
                raise ObjbenchError(
                    f"every batch must give the same metrics: so far {', '.join(self._values)}; now {', '.join(values)}"
                    " (were reconstruction and images given every time?)"
                )
            if bool(keys) != bool(self._keys):
                raise ObjbenchError("keys must be given for all images or for none")
        seen = set(self._keys)
        for key in keys:
            if key in seen:
                raise ObjbenchError(
                    f"image {key} was evaluated twice: keys must be unique, over merged processes too"
                )
            seen.add(key)
        for name, column in values.items():
            self._values.setdefault(name, []).extend(column)
        self._keys.extend(keys)
        self._n_images += count


def _names(keys: Any, count: int) -> list[str]:
    """The keys of `count` images as a list; ObjbenchError if they are not one text or number for each."""
    try:
        names = np.asarray(keys if isinstance(keys, str) else list(keys))
    except (TypeError, ValueError):  # nothing to go through, or lists of different lengths
        names = np.empty(())
    if names.ndim != 1 or names.dtype == object:
        raise ObjbenchError("keys must be one text or number for each image, (B,)")
    if len(names) != count:
        raise ObjbenchError(f"{len(names)} keys were given for {count} images")
    listed: list[str] = names.tolist()
    return listed


def _mean_std(values: list[float]) -> dict[str, Any]:
    mean, std = mean_and_std(values)
    return {"mean": mean, "std": std}
