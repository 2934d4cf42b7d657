"""What a method keeps beside parameters and buffers, that of `get_extra_state`: whether it could be loaded again."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from typing import Any

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensor

from objbench.errors import ObjbenchError, brief, is_out_of_memory

_EXTRA = "_extra_state"  # as the state of a module has it


def check_extra_state(method: Any) -> None:
    """Refuse a method, just made, whose extra state could not be loaded with its weights.

    Raises:
        ObjbenchError: It is not there yet, no file can hold it, or the method does not take it back.
    """
    name = type(method).__name__
    with _refused(
        f"{name} gives no state when it has just been made ({{}}): what get_extra_state gives is there from __init__ on"
    ):
        state = method.state_dict()
    extra = {key: value for key, value in state.items() if key.rpartition(".")[2] == _EXTRA}
    if not extra or any(isinstance(value, FakeTensor) for value in extra.values()):  # which have no values
        return
    if not all(isinstance(value, Tensor) for value in extra.values()) and not method.stages():
        raise ObjbenchError(
            f"{name} has no stages, so that no checkpoint is written, and extra state that is no tensor, which model.safetensors "
            "cannot hold: let get_extra_state give a tensor"
        )
    file = BytesIO()
    with _refused(
        f"{name}.get_extra_state gave what no checkpoint can hold: expected tensors, numbers, texts, and lists and dicts of these"
    ):
        torch.save(extra, file)
        file.seek(0)
        kept = torch.load(file, weights_only=True)
    with _refused(
        f"{name} does not take its own state back ({{}}): write set_extra_state for what get_extra_state gives"
    ):
        method.load_state_dict(state | kept)


@contextmanager
def _refused(message: str) -> Iterator[None]:
    """Errors of the block as an ObjbenchError with this message, in which {} is what they say; not a lack of memory."""
    try:
        yield
    except Exception as error:
        if is_out_of_memory(error):
            raise
        raise ObjbenchError(message.format(brief(error))) from error
