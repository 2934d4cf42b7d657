"""A prepared split in memory: decoded once, on all cores, and then read from its cache."""

from __future__ import annotations

import json
import logging
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from objbench import progress
from objbench.data.format.manifest import Manifest, find
from objbench.data.read.cache import CACHE, CacheKey, DecodedCache, cache_of
from objbench.data.read.decode import Slice, slices
from objbench.data.read.located import Located
from objbench.data.read.scenes import Scenes
from objbench.data.read.shard import read_shard
from objbench.data.scene import SCENES_PER_JOB, Array
from objbench.data.workers import available, run
from objbench.device import choose_device
from objbench.errors import ObjbenchError
from objbench.files import sync
from objbench.folders import data_folder
from objbench.locks import exclusive_lock
from objbench.os_errors import naming
from objbench.spec.datasets import DatasetRef
from objbench.spec.load import load_spec
from objbench.stores import Place, Store

_INLINE = 2 * SCENES_PER_JOB  # up to so many samples are decoded faster than a worker process starts
log = logging.getLogger("objbench")


def load(
    dataset: str,
    split: str = "train",
    source: str | None = None,
    data: str | Path | Store | None = None,
    device: str | int | torch.device | None = None,
    config: Path | None = None,
) -> Scenes:
    """All scenes of a prepared split.

    Args:
        dataset: DATASET[@PROTOCOL].
        source: May be left out if only one is prepared.
        data: Folder of the prepared datasets, or its URL in an object store; by default $OBJBENCH_DATA or ./data.
        device: Where images and masks are put, by default the CPU.
        config: Your own yaml, laid over benchmarks.yaml.

    Raises:
        RequestError: A name is unknown, or several sources are prepared and none is given.
        ObjbenchError: The dataset is not prepared, or was changed since.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> from objbench.data.prepare.prepare import prepare  # what `objbench prepare tetrominoes --test 4 ...` does
        >>> with TemporaryDirectory() as data:
        ...     sizes = {"train": 0, "val": 0, "test": 4}
        ...     _ = prepare(load_spec().dataset("tetrominoes"), "generated", Path(data), sizes=sizes, workers=1)
        ...     load("tetrominoes", "test", data=data)
        Scenes(tetrominoes test, 4 of (3, 35, 35), cpu)
    """
    reference = load_spec(config, data_folder(data)).dataset(dataset)
    return load_split(reference, split, source, data_folder(data), choose_device(device))


def load_split(
    reference: DatasetRef, split: str, source: str | None, data: Place, device: torch.device
) -> Scenes:
    """Load a split of a dataset that is resolved already; arguments and errors are those of `load`."""
    where, manifest = find(data, reference, source)
    located = Located.of(where, manifest)
    located.fetch(manifest.split(split).shards, manifest)
    folder = located.here
    with decoded(folder, manifest, split) as cache:
        images = _read(cache.images, (cache.count, 3, cache.height, cache.width))
        masks = _read(cache.masks, (cache.count, cache.height, cache.width))
        keys = cache.keys.read_text(encoding="ascii").split()
        texts = cache.samples.read_bytes()

    def factors() -> dict[str, Array]:
        return _parse(texts, f"{folder}: {split}")

    return Scenes(images.to(device), masks.to(device), keys, reference, split, factors, manifest)


@contextmanager
def decoded(folder: Path, manifest: Manifest, split: str) -> Iterator[DecodedCache]:
    """The decoded split: from its cache, which is filled first if needed.

    If the cache cannot be written, the split is decoded into a temporary folder that is removed afterwards.
    """
    cache = cache_of(folder, manifest, split)
    for shard in manifest.split(split).shards:
        read_shard(folder / shard.name)
    key = CacheKey.now(folder, manifest, split)
    if not cache.is_valid(key):
        try:
            _fill(cache, folder, manifest, split, key)
        except OSError as error:
            log.warning(
                "%s: %s; decoding without a cache, as every load will until the data lie on a disk with free space, "
                "write access and file locks",
                error.filename or folder / CACHE,
                error.strerror or error,
            )
            with tempfile.TemporaryDirectory(prefix="objbench-") as temporary:
                cache = DecodedCache(Path(temporary) / split, cache.count, cache.height, cache.width)
                with naming(Path(temporary)):
                    _decode(cache, folder, manifest, split)
                yield cache
            return
    yield cache


def _fill(cache: DecodedCache, folder: Path, manifest: Manifest, split: str, key: CacheKey) -> None:
    """Decode the split into the cache, whole or not at all. Do nothing if another process was faster."""
    with exclusive_lock(cache.path.with_name(f"{split}.lock")):
        if cache.is_valid(key):
            return
        partial = DecodedCache(
            cache.path.with_name(f"{split}.partial"), cache.count, cache.height, cache.width
        )
        shutil.rmtree(partial.path, ignore_errors=True)
        try:
            _decode(partial, folder, manifest, split)
            partial.commit(key)
            shutil.rmtree(cache.path, ignore_errors=True)
            partial.path.replace(cache.path)
            sync(cache.path.parent)
        finally:
            shutil.rmtree(partial.path, ignore_errors=True)


def _decode(cache: DecodedCache, folder: Path, manifest: Manifest, split: str) -> None:
    cache.create()
    keys: list[str] = []

    def jobs() -> Iterator[Slice]:
        for shard in manifest.split(split).shards:
            files, shape = (cache.images, cache.masks), (cache.height, cache.width)
            for job in slices(folder, shard, len(keys), shape, files, SCENES_PER_JOB):
                keys.extend(job.keys)
                yield job

    workers = 1 if cache.count <= _INLINE else min(available(), -(-cache.count // SCENES_PER_JOB))
    with cache.samples.open("wb") as samples, _progress(manifest, split, cache.count) as advance:
        for texts in run("objbench.data.read.decode:decode_slice", jobs(), workers):
            samples.writelines(text + b"\n" for text in texts)
            advance(len(texts))
    cache.keys.write_text("\n".join(keys), encoding="ascii")


@contextmanager
def _progress(manifest: Manifest, split: str, count: int) -> Iterator[progress.Advance]:
    if count <= _INLINE:
        yield progress.silent
    else:
        with progress.bar(f"decoding {manifest.dataset} {split}", count, "scenes") as advance:
            yield advance


def _read(path: Path, shape: tuple[int, ...]) -> Tensor:
    pixels = torch.empty(shape, dtype=torch.uint8)
    rest = pixels.numpy().data.cast("B")
    with path.open("rb", buffering=0) as file:
        while rest:
            count = file.readinto(rest)
            if not count:
                raise ObjbenchError(f"{path}: was changed while it was read; give the command again")
            rest = rest[count:]
    return pixels


def _parse(texts: bytes, where: str) -> dict[str, Array]:
    """The factors in the JSON lines of a split: name -> (N,E,...), int64, float64 or strings."""
    try:
        samples = json.loads(b"[" + texts.rstrip().replace(b"\n", b",") + b"]")
        names = samples[0].get("factors", {})
        return {name: np.array([sample["factors"][name] for sample in samples]) for name in names}
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise ObjbenchError(
            f"{where}: its factors cannot be read ({type(error).__name__}: {error}); objbench verify --deep names the samples"
        ) from None
