"""Generated scenes in memory: some of one split, or all splits as `prepare` would make them, without its shards."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import NamedTuple

import torch

from objbench import progress
from objbench.data.format.manifest import Records
from objbench.data.format.sample import digest, image_digest, key_of, repeated_images, samples
from objbench.data.generate.generator import GeneratedBlock, Generator, generator_of, options_of
from objbench.data.generate.tensors import SceneTensors
from objbench.data.prepare.describe import describe_split
from objbench.data.prepare.prepare import PrepareRequest, refuse_selection
from objbench.data.read.scenes import Scenes
from objbench.data.scene import SceneBatch
from objbench.data.sources.base import SplitPlan
from objbench.data.workers import available, run
from objbench.device import choose_device, free_memory
from objbench.errors import RequestError, unknown_name, whole_number
from objbench.files import megabytes
from objbench.spec.datasets import GENERATED, SPLITS, DatasetRef
from objbench.spec.load import load_spec


class Contents(NamedTuple):
    """What the manifest needs to know of some scenes.

    Attributes:
        digests: Of the scenes, in order.
        images: Of their images alone; None where they are made on a GPU.
        object_counts: Number of objects -> number of scenes.
    """

    digests: list[bytes]
    images: list[bytes] | None
    object_counts: Counter[int]


class Made(NamedTuple):
    """The scenes of a block, and what the manifest needs to know of them."""

    batch: SceneBatch
    contents: Contents


def generate(
    dataset: str,
    n: int,
    seed: int = 0,
    split: str = "train",
    device: torch.device | str | None = None,
    config: Path | None = None,
) -> Scenes:
    """Generate the first `n` scenes of a split in the memory of `device`. Nothing is written.

    They equal those of `objbench prepare --source generated` with the same seed; images made on a GPU may differ by
    one grey level.

    Args:
        dataset: DATASET[@PROTOCOL].
        split: train, val or test; each is a random stream of its own.
        config: Your own yaml, laid over benchmarks.yaml.

    Raises:
        RequestError: The dataset is unknown, it or its protocol has no generator, `n` or `seed` is no such number, or
            the device is not available.

    Example:
        >>> generate("tetrominoes", 8, seed=7)
        Scenes(tetrominoes train, 8 of (3, 35, 35), cpu)
    """
    reference = load_spec(config).dataset(dataset)
    generator = generator_of(reference)
    refuse_selection(reference, reference.source(GENERATED))
    if split not in SPLITS:
        raise unknown_name("split", split, SPLITS)
    n, seed = whole_number("n", n, least=1), whole_number("seed", seed, least=0)
    where = choose_device(device)
    _check_memory(reference, [n], where)
    scenes = SceneTensors.concatenate(list(generator.scenes(split, 0, n, seed, where)))
    _refuse_other_size(reference, scenes.masks.shape)
    return _as_scenes(scenes, reference, split)


def splits_in_memory(
    dataset: DatasetRef, sizes: Mapping[str, int], device: torch.device, seed: int = 0
) -> dict[str, Scenes]:
    """All splits of a generated dataset on `device`, with the manifest that `prepare` would write, but without shards.

    On the CPU all splits equal those that `prepare` writes; slow generators use one process per core. On a GPU only
    val and test do. The train split is made on the GPU, where sums may differ in the last bit between runs, so its
    fingerprint is of its random stream and not of its bytes.

    Args:
        sizes: Sizes of some splits, 0 to leave a split out. The others have the size that the protocol says.

    Raises:
        RequestError: The request cannot be met.
    """
    preparation = PrepareRequest(dataset, GENERATED, Path(), None, sizes, seed).plan()
    _check_memory(dataset, [len(part) for part in preparation.plans], device)
    generator = generator_of(dataset)
    made: dict[str, Scenes] = {}
    contents: dict[str, Contents] = {}
    with progress.bar(f"generating {dataset}", preparation.scenes, "scenes") as advance:
        for part in preparation.plans:
            make = _on_gpu if device.type == "cuda" and part.split == "train" else _on_cpu
            made[part.split], contents[part.split] = make(dataset, generator, part, seed, device, advance)
    images = {split: found.images for split, found in contents.items() if found.images is not None}
    repeated = repeated_images(images)
    splits = {
        part.split: describe_split(
            part,
            count=len(part),
            records=Records(file=part.file, start=part.start, stop=part.stop),
            digests=contents[part.split].digests,
            repeated=repeated.get(part.split),
            object_counts=contents[part.split].object_counts,
            skipped=[],
            shards=[],
        )
        for part in preparation.plans
    }
    manifest = preparation.manifest(splits, files=[])
    return {name: scenes.with_manifest(manifest) for name, scenes in made.items()}


def _on_cpu(
    dataset: DatasetRef,
    generator: Generator,
    part: SplitPlan,
    seed: int,
    device: torch.device,
    advance: progress.Advance,
) -> tuple[Scenes, Contents]:
    blocks = list(generator.blocks(part.split, part.start, part.stop, seed))
    workers = 1 if generator.block is None else min(available(), len(blocks))
    batches, contents = [], []
    for made in run("objbench.data.prepare.in_memory:make", blocks, workers):
        _refuse_other_size(dataset, made.batch.masks.shape)
        batches.append(made.batch)
        contents.append(made.contents)
        advance(len(made.batch))
    return Scenes.of(SceneBatch.concatenate(batches), dataset, device, part.split), _joined(contents)


def _on_gpu(
    dataset: DatasetRef,
    generator: Generator,
    part: SplitPlan,
    seed: int,
    device: torch.device,
    advance: progress.Advance,
) -> tuple[Scenes, Contents]:
    batches = []
    for batch in generator.scenes(part.split, part.start, part.stop, seed, device):
        _refuse_other_size(dataset, batch.masks.shape)
        batches.append(batch)
        advance(len(batch.index))
    scenes = _as_scenes(SceneTensors.concatenate(batches), dataset, part.split)
    stream = (
        dataset.name,
        sorted(options_of(dataset).items()),
        generator.version,
        seed,
        part.split,
        part.start,
    )
    of_stream = hashlib.sha256(f"made on a GPU: {stream}, {len(scenes)} scenes".encode()).digest()
    return scenes, Contents([of_stream], None, Counter(scenes.n_objects.tolist()))


def _check_memory(dataset: DatasetRef, sizes: Sequence[int], device: torch.device) -> None:
    """Raise RequestError unless splits of so many scenes fit into memory; the largest is there twice for a moment."""
    needed = 4 * dataset.spec.height * dataset.spec.width * (sum(sizes) + max(sizes))
    free = free_memory(device)
    if needed > free:
        raise RequestError(
            f"{dataset}: {sum(sizes):,} scenes need about {megabytes(needed)} of memory ({device}), only "
            f"{megabytes(free)} are free; ask for fewer, or write them to the disk with objbench prepare"
        )


def _refuse_other_size(dataset: DatasetRef, shape: Sequence[int]) -> None:
    """Raise RequestError if masks of `shape`, (N,H,W), are not of the size that the dataset's block says."""
    expected, found = (dataset.spec.height, dataset.spec.width), tuple(shape[1:])
    if found != expected:
        raise RequestError(
            f"{dataset}: its generator makes scenes of {found[0]}x{found[1]}, but height and width say "
            f"{expected[0]}x{expected[1]}; correct them in the dataset's block (--config)"
        )


def _as_scenes(made: SceneTensors, dataset: DatasetRef, split: str) -> Scenes:
    """The scenes of a generator, on the device where it made them."""
    keys = [key_of(index) for index in made.index.tolist()]
    images = made.images.permute(0, 3, 1, 2).contiguous()
    return Scenes(images, made.masks, keys, dataset, split, made.factor_arrays)


def make(block: GeneratedBlock) -> Made:
    """Make the scenes of a block. Runs in a worker process."""
    batch = block.decode()
    described = list(samples(batch))
    counts = Counter(sample.facts["n_objects"] for sample in described)
    images = [image_digest(sample.image) for sample in described]
    return Made(batch, Contents([digest(sample) for sample in described], images, counts))


def _joined(parts: list[Contents]) -> Contents:
    return Contents(
        list(chain.from_iterable(part.digests for part in parts)),
        list(chain.from_iterable(part.images or () for part in parts)),
        sum((part.object_counts for part in parts), Counter()),
    )
