"""The bench `metrics`: scoring label maps with objbench and with other code, and the arg-max of float masks."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from typing import Any

import numpy as np
import torch
from arguments import positive
from torch import Tensor

from benches import metrics_rivals
from benches.metrics_memory import growth_while_scoring
from benches.options import add_device, add_threads
from benches.process import host_synchronisations, in_fresh_process, memory_is_measurable
from benches.report import Check, Report, Row, Section, Speedup
from benches.scenes import label_maps
from benches.timing import Candidate, Timing, interleave, say
from objbench.device import choose_device
from objbench.labels import hard_labels
from objbench.metrics import score

SIZE, SLOTS, BATCH = 128, 11, 64
SIZES = (("tetrominoes", 35, 4), ("multi_dsprites", 64, 6), ("clevr6", 128, 7), ("clevrtex", 128, 11))
SCORE_AIM, ARG_MAX_AIM = 40.0, 5.0
TOLERANCE = 1e-9


@dataclass(frozen=True)
class Setting:
    """What is measured, and on which device."""

    images: int
    images_for_memory: int
    repeats: int
    least_seconds: float
    threads: list[int]
    device: torch.device

    def interleave(self, what: str, candidates: Sequence[Candidate]) -> dict[Candidate, Timing]:
        """Time the candidates in turns."""
        say(f"{what}: {len(candidates)} candidates, {self.repeats} repeats each")
        return interleave(candidates, self.repeats, self.least_seconds, self.device)


def add_options(parser: ArgumentParser) -> None:
    """Add the options of this bench."""
    parser.add_argument(
        "--images", type=positive, metavar="N", help="label maps to score (default 256, quick 32)"
    )
    add_device(parser)
    add_threads(parser)


def measure(options: Namespace) -> Report:
    """All sections."""
    device = choose_device(options.device)
    setting = Setting(
        images=options.images or (32 if options.quick else 256),
        images_for_memory=500 if options.quick else 10_000,
        repeats=options.repeats or (3 if options.quick else 9),
        least_seconds=0.02 if options.quick else 0.1,
        threads=sorted(set(options.threads)),
        device=device,
    )
    sections = [scoring(setting), arg_max(setting), datasets(setting)]
    if memory_is_measurable():
        sections.append(memory(setting))
    if device.type == "cuda":
        sections.append(synchronisations(setting))
    return Report(_parameters(setting), sections)


def scoring(setting: Setting) -> Section:
    """All metrics of label maps, next to what people use instead."""
    cpu_pred, cpu_true = label_maps(setting.images, SIZE, SLOTS)
    arrays = cpu_pred.numpy(), cpu_true.numpy()
    pred, true = cpu_pred.to(setting.device), cpu_true.to(setting.device)
    loop = Candidate("scikit-learn + scipy loop", lambda: metrics_rivals.scikit_learn_loop(*arrays))
    rivals = {"objbench": score, "naive torch (ARI, ARI-FG, mIoU)": metrics_rivals.naive_torch}
    batched = {
        Candidate(f"{name}, batch {batch}", partial(_in_batches, function, pred, true, batch), threads): batch
        for name, function in rivals.items()
        for batch in sorted({1, min(BATCH, setting.images), setting.images})
        for threads in setting.threads
    }
    by_image = partial(metrics_rivals.torchmetrics_loop, pred, true)
    single = [Candidate("torchmetrics loop (ARI only)", by_image, threads) for threads in setting.threads]
    timings = setting.interleave("scoring label maps", [*batched, *single, loop])
    rows = []
    for candidate in timings:
        aimed = candidate.name.startswith("objbench") and batched[candidate] >= BATCH
        rows.append(_per_image(candidate, timings, setting.images, loop, SCORE_AIM if aimed else None))
    ours, theirs = score(pred, true), metrics_rivals.scikit_learn_loop(*arrays)
    largest = max_difference(ours, theirs)
    beyond = [name for name in ours if name not in theirs]
    return Section(
        f"All metrics from {setting.images} label maps {SIZE}x{SIZE}, K={SLOTS}; speed-up against the scikit-learn loop",
        "ms/image",
        rows,
        [Check("largest difference between objbench and the scikit-learn loop", largest, TOLERANCE)],
        f"Compared: {', '.join(theirs)}. Beyond these objbench computes: {', '.join(beyond) or 'nothing'}.",
    )


def max_difference(ours: dict[str, Tensor], theirs: dict[str, Any]) -> float:
    """The largest absolute difference in any metric of `theirs`; NaN if either side has a NaN."""
    return float(np.max([np.abs(ours[name].cpu().numpy() - theirs[name]) for name in theirs]))


def arg_max(setting: Setting) -> Section:
    """Float masks to label maps."""
    generator = torch.Generator().manual_seed(0)
    batch = min(BATCH, setting.images)
    masks = torch.rand(batch, SLOTS, SIZE, SIZE, generator=generator).to(setting.device)
    pairs = [
        (
            Candidate("objbench.labels.hard_labels", partial(hard_labels, masks), threads),
            Candidate("torch.argmax over planes", partial(torch.argmax, masks, 1), threads),
        )
        for threads in setting.threads
    ]
    timings = setting.interleave("arg-max of masks", [candidate for pair in pairs for candidate in pair])
    rows = []
    for ours, theirs in pairs:
        rows.append(_per_image(ours, timings, batch, theirs, ARG_MAX_AIM))
        rows.append(_per_image(theirs, timings, batch, theirs, None))
    chosen = masks.gather(1, hard_labels(masks)[:, None].long())[:, 0]
    return Section(
        f"Arg-max of float masks ({batch},{SLOTS},{SIZE},{SIZE}); speed-up against torch.argmax, same threads",
        "ms/image",
        rows,
        [Check("pixels whose plane is not the largest", float((chosen != masks.amax(1)).sum()), 0)],
    )


def datasets(setting: Setting) -> Section:
    """Label maps of the sizes of all datasets."""
    candidates = [
        Candidate(
            f"{name} {size}x{size}, K={slots}",
            partial(_in_batches, score, pred.to(setting.device), true.to(setting.device), BATCH),
            threads,
        )
        for name, size, slots in SIZES
        for pred, true in [label_maps(setting.images, size, slots)]
        for threads in setting.threads
    ]
    timings = setting.interleave("sizes of the datasets", candidates)
    rows = [
        Row(candidate.name, [setting.images / s for s in timing.seconds], candidate.threads, timing)
        for candidate, timing in timings.items()
    ]
    return Section(f"All metrics from label maps, batch {min(BATCH, setting.images)}", "images/s", rows)


def memory(setting: Setting) -> Section:
    """The memory of one call for many images, relative to that of the images and their predictions."""
    count = setting.images_for_memory
    say(f"memory for {count:,} images")
    rows = [
        Row(
            "objbench", [in_fresh_process(growth_while_scoring, count, SIZE, SLOTS, threads) / 2**20], threads
        )
        for threads in setting.threads
    ]
    return Section(
        f"Growth of resident memory while scoring {count:,} label maps at once on the CPU", "MiB", rows
    )


def synchronisations(setting: Setting) -> Section:
    """How often the host waits for the device while a batch is scored."""
    pred, true = (labels.to(setting.device) for labels in label_maps(BATCH, SIZE, SLOTS))
    masks = torch.rand(BATCH, SLOTS, SIZE, SIZE, device=setting.device)
    rows = [
        Row("objbench, label maps", [host_synchronisations(lambda: score(pred, true))]),
        Row("objbench, float masks", [host_synchronisations(lambda: score(masks, true))]),
    ]
    return Section(f"Host synchronisations of scoring a batch of {BATCH}", "per batch", rows)


def _in_batches(
    function: Callable[[Tensor, Tensor], dict[str, Tensor]], pred: Tensor, true: Tensor, batch: int
) -> list[dict[str, Tensor]]:
    return [function(*pair) for pair in zip(torch.split(pred, batch), torch.split(true, batch), strict=True)]


def _per_image(
    candidate: Candidate, timings: dict[Candidate, Timing], images: int, base: Candidate, aim: float | None
) -> Row:
    timing = timings[candidate]
    ratios = [theirs / ours for ours, theirs in zip(timing.seconds, timings[base].seconds, strict=True)]
    return Row(
        candidate.name,
        [1000 * seconds / images for seconds in timing.seconds],
        candidate.threads,
        timing,
        None if candidate is base else Speedup(base.name, ratios, aim),
    )


def _parameters(setting: Setting) -> dict[str, Any]:
    return {
        "device": str(setting.device),
        "images": setting.images,
        "images_for_memory": setting.images_for_memory,
        "repeats": setting.repeats,
        "least_seconds": setting.least_seconds,
        **{package: version(package) for package in ("numpy", "scipy", "scikit-learn", "torchmetrics")},
    }
