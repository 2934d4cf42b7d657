"""The saved test images of the runs, as many as a page has room for."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from objbench.errors import ObjbenchError
from objbench.registry import DEFAULT_DEFINITION
from objbench.report.html.runs import ShownRun
from objbench.report.html.sprites import LEVELS, Level, atlas, deflated, picture, planes
from objbench.scores import ScoreKey
from objbench.spec.datasets import TEST
from objbench.spec.metrics import MetricSpec
from objbench.spec.schema import Spec
from objbench.train.artifacts import read_per_image, read_samples
from objbench.train.evaluate import N_SAMPLES
from objbench.viz import (
    ALTERNATIVE,
    Array,
    box_colours,
    channels_last,
    colour,
    match_labels,
    prediction_colours,
    present_boxes,
    shown_planes,
)

BUDGET = 8_500_000  # characters of all pictures of a page: below 10 MB with everything else on it
_MARGIN = 1.05  # by how much the images of a run may be larger than the two that their size is foreseen from
# What reading samples of foreign shapes and types raises; a damaged file is an ObjbenchError.
_UNREADABLE = (ObjbenchError, OSError, ValueError, LookupError, TypeError, AttributeError, ArithmeticError)


# What the samples of a method's other masks have in common with those of the masks that it segments with.
_SHARED = ("images", "masks", "keys", "reconstruction", "boxes", "presence")


@dataclass(frozen=True)
class Evaluation:
    """An evaluation of a run, with or without saved images.

    Attributes:
        evaluation: Key of its scores in the record.
        turn: Place of the seed among those of its configuration; 0 is the first.
        spec: The benchmarks, for names.
    """

    run: ShownRun
    evaluation: str
    turn: int
    spec: Spec

    @property
    def name(self) -> str:
        """Its name on the page."""
        return f"{self.run.series}, seed {self.run.record.seed}, on {self.where}"

    @property
    def where(self) -> str:
        """The name of what was scored, with the split if that is not test, and with the name of other masks."""
        on = self.run.record.scored[self.evaluation]
        place = self.spec.place_title(on.place)
        place = place if on.split == TEST else f"{place}: {on.split}"
        return place if self.masks is None else f"{place} ({self.masks} masks)"

    @property
    def masks(self) -> str | None:
        """The name of the masks, if they are not those that the method segments with."""
        return self.run.record.metrics[self.evaluation].masks

    def samples(self) -> dict[str, Array]:
        """Read the arrays of the first 16 saved images, by name; not cached, as all together would not fit into memory.

        Of other masks there are label maps alone: planes and attention belong to the masks that the method segments with.
        """
        found = read_samples(self.run.folder).get(ScoreKey.parse(self.evaluation).samples, {})
        if found and self.masks is not None:
            labels = found[f"{ALTERNATIVE}{self.masks}"]
            found = {"prediction": labels} | {part: found[part] for part in _SHARED if part in found}
        return {name: values[:N_SAMPLES] for name, values in found.items()}


@dataclass
class Gallery:
    """What a page shows: scenes by set, the output of each run on them, and what is not shown."""

    level: Level
    sets: dict[str, dict[str, Any]] = field(default_factory=dict)
    runs: list[dict[str, Any]] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)
    unread: list[str] = field(default_factory=list)
    size: int = 0


def gallery_of(runs: Sequence[ShownRun], spec: Spec, budget: int = BUDGET) -> Gallery:
    """Collect the images of `runs` in at most about `budget` characters.

    The first seed of each configuration comes first and decides how large the planes of the slots can be. Further
    seeds follow in rounds until one does not fit.
    """
    shown = sorted(_evaluations(runs, spec), key=lambda entry: entry.turn)
    result = Gallery(_level([entry for entry in shown if entry.turn == 0], budget))
    for entry in shown:
        if result.left_out:
            result.left_out.append(entry.name)
            continue
        try:
            _add(result, entry, spec, budget)
        except _UNREADABLE as error:
            result.unread.append(f"{entry.name}: its samples cannot be read ({error})")
    order = {run.id: place for place, run in enumerate(runs)}
    result.runs.sort(key=lambda entry: order[entry["run"]])
    return result


def _is_further_definition(key: str) -> bool:
    return ScoreKey.parse(key).definition != DEFAULT_DEFINITION


def _evaluations(runs: Sequence[ShownRun], spec: Spec) -> Iterator[Evaluation]:
    """Every evaluation with images of its own: one of several definitions of the metrics, if possible the default."""
    turns: dict[tuple[str, str, str], int] = {}
    for run in runs:
        distinct: dict[str, str] = {}
        for key in sorted(run.evaluations, key=_is_further_definition):
            distinct.setdefault(ScoreKey.parse(key).reading, key)
        for images, key in distinct.items():
            turn = turns.setdefault((run.series, run.record.place, images), 0)
            turns[run.series, run.record.place, images] += 1
            yield Evaluation(run, key, turn, spec)


def _level(shown: Sequence[Evaluation], budget: int) -> Level:
    """Find the best level at which all images of `shown` fit, estimated from two images of each."""
    foreseen = [0.0] * len(LEVELS)
    sets = set()
    for entry in shown:
        try:
            samples = entry.samples()
            count = len(samples.get("images", ()))
            name = _set_name(entry, samples) if count else ""
            for i in sorted({0, count // 2}) if count else ():
                sizes = _foreseen(samples, i, with_scene=name not in sets)
                foreseen = [
                    total + _MARGIN * size * count / min(count, 2)
                    for total, size in zip(foreseen, sizes, strict=True)
                ]
            sets.add(name)
        except _UNREADABLE:  # reported when it is added
            continue
        if min(foreseen) > budget:
            break
    fitting = [level for level, size in zip(LEVELS, foreseen, strict=True) if size <= budget]
    return fitting[0] if fitting else LEVELS[-1]


def _foreseen(samples: dict[str, Array], i: int, with_scene: bool) -> list[int]:
    """The size of image `i` at each level."""
    labels, slots = _slots(samples["prediction"][i], samples["masks"][i])
    fixed = len(deflated(labels)) + _length(slots)
    sizes = [fixed + _length(_image(samples, i, level)) for level in LEVELS]
    if with_scene:
        image, truth = channels_last(samples["images"][i]), len(deflated(samples["masks"][i]))
        sizes = [size + truth + len(picture(image, level)) for size, level in zip(sizes, LEVELS, strict=True)]
    return sizes


def _add(result: Gallery, entry: Evaluation, spec: Spec, budget: int) -> None:
    samples = entry.samples()
    if not samples:
        return
    count = len(samples["images"])
    name = _set_name(entry, samples)
    scenes = result.sets[name] if name in result.sets else _scenes(samples, result.level)
    indices = [_slots(samples["prediction"][i], samples["masks"][i]) for i in range(count)]
    shown = {
        "run": entry.run.id,
        "evaluation": entry.evaluation,
        "where": entry.where,
        "dataset": entry.run.record.scored[entry.evaluation].dataset,
        "set": name,
        "n_images": entry.run.record.metrics[entry.evaluation].n_images,
        "prediction": deflated(np.stack([labels for labels, _ in indices])),
        "images": [
            {"slots": slots} | _image(samples, i, result.level) for i, (_, slots) in enumerate(indices)
        ],
        "scores": _scores(entry, samples, spec),
    }
    size = _length(shown) + (0 if name in result.sets else _length(scenes))
    if result.size + size > budget:
        result.left_out.append(entry.name)
        return
    result.size += size
    result.sets.setdefault(name, scenes)
    result.runs.append(shown)


def _set_name(entry: Evaluation, samples: dict[str, Array]) -> str:
    """The identity of a set of scenes: the split, and which of its images."""
    fingerprint = entry.run.record.scored[entry.evaluation].fingerprint
    return " ".join([fingerprint, *(str(key) for key in samples["keys"])])


def _scenes(samples: dict[str, Array], level: Level) -> dict[str, Any]:
    """Images and truth, shared by all runs that were scored on the same split."""
    truth = samples["masks"]
    count, height, width = truth.shape
    return {
        "keys": [str(key) for key in samples["keys"]],
        "height": height,
        "width": width,
        "images": [picture(channels_last(samples["images"][i]), level) for i in range(count)],
        "truth": deflated(truth),
        "colours": {str(label): _hex(colour(int(label))) for label in np.unique(truth)},
    }


def _slots(prediction: Array, truth: Array) -> tuple[Array, list[dict[str, Any]]]:
    """Renumber the labels of a predicted map from 0, and describe each of them."""
    labels, indices = np.unique(prediction, return_inverse=True)
    matched, colours = match_labels(prediction, truth), prediction_colours(prediction, truth)
    slots = []
    for label in (int(label) for label in labels):
        mine = prediction == label
        slot: dict[str, Any] = {
            "label": label,
            "colour": _hex(colours[label]),
            "share": _rounded(mine.mean()),
        }
        if label in matched:
            theirs = truth == matched[label]
            slot |= {"true": matched[label], "iou": _rounded((mine & theirs).sum() / (mine | theirs).sum())}
        slots.append(slot)
    return indices.reshape(prediction.shape), slots


def _image(samples: dict[str, Array], i: int, level: Level) -> dict[str, Any]:
    """The outputs for image `i` besides its prediction: reconstruction, planes, attention, boxes."""
    found: dict[str, Any] = {}
    if "reconstruction" in samples:
        found["reconstruction"] = picture(channels_last(samples["reconstruction"][i]), level)
    if "soft_masks" in samples:
        masks = samples["soft_masks"][i]
        which = shown_planes(masks)
        components = samples["components"][i][which] if "components" in samples else None
        source, height, width = planes(masks[which], components, level)
        found["planes"] = {
            "source": source,
            "height": height,
            "width": width,
            "labels": which,
            "of": len(masks),
            "components": components is not None,
        }
        if "attention" in samples:
            attention = samples["attention"][i]
            if len(attention) == len(masks):
                h, w = attention.shape[1:]
                found["attention"] = {"source": atlas(attention[which], level), "height": h, "width": w}
    if "boxes" in samples:
        found["boxes"] = _boxes(
            {name: samples[name][i] for name in ("boxes", "presence", "prediction", "masks")}
        )
    return found


def _boxes(sample: dict[str, Array]) -> list[dict[str, Any]]:
    """The boxes that are present, the most certain last."""
    colours = box_colours(sample["prediction"], sample["masks"], len(sample["boxes"]))
    return [
        {
            "label": i + 1,
            "place": [_rounded(side) for side in box],
            "presence": _rounded(presence),
            "colour": _hex(colours[i]),
        }
        for i, box, presence in present_boxes(sample["boxes"], sample["presence"])
    ]


def _scores(entry: Evaluation, samples: dict[str, Array], spec: Spec) -> dict[str, Any]:
    """Metric -> values of the saved images as printed, and their ranks among ALL images of the split (1 is best).

    Images of equal value share a rank; "ties" is their number. Both are None if the metric is undefined.
    """
    columns = read_per_image(entry.run.folder, [entry.evaluation]).get(entry.evaluation, {})
    places = {str(key): i for i, key in enumerate(columns.get("keys", ()))}
    kept = [places.get(str(key)) for key in samples["keys"]]
    if None in kept:  # the values are of other images: show none rather than wrong ones
        return {}
    rows = [place for place in kept if place is not None]
    return {
        name: _ranked(spec.metric(name), values, rows) for name, values in columns.items() if name != "keys"
    }


def _ranked(metric: MetricSpec, values: Array, kept: list[int]) -> dict[str, Any]:
    sign = metric.sign
    defined = sign * values[~np.isnan(values)]
    found: dict[str, Any] = {"texts": [], "ranks": [], "ties": [], "of": len(defined)}
    for value in (float(values[place]) for place in kept):
        undefined = math.isnan(value)
        found["texts"].append("undefined" if undefined else metric.format(value))
        found["ranks"].append(None if undefined else int((defined > sign * value).sum()) + 1)
        found["ties"].append(None if undefined else int((defined == sign * value).sum()))
    return found


def _hex(rgb: tuple[int, int, int]) -> str:
    return "#{:02x}{:02x}{:02x}".format(*rgb)


def _rounded(value: float) -> float:
    return round(float(value), 4)


def _length(content: Any) -> int:
    """Number of characters of `content` as JSON, approximately."""
    if isinstance(content, dict):
        return sum(_length(value) + len(str(key)) + 6 for key, value in content.items())
    if isinstance(content, list):
        return sum(_length(value) + 1 for value in content)
    return len(content) if isinstance(content, str) else 8
