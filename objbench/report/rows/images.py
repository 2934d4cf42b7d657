"""The images that a mean is taken over: all of a split, or those for which the metric is defined."""

from __future__ import annotations

import hashlib

import numpy as np

from objbench.errors import ObjbenchError
from objbench.report.rows.row import Images, Origin, Statistic
from objbench.train.artifacts import read_per_image


def averaged_images(origin: Origin) -> dict[str, Images]:
    """Metric -> the images that the mean in the record is taken over."""
    scores = origin.record.metrics[origin.key]
    partial = {name for name, value in scores.values.items() if value.n is not None}
    keys = _keys_of_defined(origin, partial) if partial else {}
    return {
        name: Images(scores.n_images if value.n is None else value.n, scores.n_images, keys.get(name))
        for name, value in scores.values.items()
    }


def same_images(one: Statistic, other: Statistic) -> bool:
    """Whether two statistics are means over the same images; if their keys are not known, over as many."""
    images = {*one.images.values(), *other.images.values()}
    known = {found.keys for found in images if found.keys is not None}
    return len({found.n for found in images}) <= 1 and len(known) <= 1


def _keys_of_defined(origin: Origin, metrics: set[str]) -> dict[str, str]:
    """Metric -> digest of the keys of the images for which it is defined, as far as they were kept."""
    try:
        columns = read_per_image(origin.folder, [origin.key]).get(origin.key, {})
    except (ObjbenchError, OSError):  # the mean and its number of images are in the record
        return {}
    keys = columns.get("keys")
    return {
        name: _digest(keys[~np.isnan(values)].tolist())
        for name, values in columns.items()
        if name in metrics and keys is not None and values.shape == keys.shape
    }


def _digest(keys: list[str]) -> str:
    return hashlib.sha256("\n".join(sorted(map(str, keys))).encode()).hexdigest()
