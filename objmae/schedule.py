"""The schedules of objmae's training as functions of the nominal epoch (0-based; the paper has 330)."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Annotated

from pydantic import Field, model_validator

from objbench.spec.explain import refusal
from objbench.spec.settings import Count, CountOrZero, Group, PositiveOrZero


class Schedule(Group):
    """All ramps start after `warmup_epochs` and end at `ramp_end`; the epochs from there on are the cool-down."""

    warmup_epochs: CountOrZero = Field(description="nominal epochs before the ramps begin")
    learning_rate_warmup: CountOrZero = Field(
        description="nominal epochs in which the learning rate rises (in the paper as many as warmup_epochs)"
    )
    ramp_end: Count = Field(
        description="nominal epoch from which on mask ratio, entropy weights and learning rate are final"
    )
    learning_rate: PositiveOrZero = Field(description="highest learning rate")
    final_learning_rate: PositiveOrZero = Field(description="first and last learning rate")
    mask_ratio: Annotated[float, Field(ge=0, lt=1)] = Field(
        description="share of the patches dropped in the warm-up; falls to 0"
    )
    token_noise: PositiveOrZero = Field(
        description="standard deviation of the noise on class tokens, in the warm-up only"
    )
    pixel_entropy: PositiveOrZero = Field(description="weight of the pixel entropy in the warm-up")
    final_pixel_entropy: PositiveOrZero = Field(description="weight of the pixel entropy after the ramp")
    object_entropy: PositiveOrZero = Field(description="weight of the object entropy in the warm-up")
    final_object_entropy: PositiveOrZero = Field(description="weight of the object entropy after the ramp")

    @model_validator(mode="after")
    def _warm_up_before_the_end(self) -> Schedule:
        for key in ("warmup_epochs", "learning_rate_warmup"):
            if getattr(self, key) >= self.ramp_end:
                expected = f"less than schedule.ramp_end={self.ramp_end}"
                raise refusal(f"schedule.{key}", expected, getattr(self, key))
        return self

    def rate(self, epoch: int) -> float:
        """Learning rate: linear warm-up, cosine to `ramp_end` (its phase counts from epoch 0), then constant."""
        low, high = self.final_learning_rate, self.learning_rate
        if epoch < self.learning_rate_warmup:
            return low + (high - low) * epoch / self.learning_rate_warmup
        if epoch < self.ramp_end:
            return low + (high - low) * (1 + math.cos(math.pi * epoch / self.ramp_end)) / 2
        return low

    def ramp(self, epoch: int) -> Fraction:
        """Position between the values of the warm-up and the final ones: 0 in the warm-up, 1 from `ramp_end` on."""
        length = self.ramp_end - self.warmup_epochs
        return Fraction(min(max(epoch - self.warmup_epochs, 0), length), length)

    def kept_patches(self, epoch: int, patches: int) -> int:
        """The number of patches of an image that the encoder sees: the floor of N (1 - ratio), computed exactly."""
        ratio = Fraction(str(self.mask_ratio)) * (1 - self.ramp(epoch))
        return math.floor(patches * (1 - ratio))

    def entropy_weights(self, epoch: int) -> tuple[float, float]:
        """Weights of the pixel entropy and of the object entropy."""
        f = float(self.ramp(epoch))
        return (
            self.pixel_entropy + f * (self.final_pixel_entropy - self.pixel_entropy),
            self.object_entropy + f * (self.final_object_entropy - self.object_entropy),
        )

    def noise(self, epoch: int) -> float:
        """Standard deviation of the noise on class tokens: on up to and including epoch `warmup_epochs`."""
        return self.token_noise if epoch <= self.warmup_epochs else 0.0
