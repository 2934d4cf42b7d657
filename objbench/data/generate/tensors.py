"""Generated scenes where they were made: on the CPU or on a GPU."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from objbench.data.scene import FACTOR_KINDS, Array, SceneBatch, check_shapes, not_finite, refuse_other_types
from objbench.errors import ObjbenchError


@dataclass(frozen=True)
class SceneTensors:
    """N scenes in the order of their index, all tensors on one device; the fields are those of SceneBatch.

    Attributes:
        index: int64 (N,), place in the stream.
        images: uint8 (N,H,W,3).
        masks: uint8 (N,H,W).
        factors: Name -> (N,E,...), E the entities with the background first, or (N,), of the whole scene.
        names: Name -> the word for each code, for the factors that are codes.
    """

    index: Tensor
    images: Tensor
    masks: Tensor
    factors: dict[str, Tensor]
    names: dict[str, list[str]] = field(default_factory=dict)

    def arrays(self) -> SceneBatch:
        """The scenes in the form that sources give."""
        index, images, masks = (tensor.cpu().numpy() for tensor in (self.index, self.images, self.masks))
        return SceneBatch(index, images, masks, self.factor_arrays())

    def factor_arrays(self) -> dict[str, Array]:
        """The factors in that form."""
        arrays = {name: values.cpu().numpy() for name, values in self.factors.items()}
        words = {name: np.array(names)[arrays[name]] for name, names in self.names.items()}
        return {**arrays, **words}

    @property
    def types(self) -> dict[str, str]:
        """The type of each factor and its shape in a scene; of one that is codes, their words."""
        return {
            name: f"{self.names.get(name, values.dtype)} {tuple(values.shape[1:])}"
            for name, values in self.factors.items()
        }

    @staticmethod
    def concatenate(parts: list[SceneTensors]) -> SceneTensors:
        """The scenes of `parts`, one after the other; ObjbenchError if their factors have other names or types."""
        for part in parts:
            refuse_other_types("the factors", part.types, parts[0].types)
        return SceneTensors(
            torch.cat([part.index for part in parts]),
            torch.cat([part.images for part in parts]),
            torch.cat([part.masks for part in parts]),
            {name: torch.cat([part.factors[name] for part in parts]) for name in parts[0].factors},
            parts[0].names,
        )


def checked(made: Any, who: str, start: int, stop: int) -> SceneTensors:
    """What a generator, `who` in messages, made for the scenes [start, stop).

    Raises:
        ObjbenchError: It breaks its contract: these are other scenes, or not as SceneTensors says.
    """
    if not isinstance(made, SceneTensors):
        raise ObjbenchError(f"{who} gave {made!r}, expected SceneTensors")
    index = made.index.tolist()
    if index != list(range(start, stop)):
        found = f"{len(index):,} scenes" + (f", {index[0]} to {index[-1]}" if index else "")
        raise ObjbenchError(f"{who} gave {found}; asked for {stop - start:,}, {start} to {stop - 1}")
    check_shapes(who, len(index), made.images, made.masks, made.factors)
    factors = made.factor_arrays()
    for name, values in factors.items():
        if values.dtype.kind not in FACTOR_KINDS:
            raise ObjbenchError(
                f"{who} gave the factor '{name}' as {values.dtype}, expected numbers or strings"
            )
    for row, fault in not_finite(factors).items():
        raise ObjbenchError(f"{who}, scene {index[row]}: {fault}")
    return made


def with_background(values: Tensor) -> Tensor:
    """Factors (N,O,...) of the objects as (N,1+O,...): a row of zeros, the background's, before them."""
    return torch.nn.functional.pad(values, (0, 0) * (values.dim() - 2) + (1, 0))
