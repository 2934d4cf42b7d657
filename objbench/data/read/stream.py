"""A prepared split as a stream of samples, for training loops that do not keep it in memory."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
import webdataset as wds

from objbench.data.format import png, tar
from objbench.data.format.manifest import find
from objbench.data.format.sample import rows
from objbench.data.read.decode import read_shard
from objbench.folders import data_folder
from objbench.spec.load import load_spec

_BUFFER = 1000


def stream(
    dataset: str,
    split: str = "train",
    source: str | None = None,
    data: str | Path | None = None,
    shuffle: bool | int = False,
    config: Path | None = None,
) -> wds.DataPipeline:
    """A webdataset pipeline that gives every sample of a split once per epoch.

    Shards are divided among nodes and DataLoader workers; a worker without a shard gives nothing. A sample is a dict:
    "__key__" str, "index" and "n_objects" int, "image" uint8 (3,H,W), "mask" uint8 (H,W), and "factors": name ->
    tensor (E,...), or () for one value per scene; strings stay strings.

    Args:
        shuffle: Shuffle the shards, and the samples within a buffer of this size (True: 1,000).

    The other arguments and the errors are those of `objbench.load`.
    """
    folder, manifest = find(data_folder(data), load_spec(config).dataset(dataset), source)
    paths = [str(folder / shard.name) for shard in manifest.split(split).shards]
    for path in paths:
        read_shard(Path(path))
    stages = [wds.SimpleShardList(paths), wds.split_by_node, wds.split_by_worker, read, wds.map(decode)]
    if shuffle:  # shards are shuffled after the division: every worker draws its own order
        stages.insert(4, wds.shuffle(_BUFFER if shuffle is True else shuffle))
        stages.insert(3, wds.shuffle(len(paths)))
    return wds.DataPipeline(*stages)


def read(shards: Iterable[dict[str, str]]) -> Iterator[dict[str, Any]]:
    """The samples of the shards, not decoded. webdataset gives a shard as {"url": path}."""
    for shard in shards:
        path = Path(shard["url"])
        content = read_shard(path)
        members = tar.walk(content, path)
        starts, sizes = members.starts.reshape(-1, 3).tolist(), members.sizes.reshape(-1, 3).tolist()
        for key, spans in zip(rows(members, path), zip(starts, sizes, strict=True), strict=True):
            texts = (content[start : start + size].tobytes() for start, size in zip(*spans, strict=True))
            yield {"__key__": key, "__url__": shard["url"], "members": tuple(texts)}


def decode(sample: dict[str, Any]) -> dict[str, Any]:
    """The tensors of a sample of `read`."""
    text, mask, image = sample["members"]
    facts = json.loads(text)
    pixels = png.decode(image, "RGB").transpose(2, 0, 1)
    return {
        "__key__": sample["__key__"],
        "index": facts["index"],
        "n_objects": facts["n_objects"],
        "image": torch.from_numpy(np.array(pixels, order="C")),
        "mask": torch.from_numpy(np.array(png.decode(mask, "L"))),
        "factors": {name: _factor(values) for name, values in facts["factors"].items()},
    }


def _factor(values: Any) -> Any:
    """A tensor, or `values` themselves if they are strings."""
    array = np.array(values)
    return values if array.dtype.kind == "U" else torch.from_numpy(array)
