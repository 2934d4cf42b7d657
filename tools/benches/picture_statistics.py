"""Statistics of images and label maps per scene, which can be combined over any part of a set."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from objbench.data.scene import Array

CHANNELS = ("red", "green", "blue")
LEVELS = 8  # grey levels to a bin of a channel's histogram
_STEPS = (0, 1, 2, 4, 8, 16, 32, 64, 512)  # edges of the bins of edge strengths, grey levels
_AREAS = (1, 25, 50, 100, 200, 400, 800, 1600, 1 << 14)  # of the bins of an object's pixels


@dataclass(frozen=True)
class Statistics:
    """Statistics of N scenes.

    Names: `red`, `green`, `blue` are means over pixels, with histograms of bins of 8 grey levels. `edges` is the gradient
    of the mean of the channels (root of the squared differences to the right and the lower neighbour) over all pixels;
    `edges of masks` those where a neighbour has another label, `inside objects` and `on the ground` the others.
    Objects are those with a pixel.

    Attributes:
        means: Name -> (2,N), a sum and its divisor.
        histograms: Name -> counts (N,bins).
    """

    means: dict[str, Array]
    histograms: dict[str, Array]

    def only(self, scenes: Array) -> Statistics:
        """The statistics of some of the scenes."""
        return Statistics(
            {name: values[:, scenes] for name, values in self.means.items()},
            {name: counts[scenes] for name, counts in self.histograms.items()},
        )

    def mean(self, name: str) -> float:
        """The mean over all scenes."""
        total, count = self.means[name].sum(1)
        return float(total / count)


def statistics(images: Array, masks: Array) -> Statistics:
    """The statistics of images uint8 (N,H,W,3) and label maps uint8 (N,H,W)."""
    grey = images.astype(np.float64).mean(-1)
    across, down = np.diff(grey, axis=2)[:, :-1], np.diff(grey, axis=1)[:, :, :-1]
    strength = np.hypot(across, down)
    label = masks[:, :-1, :-1]
    border = (label != masks[:, :-1, 1:]) | (label != masks[:, 1:, :-1])
    kinds = {
        "edges": np.ones_like(border),
        "edges of masks": border,
        "edges inside objects": ~border & (label > 0),
        "edges on the ground": ~border & (label == 0),
    }
    areas = [np.bincount(mask.ravel(), minlength=2)[1:] for mask in masks]
    seen = np.array([np.count_nonzero(area) for area in areas], float)
    covered = np.array([area.sum() for area in areas], float)
    one, pixels = np.ones(len(masks)), np.full(len(masks), masks[0].size, float)
    means = {name: np.stack([images[..., i].sum((1, 2)), pixels]) for i, name in enumerate(CHANNELS)}
    means |= {name: np.stack([(strength * at).sum((1, 2)), at.sum((1, 2))]) for name, at in kinds.items()}
    means |= {
        "objects in a scene": np.stack([seen, one]),
        "pixels of all objects": np.stack([covered, one]),
        "pixels of an object": np.stack([covered, seen]),
    }
    histograms = {name: _counts(images[..., i], np.arange(0, 257, LEVELS)) for i, name in enumerate(CHANNELS)}
    histograms["edges"] = _counts(strength, _STEPS)
    histograms["pixels of an object"] = _counts(areas, _AREAS)
    return Statistics(means, histograms)


def distance(first: Array, second: Array) -> float:
    """The total variation distance between two sets of counts (N,bins), in [0,1]."""
    shares = [counts.sum(0) / counts.sum() for counts in (first, second)]
    return float(abs(shares[0] - shares[1]).sum() / 2)


def _counts(scenes: Array | list[Array], edges: Array | tuple[int, ...]) -> Array:
    return np.stack([np.histogram(values, edges)[0] for values in scenes])
