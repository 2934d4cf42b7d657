"""Remedies against failing seeds of objmae, one key each; with their defaults the model is objmae itself.

The study that used them is in docs/miniatures.md, its runs are beside this file:
objbench run ./remedies.py:Remedies --dataset tetrominoes@aligned --set schedule.entropy_start=150
"""

from __future__ import annotations

import torch
from pydantic import Field
from torch import Tensor, nn

from objbench.methods.base import Progress, Segmentation
from objbench.spec.settings import CountOrZero, Positive
from objbench.train.cuda_graph import CudaGraphStepper
from objmae.fast import FastLoss
from objmae.method import ObjMAE
from objmae.model import Autoencoder
from objmae.schedule import Schedule


class RemedySchedule(Schedule):
    """The schedule of objmae, whose noise may end later and whose entropies may begin later."""

    noise_end: CountOrZero = Field(
        0, description="nominal epoch to which noise on tokens falls; 0: as objmae"
    )
    entropy_start: CountOrZero = Field(
        0, description="nominal epoch at which entropies rise; 0: warmup_epochs"
    )
    identity: bool = Field(
        True, description="whether tokens are told apart by their own values, not by noise"
    )

    def noise(self, epoch: int) -> float:
        """Deviation of the noise: falling to `noise_end`, or 1 throughout for tokens that only noise tells apart."""
        if not self.identity:
            return 1.0
        if not self.noise_end:
            return super().noise(epoch)
        return self.token_noise * max(0.0, 1 - epoch / self.noise_end)

    def entropy_weights(self, epoch: int) -> tuple[float, float]:
        """As objmae, with ramps that begin at `entropy_start`."""
        start = self.entropy_start or self.warmup_epochs
        f = min(max(epoch - start, 0), self.ramp_end - start) / (self.ramp_end - start)
        return (
            self.pixel_entropy + f * (self.final_pixel_entropy - self.pixel_entropy),
            self.object_entropy + f * (self.final_object_entropy - self.object_entropy),
        )


class SharedTokens(Autoencoder):
    """The network with one vector for all class tokens: only noise tells them apart."""

    def share(self, deviation: float, learned: bool) -> None:
        """Replace the K tokens by one, with the first `deviation` of its noise."""
        del self._parameters["class_tokens"]
        width = self.settings.width
        self.shared_token = nn.Parameter(0.002 * torch.randn(width))
        self.log_deviation = nn.Parameter(torch.full((width,), deviation).log(), requires_grad=learned)

    @property
    def class_tokens(self) -> Tensor:
        """(K,D), all the same."""
        if "class_tokens" in self._parameters:
            return self._parameters["class_tokens"]
        return self.shared_token.expand(self.slots, -1)


class Remedies(ObjMAE):
    """objmae with one remedy, or more."""

    class Settings(ObjMAE.Settings):
        """The keys of objmae, and the remedies'."""

        schedule: RemedySchedule
        token_deviation: Positive = Field(1.0, description="(first) deviation of the noise without identity")
        learned_deviation: bool = Field(False, description="whether it is learned, for each channel")

    def __init__(self, image_shape: tuple[int, int, int], slots: int, settings: Settings) -> None:
        super().__init__(image_shape, slots, settings)
        self._identity = settings.schedule.identity
        if not self._identity:
            self.model = SharedTokens(settings.model, image_shape[1:], slots)
            self.model.share(settings.token_deviation, settings.learned_deviation)

    def _own_normal(self, images: Tensor, *shape: int) -> Tensor:
        drawn = self.normal(images, *shape)
        return drawn if self._identity else drawn * self.model.log_deviation.exp()

    def _token_noise(self, images: Tensor, deviation: float) -> Tensor | None:
        if deviation == 0:
            return None
        return deviation * self._own_normal(images, *self.model.class_tokens.shape)

    def stepper(self, scenes, stage):
        """The fast path, with the noise of this file."""
        if not scenes.images.is_cuda and stage.precision != "bf16":
            return None
        loss = FastLoss(self.model, self.settings.schedule, self._own_normal)
        return CudaGraphStepper(self, scenes, stage, loss)

    def segment(self, images: Tensor, progress: Progress | None = None) -> Segmentation:
        """As objmae; tokens without identity are drawn for each image."""
        if self._identity:
            return super().segment(images, progress)
        noise = self._own_normal(images, *self.model.class_tokens.shape)
        encode = self.model.encode
        self.model.encode = lambda patches, ids, _: encode(patches, ids, noise)
        try:
            return super().segment(images, progress)
        finally:
            del self.model.encode
