"""One method, one prepared split, every metric: the same path for validation, test and any later evaluation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from objbench.data.read.scenes import Scenes
from objbench.data.scene import Array
from objbench.errors import ObjbenchError
from objbench.methods.base import Method, Progress, Segmentation
from objbench.metrics import Evaluator
from objbench.metrics.bootstrap import bootstrap
from objbench.progress import Advance, silent
from objbench.random import seed_from
from objbench.records import Scores
from objbench.registry import DEFAULT_DEFINITION
from objbench.train.batches import unit_range

N_SAMPLES = 16


@dataclass(frozen=True)
class Evaluation:
    """Scores (`n_images` and name -> mean, std), the values behind them per image, and a few images to look at."""

    scores: dict[str, Any]
    per_image: dict[str, Array]
    samples: dict[str, Array]

    @property
    def for_record(self) -> Scores:
        """The scores as a record holds them: with the confidence intervals of their means."""
        intervals = bootstrap({name: values for name, values in self.per_image.items() if name != "keys"})
        with_interval = {
            name: {**self.scores[name], "interval": interval}
            for name, interval in intervals.items()
            if name in self.scores
        }
        return Scores.model_validate(self.scores | with_interval)

    @property
    def means(self) -> dict[str, float]:
        """Metric name -> mean."""
        return {name: value["mean"] for name, value in self.scores.items() if name != "n_images"}


def evaluate(
    method: Method,
    scenes: Scenes,
    seed: int,
    batch_size: int,
    progress: Progress | None = None,
    n_samples: int = 0,
    advance: Advance = silent,
    definition: str = DEFAULT_DEFINITION,
) -> Evaluation:
    """Segment `scenes` on their device and score them; `progress` None = as at the end of training.

    Random draws depend on (seed, sample key) alone, so the batch size changes nothing. The method is left in the
    mode it came in.
    """
    evaluator, samples = Evaluator(definition), Samples(n_samples)
    training = method.training
    method.eval()
    try:
        for start in range(0, len(scenes), batch_size):
            part = slice(start, start + batch_size)
            images, masks, keys = scenes.images[part], scenes.masks[part], scenes.keys[part]
            segmentation = segment(method, unit_range(images), keys, seed, progress)
            prediction = segmentation.labels if segmentation.masks is None else segmentation.masks
            assert prediction is not None
            reconstruction = segmentation.reconstruction
            evaluator.update(prediction, masks, reconstruction=reconstruction, images=images, keys=keys)
            samples.keep(images, masks, keys, segmentation)
            advance(len(images))
    finally:
        method.seed_images(None)
        method.train(training)
    return Evaluation(evaluator.compute(), evaluator.per_image(), samples.arrays())


def segment(
    method: Method, images: Tensor, keys: list[str], seed: int, progress: Progress | None = None
) -> Segmentation:
    """`method.segment` with its randomness fixed by (seed, keys), checked for shape."""
    method.seed_images(torch.tensor([seed_from(seed, "segment", key) for key in keys]))
    torch.manual_seed(seed_from(seed, "evaluate", *keys))
    with torch.no_grad():
        segmentation = method.segment(images, progress)
    found = segmentation.labels if segmentation.masks is None else segmentation.masks
    assert found is not None
    expected = (len(images), *images.shape[2:])
    shape = tuple(found.shape) if segmentation.masks is None else (found.shape[0], *found.shape[2:])
    if shape != expected:
        raise ObjbenchError(
            f"{type(method).__name__}.segment gave masks of shape {tuple(found.shape)} for images of shape "
            f"{tuple(images.shape)}: expected labels (B,H,W) or masks (B,M,H,W)"
        )
    return segmentation


class Samples:
    """The first images of an evaluation with all that was said of them, in bytes."""

    def __init__(self, count: int) -> None:
        self.left = count
        self.parts: list[dict[str, Array]] = []

    def keep(self, images: Tensor, masks: Tensor, keys: list[str], found: Segmentation) -> None:
        n = min(self.left, len(images))
        if n == 0:
            return
        self.left -= n
        part = {"images": images, "masks": masks, "prediction": found.prediction.to(torch.int16)}
        soft = {
            "soft_masks": found.masks,
            "reconstruction": found.reconstruction,
            "components": found.components,
            "attention": found.attention,
        }
        part |= {name: _bytes(value[:n]) for name, value in soft.items() if value is not None}
        self.parts.append({name: value[:n].cpu().numpy() for name, value in part.items()})
        self.parts[-1]["keys"] = np.array(keys[:n])

    def arrays(self) -> dict[str, Array]:
        names = self.parts[0] if self.parts else {}
        return {name: np.concatenate([part[name] for part in self.parts]) for name in names}


def _bytes(values: Tensor) -> Tensor:
    return (values.float().clamp(0, 1) * 255).round().to(torch.uint8)
