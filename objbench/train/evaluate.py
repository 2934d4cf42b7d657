"""Score a method on a split with all metrics: the same code for validation, test and later evaluations."""

from __future__ import annotations

from collections.abc import Iterator, Set
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from objbench.data.read.scenes import Scenes
from objbench.data.scene import Array
from objbench.errors import ObjbenchError
from objbench.labels import count_visible, hard_labels
from objbench.methods.base import Method, Progress, Segmentation
from objbench.metrics import Evaluator
from objbench.metrics.bootstrap import bootstrap
from objbench.progress import Advance, silent
from objbench.random import seed_from
from objbench.ranks.group import ALONE, Ranks
from objbench.registry import DEFAULT_DEFINITION
from objbench.scores import ScoreKey, Scores
from objbench.train.batches import unit_range
from objbench.viz import ALTERNATIVE

N_SAMPLES = 16
BOXES = ("boxes", "presence", "depth")  # the extras that are kept with the samples


@dataclass(frozen=True)
class Evaluation:
    """The result of an evaluation.

    Attributes:
        scores: `n_images`, and metric -> {"mean", "std"}.
        per_image: The values behind the scores, metric -> (N,), and `keys`.
        samples: The first images with their predictions, name -> array, for pictures.
        crowded: How many images have more objects than the prediction has planes; 0 if the planes are not known.
        masks: Name of the alternative masks that were scored; None for those that the method segments with.
        alternatives: The results for the alternative masks, without samples.
    """

    scores: dict[str, Any]
    per_image: dict[str, Array]
    samples: dict[str, Array]
    crowded: int
    masks: str | None = None
    alternatives: tuple[Evaluation, ...] = ()

    @property
    def for_record(self) -> Scores:
        """The scores with the confidence intervals of their means."""
        intervals = bootstrap({name: values for name, values in self.per_image.items() if name != "keys"})
        with_interval = {
            name: {**self.scores[name], "interval": interval}
            for name, interval in intervals.items()
            if name in self.scores
        }
        fields = {"crowded": self.crowded or None, "masks": self.masks}
        return Scores.model_validate(self.scores | fields | with_interval)

    @property
    def means(self) -> dict[str, float]:
        """Metric name -> mean."""
        return {name: value["mean"] for name, value in self.scores.items() if name != "n_images"}

    def by_key(self, key: ScoreKey) -> dict[str, Evaluation]:
        """This evaluation under the `key` of its scores, and those of the alternative masks under theirs."""
        return {key._replace(masks=found.masks).text: found for found in (self, *self.alternatives)}


def evaluate(
    method: Method,
    scenes: Scenes,
    seed: int,
    batch_size: int,
    *,
    progress: Progress | None = None,
    n_samples: int = 0,
    advance: Advance = silent,
    definition: str = DEFAULT_DEFINITION,
    ranks: Ranks = ALONE,
) -> Evaluation:
    """Segment `scenes` on their device and score them.

    Random draws depend on (seed, sample key) alone, so the batch size changes nothing. The method keeps its mode
    (train or eval). Several processes take whole batches each, and all get the result, which is that of one process.

    Args:
        method: The method, on the device of the scenes.
        scenes: The scenes to segment.
        seed: Seed of the run.
        batch_size: Number of images segmented at a time.
        progress: State of the training, None after its end.
        n_samples: Number of images kept as samples.
        advance: Called with the number of images after each batch.
        definition: Definition of the metrics.
        ranks: The processes that share the work, all with the same scenes.
    """
    batches = -(-len(scenes) // batch_size)
    first, end = (batches * rank // ranks.size * batch_size for rank in (ranks.rank, ranks.rank + 1))
    samples, scorings = Samples(max(0, n_samples - first)), dict[str | None, _Scoring]()
    with evaluating(method):
        for images, masks, keys, found in segmented(
            method, scenes, seed, batch_size, first=first, end=end, progress=progress
        ):
            prediction = found.labels if found.masks is None else found.masks
            assert prediction is not None
            further = _further(found, masks)
            readings: list[tuple[str | None, Tensor]] = [(None, prediction), *found.alternatives.items()]
            if scorings:
                _refuse_others(method, scorings.keys(), {name for name, _ in readings})
            for name, reading in readings:
                scoring = scorings.setdefault(name, _Scoring(Evaluator(definition)))
                try:
                    scoring.evaluator.update(reading, masks, found.reconstruction, images, keys, further)
                except ObjbenchError as error:  # scenes were checked: it is of what the method gave
                    raise ObjbenchError(f"{type(method).__name__}.segment: {error}") from None
                if reading.ndim == 4:
                    scoring.crowded += count_crowded(masks, reading.shape[1])
                elif method.any_slots:  # else nothing says how many planes label maps could have
                    scoring.crowded += count_crowded(masks, method.slots)
            samples.keep(images, masks, keys, found)
            advance(len(images))
    if ranks.several:
        parts = ranks.gather((scorings, samples))
        given = [part.keys() for part, _ in parts if part]
        for names in given[1:]:
            _refuse_others(method, given[0], names)
        scorings, samples = _joined(parts)
        advance(len(scenes) - max(0, min(end, len(scenes)) - first))
    main = scorings.pop(None, _Scoring(Evaluator(definition)))
    others = tuple(scoring.evaluation({}, name) for name, scoring in scorings.items())
    return replace(main.evaluation(samples.arrays()), alternatives=others)


def _refuse_others(method: Method, before: Set[str | None], now: Set[str | None]) -> None:
    """Raise ObjbenchError if a method gave other alternatives for some images than for others before."""
    if before != now:
        raise ObjbenchError(
            f"{type(method).__name__}.segment gave the alternatives {sorted(filter(None, now))} for some images and "
            f"{sorted(filter(None, before))} for others: expected the same for all"
        )


def _joined(
    parts: list[tuple[dict[str | None, _Scoring], Samples]],
) -> tuple[dict[str | None, _Scoring], Samples]:
    """What several processes found, in the order of the images."""
    scorings: dict[str | None, _Scoring] = {}
    samples = Samples(0)
    for found, kept in parts:
        for name, scoring in found.items():
            if name in scorings:
                scorings[name].evaluator.merge(scoring.evaluator)
                scorings[name].crowded += scoring.crowded
            else:
                scorings[name] = scoring
        samples.parts += kept.parts
    return scorings, samples


@dataclass
class _Scoring:
    """The scores of one kind of masks while they are gathered."""

    evaluator: Evaluator
    crowded: int = 0

    def evaluation(self, samples: dict[str, Array], masks: str | None = None) -> Evaluation:
        return Evaluation(
            self.evaluator.compute(), self.evaluator.per_image(), samples, self.crowded, masks=masks
        )


def _further(found: Segmentation, masks: Tensor) -> dict[str, Tensor]:
    """What else is averaged, (B,): a method's loss; of boxes, how many are present and how many objects the truth has."""
    further = {"loss": found.extras["loss"]} if "loss" in found.extras else {}
    if "presence" in found.extras:
        further["n_boxes"] = (found.extras["presence"] > 0.5).sum(1)
        further["n_objects"] = count_visible(masks)
    return further


def count_crowded(masks: Tensor, planes: int) -> int:
    """How many label maps (B,H,W) have more objects (labels above 0) than `planes`.

    >>> count_crowded(torch.tensor([[[0, 1, 3]], [[0, 0, 2]]]), planes=1)
    1
    """
    return int((count_visible(masks) > planes).sum())


@contextmanager
def evaluating(method: Method) -> Iterator[None]:
    """The method is in evaluation mode within, and in the mode that it had after it."""
    training = method.training
    method.eval()
    try:
        yield
    finally:
        method.train(training)


class SegmentedBatch(NamedTuple):
    """Some scenes, images uint8 (B,3,H,W), masks (B,H,W) and keys, and what a method found in them."""

    images: Tensor
    masks: Tensor
    keys: list[str]
    found: Segmentation


def segmented(
    method: Method,
    scenes: Scenes,
    seed: int,
    batch_size: int,
    *,
    first: int = 0,
    end: int | None = None,
    progress: Progress | None = None,
) -> Iterator[SegmentedBatch]:
    """The scenes [first, end) with their segmentations, a batch at a time; `end` may be beyond the last.

    Random draws depend on (seed, sample key) alone.
    """
    for start in range(first, len(scenes) if end is None else min(end, len(scenes)), batch_size):
        part = slice(start, start + batch_size)
        images, keys = scenes.images[part], scenes.keys[part]
        found = segment(method, unit_range(images), keys, seed, progress)
        yield SegmentedBatch(images, scenes.masks[part], keys, found)


def segment(
    method: Method, images: Tensor, keys: list[str], seed: int, progress: Progress | None = None
) -> Segmentation:
    """Call `method.segment` with randomness fixed by (seed, keys); what it gives is made plain."""
    torch.manual_seed(seed_from(seed, "evaluate", *keys))
    method.seed_images(torch.tensor([seed_from(seed, "segment", key) for key in keys]))
    try:
        with torch.no_grad():
            return method.segment(images, progress).plain()
    finally:
        method.seed_images(None)


class Samples:
    """Collects the first images of an evaluation with their predictions, as uint8."""

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
        for name, reading in found.alternatives.items():
            labels = hard_labels(reading) if reading.ndim == 4 else reading
            part[ALTERNATIVE + name] = labels.to(torch.int16)
        part |= {name: _bytes(value[:n]) for name, value in soft.items() if value is not None}
        part |= {name: found.extras[name].float() for name in BOXES if name in found.extras}
        self.parts.append({name: value[:n].cpu().numpy() for name, value in part.items()})
        self.parts[-1]["keys"] = np.array(keys[:n])

    def arrays(self) -> dict[str, Array]:
        names = self.parts[0] if self.parts else {}
        return {name: np.concatenate([part[name] for part in self.parts]) for name in names}


def _bytes(values: Tensor) -> Tensor:
    return (values.float().clamp(0, 1) * 255).round().to(torch.uint8)
