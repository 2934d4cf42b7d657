"""A prepared split as a stream of samples, for training loops that do not keep it in memory."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
import webdataset as wds

from objbench.data.decode import read_shard
from objbench.data.load import data_folder
from objbench.data.manifest import find
from objbench.data.sample import FACTS, IMAGE, MASK, decode_png
from objbench.spec import load_spec

_BUFFER = 1000


def stream(
    dataset: str,
    split: str = "train",
    source: str | None = None,
    data: str | Path | None = None,
    shuffle: bool | int = False,
    config: Path | None = None,
) -> wds.WebDataset:
    """A webdataset pipeline that gives every sample of a split once per epoch.

    Shards are split over nodes and DataLoader workers, so that one that gets no shard gives nothing.
    A sample is a dict: "__key__" str, "index" and "n_objects" int, "image" uint8 (3,H,W), "mask" uint8 (H,W) and
    "factors", name -> tensor (E,...). `shuffle`: the order of shards, and of samples within a buffer of that
    many (True: 1,000). The other arguments and errors are those of `objbench.load`.
    """
    folder, manifest = find(data_folder(data), load_spec(config).dataset(dataset), source)
    paths = [folder / shard.name for shard in manifest.split(split).shards]
    for path in paths:
        read_shard(path)
    pipeline = wds.WebDataset(
        [str(path) for path in paths],
        shardshuffle=len(paths) if shuffle else False,
        nodesplitter=wds.split_by_node,
        empty_check=False,
    )
    return pipeline.shuffle(_BUFFER if shuffle is True else int(shuffle)).map(decode)


def decode(sample: dict[str, Any]) -> dict[str, Any]:
    """The tensors of a raw webdataset sample."""
    facts = json.loads(sample[FACTS[1:]])
    image = decode_png(sample[IMAGE[1:]], "RGB").transpose(2, 0, 1)
    return {
        "__key__": sample["__key__"],
        "index": facts["index"],
        "n_objects": facts["n_objects"],
        "image": torch.from_numpy(np.ascontiguousarray(image)),
        "mask": torch.from_numpy(decode_png(sample[MASK[1:]], "L").copy()),
        "factors": {name: torch.from_numpy(np.array(values)) for name, values in facts["factors"].items()},
    }
