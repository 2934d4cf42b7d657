"""What changes while objmae learns, as a function of the nominal epoch (0-based; 330 of them in the paper)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction

from objbench.errors import RequestError


@dataclass(frozen=True)
class Schedule:
    """The keys of `schedule` in benchmarks.yaml.

    All ramps start after `warmup_epochs` and end at `ramp_end`; the epochs from there on are the cool-down. The
    learning rate warms up in `learning_rate_warmup` epochs (in the paper as many).
    """

    warmup_epochs: int
    learning_rate_warmup: int
    ramp_end: int
    learning_rate: float  # highest
    final_learning_rate: float  # first and last
    mask_ratio: float  # share of patches dropped in warm-up
    token_noise: float  # standard deviation, in warm-up
    pixel_entropy: float  # weight in warm-up
    final_pixel_entropy: float
    object_entropy: float
    final_object_entropy: float

    def __post_init__(self) -> None:
        if not 0 <= self.warmup_epochs < self.ramp_end:
            raise RequestError(
                f"schedule.warmup_epochs={self.warmup_epochs} must be at least 0 and less than "
                f"schedule.ramp_end={self.ramp_end}"
            )
        if not 0 <= self.learning_rate_warmup < self.ramp_end:
            raise RequestError(
                f"schedule.learning_rate_warmup={self.learning_rate_warmup} must be at least 0 and less than "
                f"schedule.ramp_end={self.ramp_end}"
            )
        rates = (self.learning_rate, self.final_learning_rate)
        if not all(0 <= rate < math.inf for rate in rates):
            raise RequestError(f"schedule: learning rates must be finite and not negative, found {rates}")
        if not 0 <= self.mask_ratio < 1:
            raise RequestError(f"schedule.mask_ratio={self.mask_ratio} must be at least 0 and less than 1")

    def rate(self, epoch: int) -> float:
        """Learning rate: linear warm-up, cosine to `ramp_end` (its phase counts from epoch 0), then constant."""
        low, high = self.final_learning_rate, self.learning_rate
        if epoch < self.learning_rate_warmup:
            return low + (high - low) * epoch / self.learning_rate_warmup
        if epoch < self.ramp_end:
            return low + (high - low) * (1 + math.cos(math.pi * epoch / self.ramp_end)) / 2
        return low

    def ramp(self, epoch: int) -> Fraction:
        """Part of the way from the warm-up's values to the final ones: 0 in warm-up, 1 from `ramp_end` on."""
        length = self.ramp_end - self.warmup_epochs
        return Fraction(min(max(epoch - self.warmup_epochs, 0), length), length)

    def kept_patches(self, epoch: int, patches: int) -> int:
        """How many of an image's patches the encoder sees: the floor of N (1 - ratio), in exact arithmetic."""
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
