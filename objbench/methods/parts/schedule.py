"""Learning rates as functions of the training step."""

from __future__ import annotations

import math
from typing import Annotated

from pydantic import Field

from objbench.methods.base import Progress
from objbench.spec.settings import Count, CountOrZero, Group, PositiveOrZero


class ConstantRate(Group):
    """One rate."""

    learning_rate: PositiveOrZero = Field(description="learning rate, the same throughout the training")

    def __call__(self, progress: Progress) -> float:
        """The rate of the step that is about to be taken."""
        return self.learning_rate


class ExponentialDecay(Group):
    """Linear warm-up from 0 times a decay that starts with it and has no jumps (Slot Attention's schedule).

    rate(step) = learning_rate * min(1, step / warmup_steps) * decay_factor ** (step / decay_steps), steps 0-based.
    """

    learning_rate: PositiveOrZero = Field(description="highest learning rate, without decay")
    warmup_steps: CountOrZero = Field(
        description="steps in which the learning rate rises from 0; 0: no warm-up"
    )
    decay_factor: Annotated[float, Field(gt=0, le=1)] = Field(
        description="factor of the learning rate over decay_steps; 1: no decay"
    )
    decay_steps: Count = Field(description="steps in which the learning rate falls by decay_factor")

    def __call__(self, progress: Progress) -> float:
        """The rate of the step that is about to be taken."""
        warmth = min(1.0, progress.step / self.warmup_steps) if self.warmup_steps else 1.0
        decayed = self.decaying_steps(progress.step) / self.decay_steps
        return self.learning_rate * warmth * math.pow(self.decay_factor, decayed)

    def decaying_steps(self, step: int) -> int:
        """How many of the steps before `step` were of the decay."""
        return step


class LateDecay(ExponentialDecay):
    """A decay that starts at a step of its own (EfficientMORL's schedule)."""

    decay_start: CountOrZero = Field(description="step with which the decay starts")

    def decaying_steps(self, step: int) -> int:
        """How many of the steps before `step` were of the decay."""
        return max(0, step - self.decay_start)


class LateDrop(Group):
    """A quadratic warm-up, a constant rate, and a drop near the end (AST's schedule), all in parts of the stage.

    rate(f) = learning_rate * min(1, f / warmup) ** 2, times drop_factor from f = drop_at on; f is the part of the stage
    that is done. A shortened stage so has the same schedule.
    """

    learning_rate: PositiveOrZero = Field(description="learning rate after the warm-up")
    warmup: Annotated[float, Field(ge=0, le=1)] = Field(
        description="part of the stage in which the rate rises from 0, with the square of the step; 0: no warm-up"
    )
    drop_at: Annotated[float, Field(ge=0, le=1)] = Field(
        description="part of the stage after which the rate is multiplied by drop_factor; 1: never"
    )
    drop_factor: Annotated[float, Field(gt=0, le=1)] = Field(
        description="factor of the learning rate from drop_at on"
    )

    def __call__(self, progress: Progress) -> float:
        """The rate of the step that is about to be taken."""
        warmth = min(1.0, progress.fraction / self.warmup) if self.warmup else 1.0
        return (
            self.learning_rate * warmth**2 * (self.drop_factor if progress.fraction >= self.drop_at else 1.0)
        )
