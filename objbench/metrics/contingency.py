"""The contingency table: how many pixels each pair of predicted and true planes shares."""

from __future__ import annotations

import torch
from torch import Tensor

from objbench.errors import ObjbenchError

MAX_PLANES = 1024  # a table of 1024 x 1024 counts takes 8 MiB per image


def contingency(pred: Tensor, true: Tensor, n_pred: int | None = None, n_true: int | None = None) -> Tensor:
    """The number of pixels shared by predicted plane p and true plane t, for every image: int64 (B,P,T).

    Args:
        pred: uint8 or signed integer label maps (B,H,W); gaps in the labels are empty planes.
        true: The same, on the same device.
        n_pred: P, at most 1024; by default the largest label of the batch + 1.
        n_true: T, likewise.

    Raises:
        ObjbenchError: These are no such maps of one shape, there is no pixel, or a label does not fit.

    Example:
        >>> pred, true = torch.tensor([[[0, 0], [2, 2]]]), torch.tensor([[[0, 1], [1, 1]]])
        >>> contingency(pred, true)
        tensor([[[1, 1],
                 [0, 0],
                 [0, 2]]])
    """
    if (
        pred.shape != true.shape
        or pred.ndim != 3
        or not pred.numel()
        or pred.is_floating_point()
        or true.is_floating_point()
    ):
        found = " and ".join(
            f"{str(of.dtype).removeprefix('torch.')} {tuple(of.shape)}" for of in (pred, true)
        )
        raise ObjbenchError(
            f"pred and true must be integer label maps (B,H,W) of one shape with pixels; found {found}"
        )
    P, T = count_planes("pred", pred, n_pred), count_planes("true", true, n_true)
    B, cells = len(pred), P * T
    if pred.device.type == "cpu":
        # Image by image: each fits the cache, and no thread waits for another one on a busy machine.
        codes = (_cell(p, t, T, cells) for p, t in zip(pred.flatten(1), true.flatten(1), strict=True))
        return torch.stack([torch.bincount(code, minlength=cells) for code in codes]).view(B, P, T)
    code = _cell(pred, true, T, cells).flatten(1)
    wide = torch.int32 if B * cells < 2**31 else torch.int64
    first_cell = torch.arange(0, B * cells, cells, dtype=wide, device=pred.device).view(B, 1)
    return torch.bincount((first_cell + code).flatten(), minlength=B * cells).view(B, P, T)


def _cell(pred: Tensor, true: Tensor, T: int, cells: int) -> Tensor:
    """The cell of each pixel, in the narrowest sufficient dtype: memory traffic is most of the cost."""
    narrow = torch.uint8 if cells < 256 else torch.int32
    return pred.to(narrow) * T + true.to(narrow)


def count_planes(side: str, labels: Tensor, planes: int | None = None) -> int:
    """The number of planes of `labels`: `planes` if given, else the largest label + 1.

    Args:
        side: The name of the tensor in messages.
        labels: Integer label maps.
        planes: The number of planes that the labels must fit.

    Raises:
        ObjbenchError: A label is negative, or too large for `planes` or for 1024 planes.
    """
    if labels.device.type == "cpu":  # numpy uses one thread, see `contingency`
        low, high = int(labels.numpy().min()), int(labels.numpy().max())
    else:
        low, high = (int(extreme) for extreme in labels.aminmax())
    limit = MAX_PLANES if planes is None else min(planes, MAX_PLANES)
    if low < 0 or high >= limit:
        raise ObjbenchError(
            f"{side} holds labels from {low} to {high}; expected 0 to {limit - 1}"
            " (0 is the background, and no negative label marks pixels to be ignored)"
        )
    return high + 1 if planes is None else planes
