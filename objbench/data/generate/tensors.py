"""Generated scenes where they were made: on the CPU or on a GPU."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from objbench.data.scene import Array, SceneBatch, check_shapes, not_finite, refuse_other_types
from objbench.errors import ObjbenchError

_INTEGERS = (torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64)
_OTHER_NUMBERS = (torch.bool, torch.float16, torch.float32, torch.float64)  # that numpy has, too


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
        arrays = {name: values.detach().cpu().numpy() for name, values in self.factors.items()}
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
        raise ObjbenchError(f"{who} gave {_of_type(made)}, expected SceneTensors")
    _check_fields(made, who)
    _check_places(made, who)
    _check_names(made, who)
    _check_visibility(made.factors.get("visibility"), who)
    index = made.index.tolist()
    if index != list(range(start, stop)):
        found = f"{len(index):,} scenes" + (f", {index[0]} to {index[-1]}" if index else "")
        if sorted(index) == list(range(start, stop)):
            found += " in another order"
        raise ObjbenchError(f"{who} gave {found}; asked for {stop - start:,}, {start} to {stop - 1}")
    check_shapes(who, len(index), made.images, made.masks, made.factors)
    for row, fault in not_finite(made.factor_arrays()).items():
        raise ObjbenchError(f"{who}, scene {index[row]}: {fault}")
    return made


def _check_fields(made: SceneTensors, who: str) -> None:
    """Raise ObjbenchError for a field or a factor that is of another kind than SceneTensors says."""
    for name in ("index", "images", "masks"):
        if not isinstance(getattr(made, name), Tensor):
            raise ObjbenchError(f"{who} gave {name} as {_of_type(getattr(made, name))}, expected a tensor")
    if made.index.ndim != 1 or made.index.dtype not in _INTEGERS:
        raise ObjbenchError(
            f"{who} gave an index of {_of_type(made.index)}, expected whole numbers, one for each scene: int64 (N,)"
        )
    for name in ("factors", "names"):
        if not isinstance(getattr(made, name), Mapping):
            raise ObjbenchError(f"{who} gave {name} as {_of_type(getattr(made, name))}, expected a dict")
    for factor, values in made.factors.items():
        if not isinstance(factor, str):
            raise ObjbenchError(f"{who} gave a factor with the name {factor!r}, expected a text")
        if not isinstance(values, Tensor) or values.dtype not in (*_INTEGERS, *_OTHER_NUMBERS):
            raise ObjbenchError(
                f"{who} gave the factor '{factor}' as {_of_type(values)}, expected a tensor of whole numbers, bool, or "
                "floats of 16, 32 or 64 bits"
            )


def _check_places(made: SceneTensors, who: str) -> None:
    """Raise ObjbenchError for a tensor that is sparse, or not on the device of the others."""
    factors = {f"the factor '{name}'": values for name, values in made.factors.items()}
    tensors = {"index": made.index, "images": made.images, "masks": made.masks, **factors}
    for name, values in tensors.items():
        if values.layout != torch.strided or values.device != made.index.device:
            raise ObjbenchError(
                f"{who} gave {name} as {values.layout} on {values.device}, expected a dense tensor (torch.strided) on the "
                f"device of the index, {made.index.device}"
            )


def _check_names(made: SceneTensors, who: str) -> None:
    """Raise ObjbenchError for names of no factor or of one that is no codes, and for codes without a name."""
    for factor, words in made.names.items():
        if factor not in made.factors:
            raise ObjbenchError(
                f"{who} gave names for '{factor}', and no factor of this name: {[*made.factors]}"
            )
        if factor == "visibility":
            raise ObjbenchError(f"{who} gave names for the factor 'visibility', expected none: it is 0 or 1")
        if not (isinstance(words, list | tuple) and words and all(isinstance(word, str) for word in words)):
            raise ObjbenchError(f"{who} gave names for the factor '{factor}' that are no list of texts")
        _check_codes(who, factor, made.factors[factor], len(words))


def _check_codes(who: str, factor: str, codes: Tensor, words: int) -> None:
    if codes.dtype not in _INTEGERS:
        raise ObjbenchError(
            f"{who} gave names for the factor '{factor}', which is {_of_type(codes)}: expected whole numbers, which "
            "are their places"
        )
    if codes.numel():
        low, high = (int(extreme) for extreme in codes.aminmax())
        if low < 0 or high >= words:
            raise ObjbenchError(
                f"{who} gave {words} names for the factor '{factor}', whose values are {low} to {high}: expected 0 to "
                f"{words - 1}"
            )


def _check_visibility(present: Tensor | None, who: str) -> None:
    if present is not None and present.numel() and not bool(((present == 0) | (present == 1)).all()):
        low, high = (extreme.item() for extreme in present.aminmax())
        raise ObjbenchError(
            f"{who} gave the factor 'visibility' with values from {low} to {high}, expected 0 or 1"
        )


def _of_type(value: Any) -> str:
    if isinstance(value, Tensor):
        return f"{str(value.dtype).removeprefix('torch.')} {tuple(value.shape)}"
    return "None" if value is None else type(value).__name__


def with_background(values: Tensor) -> Tensor:
    """Factors (N,O,...) of the objects as (N,1+O,...): a row of zeros, the background's, before them."""
    return torch.nn.functional.pad(values, (0, 0) * (values.dim() - 2) + (1, 0))
