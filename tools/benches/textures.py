"""The bench `textures`: generated ClevrTex scenes next to rendered ones, and the scores of trivial methods on both."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from arguments import positive

import objbench
from benches.likeness import LIGHT, SEED, distances, means
from benches.picture_statistics import Statistics, statistics
from benches.report import Check, Report, Row, Section
from benches.timing import say
from objbench.data.generate.generator import generator_of
from objbench.data.prepare.prepare import prepare
from objbench.data.read.scenes import Scenes
from objbench.errors import RequestError
from objbench.metrics import score
from objbench.spec.load import load_spec

RENDERED = Path(__file__).parents[2] / "tests" / "fixtures" / "clevrtex"
PICTURES = "CLEVRTEX_full_??????.png"
METHODS, METRICS = ("one_slot", "color_kmeans"), ("ari", "ari_fg", "miou")
AT_ONCE = 20  # scenes segmented
EASIER = 2.0  # standard errors that k-means may score better on generated scenes


def add_options(parser: ArgumentParser) -> None:
    """Add the options of this bench."""
    parser.add_argument(
        "--rendered", type=Path, default=RENDERED, metavar="PATH",
        help="folder of rendered scenes in the layout of clevrtex_full (default the four of the tests)",
    )  # fmt: skip
    parser.add_argument(
        "--scenes", type=positive, metavar="N", help="scenes to generate (default 120, quick 4)"
    )


def measure(options: Namespace) -> Report:
    """All sections."""
    rendered = read(options.rendered)
    count = options.scenes or (4 if options.quick else 120)
    repeats = options.repeats or (3 if options.quick else 101)
    say(f"generating {count} scenes")
    scenes = {
        "rendered": rendered,
        "generated": objbench.generate("clevrtex", count, SEED, "test", device="cpu"),
    }
    sets = {label: _statistics(each) for label, each in scenes.items()}
    return Report(
        {
            "rendered_scenes": len(rendered),
            "generated_scenes": count,
            "generator_version": generator_of(load_spec().dataset("clevrtex")).version,
            "seed": SEED,
            "repeats": repeats,
        },
        [
            means("Colour and edges", "grey levels", LIGHT, sets, repeats),
            means(
                "Pixels of objects at 128x128",
                "pixels",
                ["pixels of all objects", "pixels of an object"],
                sets,
                repeats,
            ),
            means("Objects with a pixel at 128x128", "objects", ["objects in a scene"], sets, repeats),
            distances(sets, repeats),
            difficulty(scenes),
        ],
    )


def read(folder: Path) -> Scenes:
    """Read the rendered scenes of a folder, cropped and reduced like prepared ones."""
    count = len(list(folder.rglob(PICTURES)))
    if not count:
        raise RequestError(f"--rendered {folder}: no {PICTURES.replace('??????', '*')} in it")
    with TemporaryDirectory() as data:
        sizes = {"train": 0, "val": 0, "test": count}
        prepare(load_spec().dataset("clevrtex"), "official", Path(data), raw=folder, sizes=sizes, workers=1)
        scenes: Scenes = objbench.load("clevrtex", "test", "official", data=data)
        return scenes


def difficulty(scenes: dict[str, Scenes]) -> Section:
    """The scores of trivial methods in percent; they must not be better on generated scenes."""
    say("scoring one_slot and color_kmeans")
    rows, checks = [], []
    for method in METHODS:
        found = {label: _scores(method, each) for label, each in scenes.items()}
        for metric in METRICS:
            values = {label: 100 * each[metric] for label, each in found.items()}
            for label, each in values.items():
                rows.append(Row(f"{method} {metric}: {label}", [float(each.mean())]))
                rows.append(Row(f"{method} {metric}: {label}, standard error", [_error(each)]))
            apart = float(values["generated"].mean() - values["rendered"].mean())
            errors = sum(_error(each) ** 2 for each in values.values()) ** 0.5
            if method == "color_kmeans":
                name = f"{method} {metric}: generated above rendered, in standard errors"
                checks.append(Check(name, apart / errors, EASIER))
    return Section("Methods that learn nothing, mean over the scenes", "percent", rows, checks)


def _scores(method: str, scenes: Scenes) -> dict[str, torch.Tensor]:
    """The metrics (N,) of each scene."""
    model = objbench.create(method, "clevrtex").eval()
    parts = []
    batches = (torch.split(planes, AT_ONCE) for planes in (scenes.images, scenes.masks))
    for images, masks in zip(*batches, strict=True):
        with torch.no_grad():
            found = model.segment(images.float() / 255)
        parts.append(score(found.prediction, masks))
    return {metric: torch.cat([part[metric] for part in parts]).double() for metric in METRICS}


def _statistics(scenes: Scenes) -> Statistics:
    return statistics(scenes.images.permute(0, 2, 3, 1).numpy(), scenes.masks.numpy())


def _error(values: torch.Tensor) -> float:
    """The standard error of a mean."""
    return float(values.std() / len(values) ** 0.5)
