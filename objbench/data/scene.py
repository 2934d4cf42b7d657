"""What flows from a source to the shards: scenes still to be decoded, in blocks, then batches of arrays."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from objbench.errors import ObjbenchError

Array = npt.NDArray[Any]

FACTOR_KINDS = {"b": "bool", "i": "int", "u": "int", "f": "float", "U": "text"}  # by the kind of their dtype
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

    @property
    def types(self) -> dict[str, str]:
        """The type of each factor: that of its JSON, whatever its width in memory, and its shape in a scene."""
        return {
            name: f"{FACTOR_KINDS[values.dtype.kind]} {values.shape[1:]}"
            for name, values in self.factors.items()
        }

    @staticmethod
    def concatenate(batches: list[SceneBatch]) -> SceneBatch:
        """The scenes of `batches`, one after the other; ObjbenchError if their factors have other names or types."""
        for batch in batches:
            refuse_other_types("the factors", batch.types, batches[0].types)
        return SceneBatch(
            np.concatenate([batch.index for batch in batches]),
            np.concatenate([batch.images for batch in batches]),
            np.concatenate([batch.masks for batch in batches]),
            {name: np.concatenate([b.factors[name] for b in batches]) for name in batches[0].factors},
        )


class Shaped(Protocol):
    """An array or a tensor."""

    @property
    def shape(self) -> tuple[int, ...]: ...
    @property
    def dtype(self) -> Any: ...


def check_shapes(who: str, count: int, images: Shaped, masks: Shaped, factors: Mapping[str, Shaped]) -> None:
    """Raise ObjbenchError unless these can be the fields of `count` scenes, as SceneBatch says.

    Args:
        who: Whoever gave them, for the message.
    """
    shape = (count, *masks.shape[1:3])
    if tuple(masks.shape) != shape or len(shape) != 3 or tuple(images.shape) != (*shape, 3):
        raise ObjbenchError(
            f"{who} gave images {tuple(images.shape)} and masks {tuple(masks.shape)} for {count} scenes; "
            "expected (N,H,W,3) and (N,H,W)"
        )
    types = [str(values.dtype).removeprefix("torch.") for values in (images, masks)]
    if types != ["uint8", "uint8"]:
        raise ObjbenchError(f"{who} gave {types[0]} images and {types[1]} masks, not uint8")
    for name, values in factors.items():
        if tuple(values.shape[:1]) != (count,) or (name == "visibility" and len(values.shape) == 1):
            expected = "(N,E)" if name == "visibility" else "(N,E,...) or (N,)"
            raise ObjbenchError(
                f"{who} gave the factor '{name}' as {tuple(values.shape)} for {count} scenes; expected {expected}"
            )


def not_finite(factors: Mapping[str, Array]) -> dict[int, str]:
    """The scenes whose factors hold NaN or infinity, which JSON does not have: row -> what is wrong there."""
    faults: dict[int, str] = {}
    for name, values in factors.items():
        if values.dtype.kind == "f":
            for row, *place in np.argwhere(~np.isfinite(values)).tolist():
                faults.setdefault(
                    row, f"its factor '{name}' holds {values[row, *place]}; expected finite numbers"
                )
    return faults


def refuse_other_types(what: str, found: Mapping[str, str], before: Mapping[str, str]) -> None:
    """Raise ObjbenchError if factors, `what` in the message, have other names, types or shapes than those before."""
    if found != before:
        raise ObjbenchError(
            f"{what} must have the same names, types and shapes in every scene: found {found} after {before}"
        )
