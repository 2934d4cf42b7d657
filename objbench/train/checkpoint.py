"""Checkpoints and weights on disk: written completely or not at all, read without executing any code."""

from __future__ import annotations

import pickle
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor

from objbench.errors import ObjbenchError
from objbench.files import replacing
from objbench.methods.base import Method

CHECKPOINT, WEIGHTS = "checkpoint.pt", "model.safetensors"


@dataclass(frozen=True)
class Checkpoint:
    """Everything that is needed to resume a training.

    Attributes:
        stage: Index of the current stage.
        step: Number of finished steps in this stage.
        trainable: Names of the parameters that require a gradient in this stage.
        method: State of the method.
        stepper: State of the stepper.
        log_bytes: Length of the log.
        seconds: Time spent in training steps.
        wall_seconds: Time spent in total.
        unvalidated: Whether the validation that follows the last step was interrupted.
    """

    stage: int
    step: int
    trainable: list[str]
    method: dict[str, Any]
    stepper: dict[str, Any]
    log_bytes: int
    seconds: float
    wall_seconds: float
    unvalidated: bool = False

    def save(self, folder: Path) -> None:
        """Replace the checkpoint in `folder` atomically."""
        try:
            with replacing(folder / CHECKPOINT) as partial:
                torch.save(dict(vars(self)), partial)
        except RuntimeError as error:  # torch reports a failed write like this
            reason = str(error).splitlines()[0]
            raise ObjbenchError(
                f"{folder / CHECKPOINT}: could not be written, is the disk full? ({reason}); "
                "the same command resumes from the previous checkpoint"
            ) from error


def load_checkpoint(folder: Path) -> Checkpoint | None:
    """The checkpoint in `folder`, on the CPU, or None if there is none.

    Raises:
        ObjbenchError: The file is damaged.
    """
    path = folder / CHECKPOINT
    if not path.exists():
        return None
    try:
        return Checkpoint(**torch.load(path, map_location="cpu", weights_only=True))
    except (RuntimeError, EOFError, TypeError, ValueError, pickle.UnpicklingError):
        raise ObjbenchError(f"{path}: damaged checkpoint; --fresh starts this seed again") from None


def save_weights(method: Method, folder: Path) -> None:
    """Write all tensors of the method's state to model.safetensors; other state stays in the checkpoint."""
    tensors = {
        name: value.detach().cpu().clone().contiguous()
        for name, value in method.state_dict().items()
        if isinstance(value, Tensor)
    }
    with replacing(folder / WEIGHTS) as partial:
        partial.write_bytes(save(tensors))


def load_weights(method: Method, folder: Path) -> None:
    """Load the saved weights into the method, and its other state from the checkpoint.

    Raises:
        ObjbenchError: A file is missing, damaged or of another configuration.
    """
    path = folder / WEIGHTS
    if not path.exists():
        raise ObjbenchError(f"{path}: no such file; is the run finished?")
    try:
        state: dict[str, Any] = dict(load_file(path))
    except (SafetensorError, OSError) as error:
        raise ObjbenchError(f"{path}: damaged ({error}); run the seed again with --fresh") from None
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
