"""The training images on the device and the batches made of them, which depend on seed and step alone."""

from __future__ import annotations

import torch
from torch import Tensor

from objbench.errors import RequestError
from objbench.methods.base import Progress, Stage
from objbench.random import seed_from
from objbench.ranks.group import ALONE, Ranks
from objbench.ranks.share import share_of

SETUP_IMAGES = 1024


class StageScenes:
    """The TrainingScenes of one stage. Images are shuffled in each epoch; its last, incomplete batch is dropped.

    Attributes:
        share: What this process has of each batch; None if it has all.
    """

    def __init__(
        self, images: Tensor, stage: Stage, nominal_epochs: int, seed: int, ranks: Ranks = ALONE
    ) -> None:
        self.images, self.stage, self.seed = images, stage, seed
        self.share = share_of(ranks, stage.batch_size)
        self.nominal_epochs = nominal_epochs
        self.steps_per_epoch = len(images) // stage.batch_size
        if self.steps_per_epoch == 0:
            raise RequestError(
                f"a batch of {stage.batch_size} cannot be made of {len(images)} training scenes: "
                f"use --set recipe.batch_size={len(images)} or less"
            )
        stage.check_length()
        self.steps = stage.steps or (stage.epochs or 0) * self.steps_per_epoch
        self._epoch, self._order = -1, torch.empty(0, dtype=torch.int64)

    def batch(self, step: int) -> Tensor:
        """Indices int64 (B,) of the batch of `step`, or of this process's share of it, on the images' device."""
        epoch, position = divmod(step, self.steps_per_epoch)
        if epoch != self._epoch:
            generator = torch.Generator().manual_seed(seed_from(self.seed, "order", self.stage.name, epoch))
            order = torch.randperm(len(self.images), generator=generator)
            self._epoch, self._order = epoch, order.to(self.images.device)
        size = self.stage.batch_size
        start, stop = (0, size) if self.share is None else (self.share.start, self.share.stop)
        return self._order[position * size + start : position * size + stop]

    def reseed(self, step: int, stream: str = "step") -> None:
        """Seed the default generators of the CPU and of the images' device.

        It does what torch.manual_seed does, without the third of a millisecond that that spends on looking for other
        devices.

        Args:
            step: The seed is a function of this step,
            stream: and of what the random numbers are for.
        """
        seed = seed_from(self.seed, stream, self.stage.name, step)
        torch.default_generator.manual_seed(seed)
        if self.images.is_cuda:
            device = self.images.device.index
            torch.cuda.default_generators[device].manual_seed(seed)

    def progress(self, step: int) -> Progress:
        """The progress at the beginning of `step`."""
        epoch = step // self.steps_per_epoch
        return Progress(self.stage.name, step, self.steps, epoch, self.nominal_epochs)

    def setup_sample(self) -> Tensor:
        """Up to SETUP_IMAGES random training images as float (n,3,H,W) in [0,1]. Also seeds torch for the setup."""
        return setup_sample(self.images, self.seed, self.stage)


def setup_sample(images: Tensor, seed: int, stage: Stage) -> Tensor:
    """Up to SETUP_IMAGES random ones of uint8 images (N,3,H,W) as float (n,3,H,W) in [0,1]. Also seeds torch for the setup."""
    key = seed_from(seed, "setup", stage.name)
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(key))
    torch.manual_seed(key)
    return unit_range(images[order[:SETUP_IMAGES].to(images.device)])


def unit_range(images: Tensor) -> Tensor:
    """uint8 images as float32 in [0,1]."""
    return images.float().div_(255)
