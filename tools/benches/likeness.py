"""The bench `likeness`: generated CLEVR scenes next to rendered ones, and rendered ones traced from their parameters."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from pathlib import Path

import numpy as np
import torch
from arguments import positive

from benches.clevr_records import CODES, Rendered, read
from benches.picture_statistics import CHANNELS, Statistics, distance, statistics
from benches.report import Check, Report, Row, Section
from benches.timing import say
from objbench.data.generate.clevr import sampling
from objbench.data.generate.clevr.generator import CROP, SIDE, render
from objbench.data.generate.generator import generator_of
from objbench.data.generate.tensors import SceneTensors
from objbench.data.generate.tracer import tonemap
from objbench.data.scene import Array
from objbench.errors import ObjbenchError
from objbench.spec.load import load_spec

FIXTURES = Path(__file__).parents[2] / "tests" / "fixtures"
RECORDS = FIXTURES / "clevr" / "clevr_with_masks_four.tfrecords"
LIT = FIXTURES / "clevr_geometry" / "scenes.npz"
SEED = 0
AT_ONCE = 32  # scenes traced
MOST_APART = 0.05  # of a mask, 1 - IoU in the frame of 320x240
LIGHT = [*CHANNELS, "edges", "edges of masks", "edges inside objects", "edges on the ground"]


def add_options(parser: ArgumentParser) -> None:
    """Add the options of this bench."""
    parser.add_argument(
        "--rendered", type=Path, default=RECORDS, metavar="PATH",
        help="TFRecord file of rendered scenes, in the format of clevr_with_masks (default the four of the tests)",
    )  # fmt: skip
    parser.add_argument(
        "--codes", choices=list(CODES), default="properties",
        help="its codes of shapes and colours: those of the released file, or the order of upstream's "
        "properties.json (default)",
    )  # fmt: skip
    parser.add_argument(
        "--scenes", type=positive, metavar="N", help="scenes to generate (default 200, quick 8)"
    )


def measure(options: Namespace) -> Report:
    """All sections."""
    rendered = read(options.rendered, options.codes)
    if len(rendered.images) < 2:
        raise ObjbenchError(
            f"{options.rendered} holds 1 scene; at least 2 are needed, whose halves are held against each other"
        )
    count = options.scenes or (8 if options.quick else 200)
    repeats = options.repeats or (3 if options.quick else 101)
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        say(f"tracing {len(rendered.images)} rendered scenes again")
        images, frames = trace(rendered)
        say(f"generating {count} scenes")
        generator = generator_of(load_spec().dataset("clevr10"))
        new = SceneTensors.concatenate(list(generator.scenes("train", 0, count, SEED))).arrays()
        with np.load(LIT) as file:
            fields = dict(file)
        lit = Rendered(fields["image"], fields["mask"], fields, fields["camera"], fields["lamps"])
        sections = [
            same_scenes(
                "The rendered scenes and the same traced, every lamp in its middle place",
                rendered,
                images,
                frames,
            ),
            same_scenes(
                f"{len(lit.images)} scenes whose lamps are known and the same traced", lit, *trace(lit)
            ),
        ]
    finally:
        torch.set_num_threads(threads)
    sets = {
        "rendered": statistics(rendered.images, small(rendered.masks)),
        "traced": statistics(images, small(frames)),
        "generated": statistics(new.images, new.masks),
    }
    return Report(
        {
            "rendered": options.rendered.name,
            "rendered_scenes": len(rendered.images),
            "generated_scenes": count,
            "generator_version": generator.version,
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
            *sections,
        ],
    )


def trace(rendered: Rendered) -> tuple[Array, Array]:
    """The same scenes traced by the generator: images uint8 (N,128,128,3), label maps of the frame uint8 (N,240,320)."""
    world = rendered.world()
    images = []
    for part in torch.split(torch.arange(len(rendered.images)), AT_ONCE):
        some = sampling.World(
            world.objects.only(part), world.camera.only(part), world.lamps[:, part], world.masks[part]
        )
        images.append(render(some)[0].numpy())
    return np.concatenate(images), world.masks.numpy()


def small(frames: Array) -> Array:
    """Label maps of the whole frame, cropped and reduced like the images: uint8 (N,128,128)."""
    inside = frames[:, CROP.top : CROP.top + CROP.height, CROP.left : CROP.left + CROP.width]
    return tonemap.pick(torch.from_numpy(inside), SIDE).numpy()


def means(title: str, unit: str, names: list[str], sets: dict[str, Statistics], repeats: int) -> Section:
    """Means over the scenes of each set, and the differences between random halves of the rendered scenes."""
    halves = [
        (sets["rendered"].only(first), sets["rendered"].only(second))
        for first, second in random_halves(_scenes(sets["rendered"]), repeats)
    ]
    rows = []
    for name in names:
        rows += [Row(f"{name}: {label}", [each.mean(name)]) for label, each in sets.items()]
        apart = [abs(first.mean(name) - second.mean(name)) for first, second in halves]
        rows.append(Row(f"{name}: random halves of the rendered differ by", apart))
    counts = ", ".join(f"{_scenes(each)} {label}" for label, each in sets.items())
    return Section(f"{title}; means over {counts} scenes", unit, rows)


def distances(sets: dict[str, Statistics], repeats: int) -> Section:
    """Distances of half of the rendered scenes to the other half, that half traced, and as many generated scenes."""
    rng = np.random.default_rng(SEED)
    rendered, generated = sets["rendered"], sets["generated"]
    size = min(_scenes(rendered) // 2, _scenes(generated))
    found: dict[str, list[float]] = {}
    for first, second in random_halves(_scenes(rendered), repeats):
        traced = {"the other half, traced": sets["traced"].only(second[:size])} if "traced" in sets else {}
        others = {
            "the other half": rendered.only(second[:size]),
            **traced,
            "as many generated": generated.only(rng.permutation(_scenes(generated))[:size]),
        }
        for name, counts in rendered.only(first[:size]).histograms.items():
            for label, other in others.items():
                samples = found.setdefault(f"{name}: {label}", [])
                samples.append(distance(counts, other.histograms[name]))
    return Section(
        f"Distance of histograms (total variation, 0 to 1) of {size} rendered scenes from {size} others",
        "distance",
        [Row(name, samples) for name, samples in found.items()],
    )


def same_scenes(title: str, rendered: Rendered, images: Array, frames: Array) -> Section:
    """Differences between rendered scenes and the same scenes traced, in images and masks."""
    off = abs(images.astype(np.int16) - rendered.images).mean(-1)
    ground = small(rendered.masks) == 0
    rows = [Row("all pixels, mean difference of each scene", off.mean((1, 2)).tolist())]
    for name, at in (("ground", ground), ("objects", ~ground)):
        rows.append(
            Row(f"{name}, mean difference of each scene", ((off * at).sum((1, 2)) / at.sum((1, 2))).tolist())
        )
    overlaps = [
        np.sum((ours == label) & (theirs == label)) / np.sum((ours == label) | (theirs == label))
        for ours, theirs in zip(frames, rendered.masks, strict=True)
        for label in np.unique(theirs)
    ]
    return Section(
        title,
        "grey levels",
        rows,
        [Check("1 - IoU of the worst mask, in the frame of 320x240", 1 - float(min(overlaps)), MOST_APART)],
        f"Median and quartiles over scenes. IoU of masks: {np.mean(overlaps):.3f} on average, of {len(overlaps)}.",
    )


def random_halves(scenes: int, repeats: int) -> list[tuple[Array, Array]]:
    """Pairs of disjoint random halves of range(scenes); if the number is odd, one is left out."""
    rng = np.random.default_rng(SEED)
    orders = [rng.permutation(scenes) for _ in range(repeats)]
    return [(order[: scenes // 2], order[scenes // 2 : scenes // 2 * 2]) for order in orders]


def _scenes(of: Statistics) -> int:
    return len(of.histograms["red"])
