"""The saved samples of a run as rows of pictures, laid out for each figure."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from objbench.data.scene import Array
from objbench.errors import ObjbenchError
from objbench.report.rows.row import Measured
from objbench.scores import ScoreKey
from objbench.train.artifacts import (
    PER_IMAGE,
    SAMPLES,
    read_per_image,
    read_samples,
    sample_names,
)
from objbench.viz import (
    MAX_PLANES,
    RGB,
    channels_last,
    gray,
    label_picture,
    on_checkerboard,
    prediction_colours,
    prediction_picture,
    shown_planes,
)

METRICS = ("ari_fg", "miou")  # what the figures of the paper print and draw
Sample = Mapping[str, Array]


@dataclass(frozen=True)
class Tile:
    """A picture uint8 (H,W,3), the heading above it, and the colour of its segment as a frame."""

    picture: Array
    heading: str
    frame: RGB | None = None


@dataclass(frozen=True)
class Strip:
    """A row of tiles, None for an empty place, with a caption below."""

    tiles: list[Tile | None]
    caption: str = ""


@dataclass(frozen=True)
class Section:
    """The strips of one run, under a heading.

    Attributes:
        repeat: Whether every strip shows the headings of its tiles, not only the first.
    """

    heading: str
    strips: list[Strip] = field(default_factory=list)
    repeat: bool = False


Layout = Callable[[Sample, str], list[Strip]]


def section(row: Measured, seed: int, count: int, layout: Layout, repeat: bool = False) -> Section:
    """Lay out the first `count` saved images of a seed; the heading names it and its scores on the split."""
    samples, captions = _samples(row, seed)
    strips: list[Strip] = []
    for i in range(min(count, len(captions))):
        strips += layout({name: values[i] for name, values in samples.items()}, captions[i])
    heading = f"{row.title}, seed {seed}: {_means(row, seed)}"
    planes = samples["soft_masks"].shape[1] if "soft_masks" in samples else 0
    if planes > MAX_PLANES:
        heading += f"; at most {MAX_PLANES} of {planes} slots, the largest"
    return Section(heading, strips, repeat)


def segmentations(sample: Sample, caption: str) -> list[Strip]:
    """Lay out image, truth, prediction, and the reconstruction of each slot, seen through its mask."""
    tiles: list[Tile | None] = _scene(sample)
    if "soft_masks" in sample:
        masks, frames = sample["soft_masks"], _frames(sample)
        for word, i in _planes(sample, "slot" if "components" in sample else "mask"):
            seen = (
                on_checkerboard(channels_last(sample["components"][i]), masks[i])
                if "components" in sample
                else gray(masks[i])
            )
            tiles.append(Tile(seen, word, frames.get(i)))
    return [Strip(tiles, caption)]


def attention(sample: Sample, caption: str) -> list[Strip]:
    """Lay out two rows: image, truth, attention of each slot; reconstruction, prediction, each slot without its mask."""
    image, truth, prediction = _scene(sample)
    frames = _frames(sample)
    above: list[Tile | None] = [image, truth]
    for word, i in _planes(sample, "attn."):
        above.append(Tile(gray(sample["attention"][i]), word, frames.get(i)))
    below: list[Tile | None] = [prediction]
    painted = sample.get("reconstruction")
    below.insert(0, None if painted is None else Tile(channels_last(painted), "recon."))
    if "components" in sample:
        for word, i in _planes(sample, "slot"):
            below.append(Tile(channels_last(sample["components"][i]), word, frames.get(i)))
    return [Strip(above), Strip(below, caption)]


def has_samples(row: Measured, seed: int) -> bool:
    """Whether images of a seed were kept."""
    origin = row.origins[seed]
    try:
        return ScoreKey.parse(origin.key).reading in sample_names(origin.folder)
    except ObjbenchError:  # damaged: said by what reads them, where they are to be drawn
        return False


def has_attention(row: Measured, seed: int) -> bool:
    """Whether the samples of a seed have attention masks and the planes they belong to."""
    origin = row.origins[seed]
    return {"attention", "soft_masks"} <= sample_names(origin.folder).get(
        ScoreKey.parse(origin.key).reading, set()
    )


def _scene(sample: Sample) -> list[Tile | None]:
    truth, prediction = sample["masks"], sample["prediction"]
    return [
        Tile(channels_last(sample["images"]), "image"),
        Tile(label_picture(truth), "truth"),
        Tile(prediction_picture(prediction, truth), "prediction"),
    ]


def _planes(sample: Sample, word: str) -> list[tuple[str, int]]:
    """(heading, index) of each plane that is shown."""
    return [(f"{word} {plane + 1}", plane) for plane in shown_planes(sample["soft_masks"])]


def _frames(sample: Sample) -> dict[int, RGB]:
    """Plane -> colour, for the planes that have pixels in the prediction."""
    return prediction_colours(sample["prediction"], sample["masks"])


def _samples(row: Measured, seed: int) -> tuple[dict[str, Array], list[str]]:
    """Read the saved images of a seed, and the caption with the scores of each."""
    folder, key = row.origins[seed].folder, row.origins[seed].key
    reading = ScoreKey.parse(key).reading
    samples = read_samples(folder, [reading]).get(reading)
    columns = read_per_image(folder, [key]).get(key)
    if samples is None or columns is None:
        file = folder / (SAMPLES if samples is None else PER_IMAGE)
        raise ObjbenchError(
            f"{file}: nothing kept of {row.scored.place}, which the figure is made of; {_again(row, seed)}"
        )
    rows = {name: i for i, name in enumerate(columns["keys"].tolist())}
    names = samples["keys"].tolist()
    if strange := [name for name in names if name not in rows]:
        raise ObjbenchError(
            f"{folder}: {SAMPLES} and {PER_IMAGE} are of different images ({strange[0]} is in the first alone); "
            f"{_again(row, seed)}"
        )
    captions = [
        _scores(row, {metric: float(columns[metric][rows[name]]) for metric in METRICS if metric in columns})
        for name in names
    ]
    return samples, captions


def _scores(row: Measured, values: Mapping[str, float]) -> str:
    parts = []
    for name, value in values.items():
        metric = row.values[name].metric
        parts.append(f"{metric.title} {'–' if math.isnan(value) else metric.format(value).replace('-', '−')}")
    return "  ".join(parts)


def _means(row: Measured, seed: int) -> str:
    """The means of a seed, and over how many images each is taken."""
    scores = {name: _scores(row, {name: row.values[name].seeds.get(seed, math.nan)}) for name in METRICS}
    images = {name: row.values[name].images.get(seed) for name in METRICS}
    if not any(found and found.note for found in images.values()):
        return f"{'  '.join(scores.values())} over the whole split"
    return "  ".join(
        f"{text} ({found.note or 'over the whole split'})" if (found := images[name]) else text
        for name, text in scores.items()
    )


def _again(row: Measured, seed: int) -> str:
    """The command that saves what is missing."""
    what = str(row.origins[seed].folder)
    if row.kind == "external":
        what = f"PREDICTIONS --name {row.who.method} --seed {seed} --fresh"
    return f"objbench evaluate {what} --dataset {row.dataset}@{row.protocol} --source {row.scored.source} keeps it"
