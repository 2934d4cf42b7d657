"""Generated scenes where they were made: on the CPU or on a GPU."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from objbench.data.scene import Array, SceneBatch


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

    @staticmethod
    def concatenate(parts: list[SceneTensors]) -> SceneTensors:
        """The scenes of `parts`, one after the other."""
        return SceneTensors(
            torch.cat([part.index for part in parts]),
            torch.cat([part.images for part in parts]),
            torch.cat([part.masks for part in parts]),
            {name: torch.cat([part.factors[name] for part in parts]) for name in parts[0].factors},
            parts[0].names,
        )


def with_background(values: Tensor) -> Tensor:
    """Factors (N,O,...) of the objects as (N,1+O,...): a row of zeros, the background's, before them."""
    return torch.nn.functional.pad(values, (0, 0) * (values.dim() - 2) + (1, 0))
