"""What flows from a source to the shards: scenes still to be decoded, in blocks, then batches of arrays."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from objbench.errors import ObjbenchError

Array = npt.NDArray[Any]

SCENES_PER_JOB = 250
BYTES_PER_JOB = 16 << 20  # of undecoded scenes, as several jobs per worker wait; a CLEVR record has 3.2 MB


class Block(Protocol):
    """Some scenes of a source, not decoded yet. SceneBatch is a block that is decoded already.

    Blocks are pickled and decoded in a worker process: keep them small (SCENES_PER_JOB scenes, BYTES_PER_JOB bytes),
    and import no torch in their module.
    """

    def __len__(self) -> int: ...

    def __getitem__(self, part: slice, /) -> Block:
        """Some of its scenes, as a block."""

    def decode(self) -> SceneBatch:
        """All scenes. Raises BadScene for the first damaged one; those after it need not be decoded."""


class BadScene(ObjbenchError):  # noqa: N818, it names the scene
    """A scene that cannot be decoded.

    Attributes:
        row: Of the scene, in its block.
        index: Of the scene, as in SceneBatch.
        where: The file and the record, as a person finds them.
        reason: The fault, without any path.
    """

    def __init__(self, row: int, index: int, where: str, reason: str) -> None:
        super().__init__(f"{where}: {reason}")
        self.row, self.index, self.where, self.reason = row, index, where, reason

    def __reduce__(self) -> tuple[type[BadScene], tuple[int, int, str, str]]:
        return BadScene, (self.row, self.index, self.where, self.reason)


@dataclass(frozen=True)
class SceneBatch:
    """N scenes of one source, in the order of their index.

    Attributes:
        index: int64 (N,), record number in the source; becomes the sample key.
        images: uint8 (N,H,W,3), in the source's resolution; crop and resize come later.
        masks: uint8 (N,H,W), 0 = background, 1.. = the upstream's own entity ids, never renumbered.
        factors: Name -> (N,E) or (N,E,D), where row e of the upstream's entity axis E belongs to mask value e (row 0
            is the background); or (N,), one per scene. Numbers or strings, with upstream meanings and units, of the
            same names, types and shapes in every scene of a split; {} if the source has none.
    """

    index: Array
    images: Array
    masks: Array
    factors: dict[str, Array]

    def __len__(self) -> int:
        return len(self.index)

    def __getitem__(self, part: slice | Array) -> SceneBatch:
        factors = {name: values[part] for name, values in self.factors.items()}
        return SceneBatch(self.index[part], self.images[part], self.masks[part], factors)

    def decode(self) -> SceneBatch:
        """Itself."""
        return self

    @staticmethod
    def concatenate(batches: list[SceneBatch]) -> SceneBatch:
        """The scenes of `batches`, one after the other."""
        return SceneBatch(
            np.concatenate([batch.index for batch in batches]),
            np.concatenate([batch.images for batch in batches]),
            np.concatenate([batch.masks for batch in batches]),
            {name: np.concatenate([b.factors[name] for b in batches]) for name in batches[0].factors},
        )
