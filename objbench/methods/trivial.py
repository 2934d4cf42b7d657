"""Baselines whose segments ignore the image: one segment, and a grid. Their slots are colour and place of each segment."""

from __future__ import annotations

import torch
from torch import Tensor

from objbench.methods.base import Method, Progress, Segmentation, Stage
from objbench.methods.parts.plane_moments import plane_moments


class OneSlot(Method):
    """The whole image is one segment: the floor of ARI and ARI-FG, and the score of a collapsed model."""

    def stages(self) -> list[Stage]:
        """Nothing to train."""
        return []

    def segment(self, images: Tensor, progress: Progress | None = None) -> Segmentation:
        """Label 0 everywhere; the reconstruction is each image's mean colour."""
        labels = images.new_zeros(len(images), *images.shape[2:], dtype=torch.int64)
        mean = images.mean((2, 3), keepdim=True).expand_as(images)
        return Segmentation(labels=labels, reconstruction=mean, slots=plane_moments(images, labels, 1))


class Grid(Method):
    """K rectangular cells, as near square as K allows: what position alone is worth."""

    any_slots = True

    def stages(self) -> list[Stage]:
        """Nothing to train."""
        return []

    def segment(self, images: Tensor, progress: Progress | None = None) -> Segmentation:
        """Rows of equal height, each cut into equal columns, K cells in all."""
        labels = grid_labels(images.shape[2], images.shape[3], self.slots).to(images.device)
        labels = labels.expand(len(images), -1, -1)
        return Segmentation(labels=labels, slots=plane_moments(images, labels, self.slots))


def grid_labels(height: int, width: int, cells: int) -> Tensor:
    """int64 (height, width): `cells` cells in round(sqrt(cells)) rows; where these differ, later rows have more cells.

    >>> grid_labels(2, 4, 4).tolist()
    [[0, 0, 1, 1], [2, 2, 3, 3]]
    """
    rows = round(cells**0.5)
    labels = torch.empty(height, width, dtype=torch.int64)
    y, x = torch.arange(height), torch.arange(width)
    row_of = y * rows // height
    for row in range(rows):
        first, last = row * cells // rows, (row + 1) * cells // rows
        labels[row_of == row] = first + x * (last - first) // width
    return labels
