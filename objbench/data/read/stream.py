"""A prepared split as a stream of samples, for training loops that do not keep it in memory."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
import webdataset as wds
from torch import Tensor
from webdataset.utils import pytorch_worker_info

from objbench.data.format.manifest import Shard, find, refuse_incomplete
from objbench.data.format.sample import parse
from objbench.data.read.located import Located
from objbench.data.read.shard import FACTS_AT, OpenShard, changed, open_shard, pixels, read_shard, unreadable
from objbench.errors import brief, whole_number
from objbench.files import sha256_of
from objbench.folders import data_folder
from objbench.spec.load import load_spec
from objbench.stores import Store

_POOL = 1000
_OPEN_SHARDS = 16  # a shuffled stream draws from so many shards at least
_WORKERS = 1024  # workers of a DataLoader whose epochs are counted apart


def stream(
    dataset: str,
    split: str = "train",
    source: str | None = None,
    data: str | Path | Store | None = None,
    shuffle: bool | int = False,
    seed: int = 0,
    config: Path | None = None,
) -> wds.DataPipeline:
    """A webdataset pipeline that gives every sample of a split once per epoch.

    Shards are divided among nodes and DataLoader workers; a worker without a shard gives nothing. A sample is a dict:
    `__key__` str, `index` and `n_objects` int, `image` uint8 (3,H,W), `mask` uint8 (H,W), and `factors`: name ->
    tensor (E,...), or () for one value per scene; strings stay strings.

    The sha256 of a shard is compared with the manifest once per pipeline, when it is first opened. One in an object
    store is copied to this disk then.

    Args:
        shuffle: Draw each sample at random from a pool of at least so many samples (True: 1,000) and at least 16 shards,
            whose order is random too. The pool holds positions, not samples, so that it may be large; drawing from
            it reads the shards at random places.
        seed: Of the random order. The order is a function of the seed, the number of earlier epochs of this
            pipeline, and the numbers of nodes and DataLoader workers; other random generators do not matter.

    The other arguments and the errors are those of `objbench.load`. A damaged shard gives an ObjbenchError with its name
    when the stream comes to it.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> from objbench.data.prepare.prepare import prepare  # what `objbench prepare tetrominoes --test 4 ...` does
        >>> with TemporaryDirectory() as data:
        ...     sizes = {"train": 0, "val": 0, "test": 4}
        ...     _ = prepare(load_spec().dataset("tetrominoes"), "generated", Path(data), sizes=sizes, workers=1)
        ...     [sample["image"].shape for sample in stream("tetrominoes", "test", data=data)][0]
        torch.Size([3, 35, 35])
    """
    pool, seed = _pool(shuffle), whole_number("seed", seed, least=0)
    folder, manifest = find(data_folder(data), load_spec(config, data_folder(data)).dataset(dataset), source)
    located = Located.of(folder, manifest)
    shards = {str(located.here / shard.name): shard for shard in manifest.split(split).shards}
    if isinstance(folder, Path):
        for path in shards:
            read_shard(Path(path))
    else:
        refuse_incomplete(folder, manifest)
    reader = ShardReader(located, shards, pool, seed)
    return wds.DataPipeline(wds.SimpleShardList(list(shards)), wds.split_by_node, wds.split_by_worker, reader)


def _pool(shuffle: bool | int) -> int:
    """The size of the pool that samples are drawn from; 0: they are not shuffled."""
    if isinstance(shuffle, bool):
        return _POOL if shuffle else 0
    return whole_number("shuffle (True, False or a number of samples)", shuffle, least=0)


class ShardReader:
    """The stage of the pipeline that turns shards, {"url": path} each, into decoded samples.

    Args:
        located: The dataset.
        shards: What the manifest says of each, by path.
        pool: Size of the pool for shuffling; 0: in the order of the shards.
    """

    def __init__(self, located: Located, shards: dict[str, Shard], pool: int, seed: int) -> None:
        self.located, self.shards, self.pool, self.seed = located, shards, pool, seed
        # Epochs that each worker has begun. The memory is shared with the workers, as a DataLoader starts new ones
        # for every epoch. So is the time (mtime in ns) of each shard whose hash was right.
        self._epochs = _shared(_WORKERS)
        self._numbers = {url: number for number, url in enumerate(shards)}
        self._checked = _shared(len(shards))

    def __call__(self, urls: Iterable[dict[str, str]]) -> Iterator[dict[str, Any]]:
        paths = [shard["url"] for shard in urls]
        if self.pool:
            samples = self._shuffled(paths)
        else:
            samples = ((shard, row) for shard in map(self._open, paths) for row in range(len(shard.keys)))
        return (decode(shard, row) for shard, row in samples)

    def _shuffled(self, paths: list[str]) -> Iterator[tuple[OpenShard, int]]:
        generator = self._generator()
        generator.shuffle(paths)
        pool: list[tuple[OpenShard, int]] = []
        left: Counter[Path] = Counter()
        while paths or pool:
            while paths and (len(pool) < self.pool or len(left) < _OPEN_SHARDS):
                shard = self._open(paths.pop())
                pool += ((shard, row) for row in range(len(shard.keys)))
                left[shard.path] = len(shard.keys)
            at = generator.randrange(len(pool))
            pool[at], pool[-1] = pool[-1], pool[at]
            shard, row = pool.pop()
            left[shard.path] -= 1
            if not left[shard.path]:
                del left[shard.path]
            yield shard, row

    def _generator(self) -> random.Random:
        """The random generator of the epoch that this worker begins."""
        rank, _, worker, _ = pytorch_worker_info()
        epoch = int(self._epochs[worker % _WORKERS])
        self._epochs[worker % _WORKERS] += 1
        return random.Random(f"{self.seed} {epoch} {rank} {worker}")

    def _open(self, url: str) -> OpenShard:
        path, shard = Path(url), self.shards[url]
        self.located.fetch([shard])
        return open_shard(path, shard, lambda: self._check_hash(url, path))

    def _check_hash(self, url: str, path: Path) -> None:
        """Compare the sha256 of a shard with the manifest, unless a worker of this pipeline did since it was changed."""
        number = self._numbers[url]
        try:
            mtime = path.stat().st_mtime_ns
            if mtime == int(self._checked[number]):
                return
            if sha256_of(path) != self.shards[url].sha256:
                raise changed(path, "its sha256 is not the one in the manifest")
        except OSError as error:
            raise unreadable(path, error) from None
        self._checked[number] = mtime


def _shared(count: int) -> Tensor:
    """Zeros, int64 (count,), in memory that DataLoader workers share with this process."""
    zeros: Tensor = torch.zeros(count, dtype=torch.int64).share_memory_()  # type: ignore[no-untyped-call]
    return zeros


def decode(shard: OpenShard, row: int) -> dict[str, Any]:
    """A sample of a shard, in tensors; ObjbenchError with shard and key if it is damaged."""
    spans = zip(shard.starts[row].tolist(), shard.sizes[row].tolist(), strict=True)
    members = [shard.content[start : start + size].tobytes() for start, size in spans]
    try:
        facts = parse(members[FACTS_AT])
        image, mask = pixels(members)
        factors = {name: _factor(values) for name, values in facts["factors"].items()}
    except (ValueError, OSError, SyntaxError, TypeError) as error:
        raise changed(shard.path, f"sample {shard.keys[row]}: {brief(error)}") from None
    return {
        "__key__": shard.keys[row],
        "index": facts["index"],
        "n_objects": facts["n_objects"],
        "image": torch.from_numpy(np.array(image, order="C")),
        "mask": torch.from_numpy(np.array(mask)),
        "factors": factors,
    }


def _factor(values: Any) -> Any:
    """A tensor, or `values` themselves if they are strings."""
    array = np.array(values)
    return values if array.dtype.kind == "U" else torch.from_numpy(array)
