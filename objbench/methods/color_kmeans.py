"""k-means on the RGB values of each image: what colour alone is worth."""

from __future__ import annotations

import numpy as np
import torch
from pydantic import Field
from sklearn.cluster import KMeans
from torch import Tensor

from objbench.data.scene import Array
from objbench.methods.base import Method, Progress, Segmentation, Stage
from objbench.methods.parts.plane_moments import plane_moments
from objbench.spec.settings import Count, Group


class Model(Group):
    """How scikit-learn fits."""

    initializations: Count = Field(description="random starts, of which the best one counts")
    iterations: Count = Field(description="most iterations of each start")


class ColorKMeans(Method):
    """scikit-learn's KMeans with one cluster per slot, fitted to the pixels of each image by itself.

    Pixels of the same colour are one weighted point, which gives the same objective and is many times faster on flat
    images. An image with fewer colours than slots gets one cluster per colour.
    """

    class Settings(Method.Settings):
        """The keys of its block in benchmarks.yaml."""

        model: Model

    settings: Settings
    any_slots = True

    def stages(self) -> list[Stage]:
        """Nothing to train."""
        return []

    def segment(self, images: Tensor, progress: Progress | None = None) -> Segmentation:
        """Cluster indices as labels, cluster centres as reconstruction, colour and place of each cluster as slots."""
        pixels = (images * 255).round().to(torch.uint8).permute(0, 2, 3, 1).cpu().numpy()  # B,H,W,3
        seeds = self.image_seeds(len(images)).tolist()
        labels, colors = np.empty(pixels.shape[:3], np.int64), np.empty(pixels.shape, np.float32)
        for row, (of_image, seed) in enumerate(zip(pixels, seeds, strict=True)):
            labels[row], colors[row] = self._cluster(of_image, seed)
        label_map = torch.from_numpy(labels).to(images.device)
        painted = torch.from_numpy(colors).permute(0, 3, 1, 2)  # B,3,H,W
        slots = plane_moments(images, label_map, self.slots)
        return Segmentation(labels=label_map, reconstruction=painted.to(images), slots=slots)

    def _cluster(self, pixels: Array, seed: int) -> tuple[Array, Array]:
        packed = pixels.astype(np.int32) @ np.array([65536, 256, 1], np.int32)
        values, inverse, counts = np.unique(packed, return_inverse=True, return_counts=True)
        colors = np.stack([values >> 16, values >> 8 & 255, values & 255], 1) / 255
        model = KMeans(
            n_clusters=min(self.slots, len(values)),
            n_init=self.settings.model.initializations,
            max_iter=self.settings.model.iterations,
            random_state=seed % 2**32,
        ).fit(colors, sample_weight=counts)
        labels = model.labels_[inverse].reshape(packed.shape)
        return labels, model.cluster_centers_[labels]
