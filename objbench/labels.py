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
    # A running maximum over contiguous planes: a reduction over a strided axis costs about ten times as much.
    best = masks[:, 0].clone()
    labels = torch.zeros((B, H, W), dtype=torch.uint8 if M <= 256 else torch.int64, device=masks.device)
    for m in range(1, M):
        plane = masks[:, m]
        labels = torch.maximum(labels, plane.gt(best).to(labels.dtype).mul_(m))
        torch.maximum(best, plane, out=best)  # carries NaN along
    undefined = best.isnan().flatten(1).any(1)
    if undefined.any():
        image = int(undefined.nonzero()[0])
        raise ObjbenchError(
            f"the predicted masks of image {image} of the batch hold NaN (masks of shape {tuple(masks.shape)}); "
            f"{int(undefined.sum())} of {B} images are affected; did the training diverge?"
        )
    return labels
