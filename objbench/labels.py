"""Label maps: from soft masks, by the arg-max over planes, and how many objects they show."""

from __future__ import annotations

import torch
from torch import Tensor

from objbench.errors import ObjbenchError


def hard_labels(masks: Tensor) -> Tensor:
    """The plane with the largest mask at each pixel; of equal planes the first.

    Args:
        masks: float (B,M,H,W). Infinities are ordinary values, so logits and log-masks are allowed.

    Returns:
        (B,H,W), uint8 for up to 256 planes, else int64.

    Raises:
        ObjbenchError: A mask is NaN; the message names the position of the image in the batch.
    """
    B, M, H, W = masks.shape
    labels = torch.zeros((B, H, W), dtype=torch.uint8 if M <= 256 else torch.int64, device=masks.device)
    # On a CPU one image at a time: it stays in the cache, and no thread waits for another one on a busy machine.
    size = 1 if masks.device.type == "cpu" else B
    blocks = zip(torch.split(masks, size), torch.split(labels, size), strict=True)
    undefined = torch.cat([_running_argmax(planes, out) for planes, out in blocks])
    if undefined.any():
        image = int(undefined.nonzero()[0])
        raise ObjbenchError(
            f"the predicted masks of image {image} of the batch hold NaN (masks of shape {tuple(masks.shape)}); "
            f"{int(undefined.sum())} of {B} images are affected; did the training diverge?"
        )
    return labels


def _running_argmax(masks: Tensor, labels: Tensor) -> Tensor:
    """Write the arg-max over planes into `labels`, zeros (B,H,W). Returns bool (B,): which images hold NaN.

    It works plane by plane, because a reduction over a strided axis takes about ten times as long.
    """
    first, *others = masks.detach().unbind(1)
    best = first.clone()
    larger = torch.empty_like(labels)
    for m, plane in enumerate(others, start=1):
        torch.gt(plane, best, out=larger)
        torch.maximum(labels, larger.mul_(m), out=labels)
        torch.maximum(best, plane, out=best)  # carries NaN along
    return best.isnan().flatten(1).any(1)


def count_visible(labels: Tensor) -> Tensor:
    """The number of objects (labels above 0) in each label map (B,...), of which there may be none: int64 (B,).

    >>> count_visible(torch.tensor([[0, 1, 3], [0, 2, 2]])).tolist()
    [2, 1]
    """
    flat = labels.flatten(1).long()
    largest = int(flat.max()) if flat.numel() else 0
    present = torch.zeros(len(flat), largest + 1, dtype=torch.bool, device=flat.device)
    return present.scatter_(1, flat, True)[:, 1:].sum(1)
