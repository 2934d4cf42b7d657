"""The bench `prepare`: whole preparations next to PNG encoding alone, and TFRecord parsing next to protobuf."""

from __future__ import annotations

import gzip
import struct
import tempfile
from argparse import ArgumentParser, Namespace
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from pathlib import Path

import numpy as np
from arguments import positive

from benches.generic_protobuf import parse_generically
from benches.png_alone import encode_pngs
from benches.report import Check, Report, Row, Section, Speedup
from benches.timing import Candidate, Timing, interleave, say
from objbench.data.prepare.prepare import prepare
from objbench.data.sources.layouts import record_features
from objbench.data.sources.tfrecord import Reader, crc32c_function, parse_example
from objbench.data.workers import available, run
from objbench.spec.load import load_spec

FIXTURES = Path(__file__).parents[2] / "tests" / "fixtures"
FILES = {
    "tetrominoes": FIXTURES / "tetrominoes_deepmind" / "tetrominoes_mini.tfrecords",
    "clevr10": FIXTURES / "clevr" / "clevr_with_masks_four.tfrecords",
}
MIB = 2**20
PNG_SHARE_AIM, PARSE_AIM = 0.8, 10.0


@dataclass(frozen=True)
class Work:
    """A file of a released dataset that repeats the few records of a fixture."""

    dataset: str
    path: Path
    scenes: int
    raw_bytes: int


def add_options(parser: ArgumentParser) -> None:
    """Add the options of this bench."""
    parser.add_argument(
        "--workers", type=positive, nargs="+", default=sorted({1, available()}), metavar="N",
        help="encoding processes, several numbers to compare them (default 1 and all cores)",
    )  # fmt: skip
    parser.add_argument(
        "--scenes",
        type=positive,
        metavar="N",
        help="CLEVR records; fifty times as many Tetrominoes (default 800)",
    )


def measure(options: Namespace) -> Report:
    """All sections."""
    clevr = options.scenes or (8 if options.quick else 800)
    repeats = options.repeats or (2 if options.quick else 5)
    with tempfile.TemporaryDirectory(prefix="objbench-bench-") as temporary:
        folder = Path(temporary)
        works = [_work(folder, "tetrominoes", 50 * clevr), _work(folder, "clevr10", clevr)]
        sections = [preparing(work, folder, sorted(set(options.workers)), repeats) for work in works]
        sections += [parsing(work, repeats, options.quick) for work in works]
    return Report(
        {
            "scenes": {work.dataset: work.scenes for work in works},
            "repeats": repeats,
            "workers": sorted(set(options.workers)),
            **{package: version(package) for package in ("numpy", "pillow", "protobuf")},
        },
        sections,
    )


def preparing(work: Work, folder: Path, workers: list[int], repeats: int) -> Section:
    """A preparation from the compressed file to shards, and the encoding of its PNGs alone, on the same cores."""
    made = folder / f"{work.dataset}-pixels.npz"
    _prepare(work, folder / "pixels", 1)
    _save_pixels(work, folder / "pixels", made)
    whole = [
        Candidate(f"objbench prepare, {_workers(n)}", partial(_prepare, work, folder / f"data-{n}", n))
        for n in workers
    ]
    alone = [
        Candidate(f"PNG encoding alone, {_workers(n)}", partial(_encode, made, work, n)) for n in workers
    ]
    reading = Candidate("unpacking and checking the one gzip stream alone, 1 process", partial(_read, work))
    candidates = [*whole, *alone, reading]
    say(
        f"preparing {work.scenes:,} scenes of {work.dataset}: {len(candidates)} candidates, {repeats} repeats each"
    )
    timings = interleave(candidates, repeats, 0.0)
    rows = []
    for ours, limit in zip(whole, alone, strict=True):
        rows += [_rate(ours, timings, work, limit), _rate(limit, timings, work, None)]
    rows.append(_rate(reading, timings, work, None))
    mib = work.raw_bytes / work.scenes / MIB
    return Section(
        f"Preparing {work.scenes:,} scenes of {work.dataset} ({mib:.3g} MiB each unpacked); share of the PNG limit",
        "scenes/s",
        rows,
        note=f"MB/s of unpacked records: scenes/s times {work.raw_bytes / work.scenes / 1e6:.3g}.",
    )


def parsing(work: Work, repeats: int, quick: bool) -> Section:
    """Parsing the features of a record into arrays."""
    with Reader(FILES[work.dataset]) as reader:
        payload = next(iter(reader)).payload
    source = load_spec().datasets[work.dataset].sources["deepmind"]
    features = record_features(str(source.options["layout"]), source.entities[0])
    ours = Candidate("objbench", partial(parse_example, payload, features))
    theirs = Candidate("protobuf, and a join of its strings", partial(parse_generically, payload, features))
    timings = interleave([ours, theirs], repeats, 0.02 if quick else 0.2)
    ratios = [slow / fast for fast, slow in zip(timings[ours].seconds, timings[theirs].seconds, strict=True)]
    mine, reference = ours.run(), theirs.run()
    assert isinstance(mine, dict)
    assert isinstance(reference, dict)
    unequal = sum(not np.array_equal(mine[name], reference[name]) for name in features)
    rows = [
        Row(candidate.name, [1e6 * s for s in timings[candidate].seconds], 1, timings[candidate],
            Speedup(theirs.name, ratios, PARSE_AIM) if candidate is ours else None)
        for candidate in (ours, theirs)
    ]  # fmt: skip
    return Section(
        f"Parsing a record of {work.dataset} ({len(payload):,} bytes)",
        "µs/record",
        rows,
        [Check("features that differ", float(unequal), 0)],
    )


def _work(folder: Path, dataset: str, scenes: int) -> Work:
    with Reader(FILES[dataset]) as reader:
        payloads = [frame.payload for frame in reader]
    checksum = _masked(crc32c_function())
    frames = []
    for payload in payloads:
        length = struct.pack("<Q", len(payload))
        frames.append(b"".join((length, checksum(length), payload, checksum(payload))))
    path = folder / f"{dataset}.tfrecords"
    with gzip.open(path, "wb", compresslevel=1) as file:
        for i in range(scenes):
            file.write(frames[i % len(frames)])
    return Work(dataset, path, scenes, sum(len(payloads[i % len(payloads)]) for i in range(scenes)))


def _masked(crc32c: Callable[[bytes], int]) -> Callable[[bytes], bytes]:
    def checksum(data: bytes) -> bytes:
        crc = crc32c(data)
        return struct.pack("<I", ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF)

    return checksum


def _prepare(work: Work, data: Path, workers: int) -> None:
    sizes = {"train": work.scenes, "val": 0, "test": 0}
    reference = load_spec().dataset(work.dataset)
    prepare(reference, "deepmind", data, work.path, sizes, workers=workers, force=True)


def _read(work: Work) -> None:
    with Reader(work.path) as reader:
        for _ in reader:
            pass


def _save_pixels(work: Work, data: Path, made: Path) -> None:
    """Save images and label maps of a few scenes, as they are encoded."""
    import objbench

    scenes = objbench.load(work.dataset, "train", "deepmind", data)
    with Reader(FILES[work.dataset]) as reader:
        few = sum(1 for _ in reader)
    images = scenes.images[:few].permute(0, 2, 3, 1).contiguous().numpy()
    np.savez(made, images=images, masks=scenes.masks[:few].numpy())


def _encode(made: Path, work: Work, workers: int) -> None:
    jobs = [(str(made), start, min(start + 50, work.scenes)) for start in range(0, work.scenes, 50)]
    for _ in run(f"{encode_pngs.__module__}:{encode_pngs.__name__}", jobs, workers):
        pass


def _rate(candidate: Candidate, timings: dict[Candidate, Timing], work: Work, limit: Candidate | None) -> Row:
    timing = timings[candidate]
    shares = None
    if limit is not None:
        pairs = zip(timings[limit].seconds, timing.seconds, strict=True)
        shares = Speedup(limit.name, [theirs / ours for theirs, ours in pairs], PNG_SHARE_AIM)
    return Row(candidate.name, [work.scenes / s for s in timing.seconds], None, timing, shares)


def _workers(n: int) -> str:
    return f"{n} worker" if n == 1 else f"{n} workers"
