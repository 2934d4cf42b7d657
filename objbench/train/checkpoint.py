"""Checkpoints and weights on disk: written whole or not at all, read without executing anything."""

from __future__ import annotations

import os
import pickle
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from objbench.errors import ObjbenchError

CHECKPOINT, WEIGHTS = "checkpoint.pt", "model.safetensors"


@dataclass(frozen=True)
class Checkpoint:
    """Everything a training goes on from: position, all state of the method, of its stepper, and the log's length."""

    stage: int
    step: int
    method: dict[str, Any]
    stepper: dict[str, Any]
    log_bytes: int
    seconds: float

    def save(self, folder: Path) -> None:
        """Replace the checkpoint in `folder` at one stroke."""
        partial = folder / f"{CHECKPOINT}.partial"
        with partial.open("wb") as file:
            torch.save(dict(vars(self)), file)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(folder / CHECKPOINT)


def load_checkpoint(folder: Path, device: torch.device | str = "cpu") -> Checkpoint | None:
    """The checkpoint in `folder`, None if there is none; ObjbenchError if it is damaged."""
    path = folder / CHECKPOINT
    if not path.exists():
        return None
    try:
        return Checkpoint(**torch.load(path, map_location=device, weights_only=True))
    except (RuntimeError, EOFError, TypeError, ValueError, pickle.UnpicklingError):
        raise ObjbenchError(f"{path}: damaged checkpoint; --fresh starts this seed anew") from None


def save_weights(method: nn.Module, folder: Path) -> None:
    """All tensors of the method's state as model.safetensors (extra state stays in the checkpoint)."""
    tensors = {
        name: value.detach().cpu().clone().contiguous()
        for name, value in method.state_dict().items()
        if isinstance(value, Tensor)
    }
    partial = folder / f"{WEIGHTS}.partial"
    save_file(tensors, partial)
    partial.replace(folder / WEIGHTS)


def load_weights(method: nn.Module, folder: Path) -> None:
    """Put the saved weights, and extra state where there is any, into the method."""
    path = folder / WEIGHTS
    if not path.exists():
        raise ObjbenchError(f"{path}: no such file; is the run finished?")
    state: dict[str, Any] = dict(load_file(path))
    expected = method.state_dict()
    extra = [name for name, value in expected.items() if not isinstance(value, Tensor)]
    if extra:
        checkpoint = load_checkpoint(folder)
        if checkpoint is None:
            raise ObjbenchError(f"{folder / CHECKPOINT}: missing; it holds the state of {', '.join(extra)}")
        state |= {name: checkpoint.method[name] for name in extra}
    try:
        method.load_state_dict(state)
    except RuntimeError as error:
        raise ObjbenchError(f"{path}: weights of another configuration: {error}") from None
