"""From soft masks to a label map: the arg-max over planes."""

from __future__ import annotations

import torch
from torch import Tensor

from objbench.errors import ObjbenchError


def hard_labels(masks: Tensor) -> Tensor:
    """The plane with the largest mask at each pixel, the lowest one where several are equal.

    masks float (B,M,H,W) -> uint8 (B,H,W) for up to 256 planes, int64 beyond. Infinities are ordinary values, so
    logits and log-masks will do. A NaN anywhere: ObjbenchError with the position of the image in the batch.
    """
    B, M, H, W = masks.shape
    labels = torch.zeros((B, H, W), dtype=torch.uint8 if M <= 256 else torch.int64, device=masks.device)
    # On a CPU image by image: each stays in the cache, and no thread waits for another on a busy machine.
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
    """Write the arg-max over planes into `labels`, zeros (B,H,W); returns which images hold NaN, bool (B,).

    Plane by plane, because a reduction over a strided axis costs about ten times as much.
    """
    first, *others = masks.detach().unbind(1)
    best = first.clone()
    larger = torch.empty_like(labels)
    for m, plane in enumerate(others, start=1):
        torch.gt(plane, best, out=larger)
        torch.maximum(labels, larger.mul_(m), out=labels)
        torch.maximum(best, plane, out=best)  # carries NaN along
    return best.isnan().flatten(1).any(1)
