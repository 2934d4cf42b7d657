"""Checkpoints and weights on disk: written completely or not at all, read without executing any code."""

from __future__ import annotations

import zipfile
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load, save
from torch import Tensor

from objbench.errors import ObjbenchError, brief, is_of_the_content, lines_of
from objbench.files import replacing, sha256_of
from objbench.methods.base import Method
from objbench.os_errors import naming

_LEAVES = (bool, int, float, complex, str, bytes, type(None), torch.Size, torch.dtype, torch.device)
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
        environments: Those of the processes that trained, in order.
        seed: Of the training.
    """

    stage: int
    step: int
    trainable: list[str]
    method: dict[str, Any]
    stepper: dict[str, Any]
    log_bytes: int
    seconds: float
    wall_seconds: float
    unvalidated: bool
    environments: list[dict[str, str]]
    seed: int

    def save(self, folder: Path) -> None:
        """Replace the checkpoint in `folder` atomically.

        Raises:
            ObjbenchError: It holds what could not be read again, or the disk is full.
        """
        if unreadable := _unreadable(vars(self)):
            place, kind = unreadable
            raise ObjbenchError(
                f"the state of the training holds a {kind} ({place}), which could not be read from a checkpoint again: "
                "expected tensors, numbers, texts, and lists and dicts of these (float() of a number of numpy is one)"
            )
        try:
            with replacing(folder / CHECKPOINT) as partial:
                torch.save(dict(vars(self)), partial)
        except RuntimeError as error:  # torch reports a failed write like this
            reason = lines_of(error)[0]
            raise ObjbenchError(
                f"{folder / CHECKPOINT}: could not be written, is the disk full? ({reason}); "
                + (
                    "the same command resumes from the previous checkpoint"
                    if (folder / CHECKPOINT).exists()
                    else "there is no earlier checkpoint"
                )
            ) from error


def _unreadable(value: Any, place: str = "") -> tuple[str, str] | None:
    """Place and type of the first value of a state that `torch.load(weights_only=True)` refuses; None if there is none."""
    if isinstance(value, Tensor) or type(value) in _LEAVES:
        return None
    if type(value) in (dict, OrderedDict):
        pairs = value.items()
    elif type(value) in (list, tuple, set):
        pairs = enumerate(value)
    else:
        return place, f"{type(value).__module__}.{type(value).__qualname__}".removeprefix("builtins.")
    inside = (_unreadable(one, f"{place}.{name}" if place else str(name)) for name, one in pairs)
    return next(filter(None, inside), None)


def load_checkpoint(folder: Path, seed: int | None = None) -> Checkpoint | None:
    """The checkpoint in `folder`, on the CPU, or None if there is none.

    Args:
        folder: Of the run.
        seed: Of the training that goes on with it; None if none does.

    Raises:
        ObjbenchError: The file is damaged, of another version, or of another seed.
        OSError: The file cannot be read; it is the filename.
    """
    path = folder / CHECKPOINT
    if not path.exists():
        return None
    try:
        with naming(path):
            _check_archive(path)
            found = Checkpoint(**torch.load(path, map_location="cpu", weights_only=True))
    except Exception as error:  # damaged files raise errors of every kind
        if not is_of_the_content(error):
            raise
        raise unusable_checkpoint(folder, error) from error
    if seed is not None and found.seed != seed:
        raise ObjbenchError(
            f"{path}: of seed {found.seed}, not of seed {seed}; --fresh starts this seed anew"
        )
    return found


def _check_archive(path: Path) -> None:
    """Raise ValueError where torch would load other content without a word: it trusts the archive's directory."""
    with zipfile.ZipFile(path) as file:
        damaged = file.testzip()
        if damaged is not None:
            raise ValueError(f"the checksum of {damaged} is wrong")
        for entry in file.infolist():
            if entry.external_attr:  # 16 makes it a folder, which torch reads as zeros
                raise ValueError(f"the attributes of {entry.filename} are wrong")


def unusable_checkpoint(folder: Path, error: Exception) -> ObjbenchError:
    """The error for a checkpoint that cannot be loaded, or that does not fit the method."""
    return ObjbenchError(
        f"{folder / CHECKPOINT}: damaged or of another version ({brief(error)}); --fresh starts this seed anew"
    )


def infinite_tensor(method: Method, stepper: dict[str, Any]) -> str | None:
    """The name of a parameter, or of a tensor in the stepper's state, that is NaN or infinite; None if all are finite."""
    named: list[tuple[str, Tensor]] = [
        (f"parameter {name}", value.detach()) for name, value in method.named_parameters()
    ]
    named += [(f"optimizer state {name}", value) for name, value in _tensors("", stepper)]
    named = [(name, value) for name, value in named if value.is_floating_point()]
    if not named:
        return None
    device = named[0][1].device
    finite = torch.stack([value.isfinite().all().to(device) for _, value in named]).tolist()
    return next((name for (name, _), good in zip(named, finite, strict=True) if not good), None)


def _tensors(prefix: str, state: Any) -> Iterator[tuple[str, Tensor]]:
    """The tensors in nested mappings and lists, under dotted names."""
    if isinstance(state, Tensor):
        yield prefix, state
    elif isinstance(state, dict | list | tuple):
        for key, value in state.items() if isinstance(state, dict) else enumerate(state):
            yield from _tensors(f"{prefix}.{key}" if prefix else str(key), value)


def save_weights(method: Method, folder: Path) -> str:
    """Write all tensors of the method's state to model.safetensors; other state stays in the checkpoint.

    Returns:
        The sha256 of the file.
    """
    tensors = {
        name: value.detach().cpu().clone().contiguous()
        for name, value in method.state_dict().items()
        if isinstance(value, Tensor)
    }
    with replacing(folder / WEIGHTS) as partial:
        partial.write_bytes(save(tensors))
        return sha256_of(partial)


def load_weights(method: Method, folder: Path, sha256: str | None) -> None:
    """Load the saved weights into the method, and its other state from the checkpoint.

    Args:
        method: The method.
        folder: The folder of the run.
        sha256: What the file of the weights must have; None if the record does not know it.

    Raises:
        ObjbenchError: A file is missing, damaged or of another configuration.
        OSError: A file cannot be read; it is the filename.
    """
    path = folder / WEIGHTS
    if not path.exists():
        raise ObjbenchError(
            f"{path}: no such file: the weights were not kept beside the record; run the seed again with --fresh"
        )
    if sha256 is not None and sha256_of(path) != sha256:
        raise ObjbenchError(
            f"{path}: not the weights of this record (its sha256 is not {sha256[:12]}...); run the seed again with "
            "--fresh"
        )
    try:
        with naming(path):
            state: dict[str, Any] = dict(load(path.read_bytes()))  # load_file takes no name that is not UTF-8
    except Exception as error:  # torch's own errors, too
        if not is_of_the_content(error):
            raise
        raise ObjbenchError(f"{path}: damaged ({brief(error)}); run the seed again with --fresh") from error
    expected = method.state_dict()
    extra = [name for name, value in expected.items() if not isinstance(value, Tensor)]
    if extra:
        checkpoint = load_checkpoint(folder)
        if checkpoint is None:
            raise ObjbenchError(f"{folder / CHECKPOINT}: missing; it holds the state of {', '.join(extra)}")
        missing = [name for name in extra if name not in checkpoint.method]
        if missing:
            raise unusable_checkpoint(folder, ValueError(f"no state of {', '.join(missing)}"))
        state |= {name: checkpoint.method[name] for name in extra}
    try:
        method.load_state_dict(state)
    except Exception as error:
        if not is_of_the_content(error):
            raise
        raise ObjbenchError(
            f"{path}: weights of another configuration or version ({brief(error)}); run the seed again with --fresh"
        ) from error
