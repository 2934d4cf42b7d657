"""What flows from a source to the shards: scenes, in batches of arrays."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class SceneBatch:
    """N scenes of one source, in the order of their index.

    index    int64 (N,): record number in the source; becomes the sample key
    images   uint8 (N,H,W,3)
    masks    uint8 (N,H,W): 0 = background, 1.. = the upstream's own entity ids, never renumbered
    factors  name -> (N,E) or (N,E,D), E the upstream's entity axis: row e belongs to mask value e
             (row 0 the background), in upstream meanings and units; {} where the source has none
    """

    index: Array
    images: Array
    masks: Array
    factors: dict[str, Array]

    def __len__(self) -> int:
        return len(self.index)

    def __getitem__(self, part: slice) -> SceneBatch:
        factors = {name: values[part] for name, values in self.factors.items()}
        return SceneBatch(self.index[part], self.images[part], self.masks[part], factors)

    @staticmethod
    def concatenate(batches: list[SceneBatch]) -> SceneBatch:
        """The scenes of `batches`, one after the other."""
        return SceneBatch(
            np.concatenate([batch.index for batch in batches]),
            np.concatenate([batch.images for batch in batches]),
            np.concatenate([batch.masks for batch in batches]),
            {name: np.concatenate([b.factors[name] for b in batches]) for name in batches[0].factors},
        )
