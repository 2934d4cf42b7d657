"""A remedy against failing seeds of objmae: in training, class tokens are left out of some images.

The study is in docs/miniatures.md:
objbench run ./token_drop.py:TokenDrop --dataset tetrominoes@aligned --set token_drop=0.25
"""

from __future__ import annotations

import math
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from objbench.methods.base import Losses, Progress
from objmae.method import ObjMAE
from objmae.model import Autoencoder, Prediction

NEVER = -1e4  # a logit


class Dropping(Autoencoder):
    """The network, in which the slots `dropped` (B,K) own no patch and no pixel."""

    dropped: Tensor | None = None

    def forward(self, patches: Tensor, ids: Tensor, noise: Tensor | None = None) -> Prediction:
        """As objmae where nothing is dropped."""
        if self.dropped is None:
            return super().forward(patches, ids, noise)
        out = NEVER * self.dropped.float()  # (B,K)
        classes, kept = self.encode(patches, ids, noise)  # (B,K,D), (B,n,D)
        scores = kept @ classes.mT / math.sqrt(classes.shape[2])  # (B,n,K)
        log_attention = (scores + out[:, None]).log_softmax(dim=2)
        attention = log_attention.exp()
        slots = (attention / (attention.sum(dim=1, keepdim=True) + 1e-8)).mT @ kept
        seen = log_attention.clamp_min(-20.0)  # what the decoder gets of a dropped slot does not matter
        rgb, log_masks = self.decode(self.broadcast(slots, seen, ids))
        log_masks = (log_masks + out[:, :, None, None]).log_softmax(dim=1)
        return Prediction(rgb, log_masks, slots, log_attention)


class TokenDrop(ObjMAE):
    """objmae with class tokens that are left out at random, each in a share of the images, never all."""

    class Settings(ObjMAE.Settings):
        """The keys of objmae, and the share."""

        token_drop: Annotated[float, Field(ge=0, lt=1)] = Field(
            0.25, description="share of the images in which a class token is left out"
        )

    def __init__(self, image_shape: tuple[int, int, int], slots: int, settings: Settings) -> None:
        super().__init__(image_shape, slots, settings)
        self.model = Dropping(settings.model, image_shape[1:], slots)

    def stepper(self, scenes, stage):
        """The plain step, whose network this file changes."""
        return None

    def training_loss(self, images: Tensor, progress: Progress) -> Losses:
        """As objmae, with dropped tokens."""
        drawn = self.drawn(len(images), lambda count: torch.rand(count, self.slots, device=images.device))
        self.model.dropped = (drawn < self.settings.token_drop) & (drawn < drawn.amax(1, keepdim=True))
        try:
            return super().training_loss(images, progress)
        finally:
            self.model.dropped = None
