"""Generated scenes in memory: some of one split, or all splits as `prepare` would make them, without its shards."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping
from itertools import chain
from pathlib import Path
from typing import NamedTuple

import torch

from objbench import progress
from objbench.data.format.manifest import Records, Split
from objbench.data.format.sample import digest, key_of, samples
from objbench.data.generate.generator import SOURCE, GeneratedBlock, Generator, generator_of, options_of
from objbench.data.generate.tensors import SceneTensors
from objbench.data.prepare.prepare import describe_split, plan
from objbench.data.read.scenes import Scenes
from objbench.data.scene import SceneBatch
from objbench.data.sources.base import SplitPlan
from objbench.data.workers import available, run
from objbench.device import choose_device
from objbench.errors import RequestError, unknown_name
from objbench.spec.datasets import SPLITS, DatasetRef
from objbench.spec.load import load_spec


class Contents(NamedTuple):
    """What the manifest says of some scenes: their digests, and number of objects -> number of scenes."""

    digests: list[bytes]
    object_counts: Counter[int]


class Made(NamedTuple):
    """The scenes of a block."""

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
    """The first `n` scenes of a generated `DATASET[@PROTOCOL]`, made in the memory of `device`; nothing is written.

    They are those that `objbench prepare --source generated` makes with the same seed (images made on a GPU up to one
    grey level). `split` names a stream of its own: train, val or test. `config` is a yaml file of your own, laid over
    benchmarks.yaml. Raises RequestError for an unknown dataset, one without a generator, or a device that is not there.
    """
    reference = load_spec(config).dataset(dataset)
    generator = generator_of(reference)
    if split not in SPLITS:
        raise unknown_name("split", split, SPLITS)
    if n < 1:
        raise RequestError(f"generate {dataset}: asked for {n} scenes; at least 1 is needed")
    scenes = SceneTensors.concatenate(list(generator.scenes(split, 0, n, seed, choose_device(device))))
    return _as_scenes(scenes, reference, split)


def splits_in_memory(
    dataset: DatasetRef, sizes: Mapping[str, int], device: torch.device, seed: int = 0
) -> dict[str, Scenes]:
    """All splits of a generated dataset on `device`, each with the manifest that `prepare` would write, less shards.

    On the CPU, and for val and test everywhere, they are the bytes that `prepare` writes: made by the CPU path, in one
    process per core where that takes long. On a GPU the train split is made there; as sums on a GPU may differ in the
    last bit from one time to the next, its fingerprint is of the stream that it is made of, not of its bytes.
    sizes  wished sizes of some splits (0 leaves a split out); the others are as the protocol says
    Raises RequestError for a request that cannot be met.
    """
    preparation = plan(dataset, SOURCE, Path(), None, sizes, seed)
    generator = generator_of(dataset)
    made: dict[str, Scenes] = {}
    splits: dict[str, Split] = {}
    with progress.bar(f"generating {dataset}", preparation.scenes, "scenes") as advance:
        for part in preparation.plans:
            make = _on_gpu if device.type == "cuda" and part.split == "train" else _on_cpu
            made[part.split], contents = make(dataset, generator, part, seed, device, advance)
            records = Records(file=part.file, start=part.start, stop=part.stop)
            splits[part.split] = describe_split(part, len(part), records, *contents, skipped=[], shards=[])
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
    return scenes, Contents([of_stream], Counter(scenes.n_objects.tolist()))


def _as_scenes(made: SceneTensors, dataset: DatasetRef, split: str) -> Scenes:
    """The scenes of a generator, on the device where it made them."""
    keys = [key_of(index) for index in made.index.tolist()]
    images = made.images.permute(0, 3, 1, 2).contiguous()
    return Scenes(images, made.masks, keys, dataset, split, made.factor_arrays)


def make(block: GeneratedBlock) -> Made:
    """The scenes of a block: the work of a worker process."""
    batch = block.decode()
    described = list(samples(batch))
    counts = Counter(sample.facts["n_objects"] for sample in described)
    return Made(batch, Contents([digest(sample) for sample in described], counts))


def _joined(parts: list[Contents]) -> Contents:
    return Contents(
        list(chain.from_iterable(part.digests for part in parts)),
        sum((part.object_counts for part in parts), Counter()),
    )
