"""Learning rates and other scheduled values as functions of the training step."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Annotated

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from objbench.methods.base import Progress
from objbench.spec.settings import Count, CountOrZero, Group, PositiveOrZero

Fraction = Annotated[float, Field(ge=0, le=1)]


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
        return self.learning_rate * warmth * math.pow(self.decay_factor, progress.step / self.decay_steps)


class LinearSchedule(Group):
    """A value that stays, then changes linearly, then stays. Its times are parts of the training, whatever its length."""

    initial: float = Field(description="value until `start`")
    final: float = Field(description="value from `end` on")
    start: Fraction = Field(description="part of the training after which the value begins to change")
    end: Fraction = Field(description="part of the training after which the value is final")

    @model_validator(mode="after")
    def _ends_after_start(self) -> LinearSchedule:
        if self.end < self.start:
            raise ValueError(f"end: expected at least start, {self.start:g}, found {self.end:g}")
        return self

    def __call__(self, progress: Progress | None) -> float:
        """The value before the step that is about to be taken; progress None: after the training."""
        fraction = 1.0 if progress is None else progress.fraction
        if fraction >= self.end:
            return self.final
        if fraction <= self.start:
            return self.initial
        return self.initial + (self.final - self.initial) * (fraction - self.start) / (self.end - self.start)


class ScheduledValues(nn.Module):
    """The values of schedules as tensors, so that a captured training step reads the current ones.

    A method reads them in `training_loss` and calls `update` in `after_step`.
    """

    def __init__(self, schedules: Mapping[str, LinearSchedule]) -> None:
        super().__init__()
        self.schedules = dict(schedules)
        first = Progress("", 0, 1, 0, 1)
        for name, schedule in self.schedules.items():
            self.register_buffer(name, torch.tensor(schedule(first)))

    def __getitem__(self, name: str) -> Tensor:
        """The value, a scalar tensor, of the step that is about to be taken."""
        return self.get_buffer(name)

    @torch.no_grad()
    def update(self, progress: Progress) -> None:
        """Set the values of the step after that of `progress`."""
        following = replace(progress, step=progress.step + 1)
        for name, schedule in self.schedules.items():
            self.get_buffer(name).fill_(schedule(following))
