"""Numbers of the loss that change during the training, as tensors: a captured training step can read them."""

from __future__ import annotations

import math

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from objbench.methods.base import Progress
from objbench.spec.explain import refusal
from objbench.spec.settings import CountOrZero, Group


class Ramp(Group):
    """A number that changes along a straight line from one step to another, and stays the same before and after.

    Steps are those of a Clock. An `end_step` of 0 means that the number is always `start`, never `end`; this is how the
    published configurations of SPACE and GNM write a constant.
    """

    start: float = Field(description="value up to start_step")
    end: float = Field(description="value from end_step on")
    start_step: CountOrZero = Field(description="nominal step at which the change begins")
    end_step: CountOrZero = Field(description="nominal step at which the change ends; 0: always `start`")

    @model_validator(mode="after")
    def _forward(self) -> Ramp:
        if self.end_step and self.end_step <= self.start_step:
            expected = f"0 or more than start_step={self.start_step}"
            raise refusal("end_step", expected, self.end_step)
        return self

    def at(self, step: Tensor) -> Tensor:
        """The value () at a nominal step (), which may be infinite.

        >>> ramp = Ramp(start=1.0, end=0.5, start_step=1000, end_step=20000)
        >>> [ramp.at(torch.tensor(float(step))).item() for step in (0, 1000, 10500, 20000, 30000)]
        [1.0, 1.0, 0.75, 0.5, 0.5]
        """
        if not self.end_step:
            return torch.full_like(step, self.start)
        done = ((step - self.start_step) / (self.end_step - self.start_step)).clamp(0, 1)
        return self.start + (self.end - self.start) * self.course(done)

    def course(self, done: Tensor) -> Tensor:
        """How much of the change is done () after a part of its steps (), both in [0,1]."""
        return done


class CosineRamp(Ramp):
    """A ramp along half a period of a cosine, flat at both ends."""

    def course(self, done: Tensor) -> Tensor:
        """How much of the change is done () after a part of its steps (), both in [0,1].

        >>> ramp = CosineRamp(start=1.0, end=0.0, start_step=0, end_step=300)
        >>> [round(ramp.at(torch.tensor(float(step))).item(), 3) for step in (0, 100, 150, 300, 400)]
        [1.0, 0.75, 0.5, 0.0, 0.0]
        """
        return (1 - (math.pi * done).cos()) / 2


class Clock(nn.Module):
    """The step of the training as a tensor, counted as if the training had `nominal_steps`.

    A shortened training so goes through the whole curriculum. A captured training step cannot see `progress`, so that
    the step is a buffer: `advance` writes it after each step.

    Args:
        nominal_steps: steps of the training that the curriculum was made for.

    Attributes:
        step: float32 (), the nominal step that is about to be taken.
    """

    def __init__(self, nominal_steps: int) -> None:
        super().__init__()
        self.nominal_steps = nominal_steps
        self.step: Tensor
        self.register_buffer("step", torch.zeros(()))

    def restart(self) -> None:
        """Go back to step 0; call it in `Method.setup`."""
        self.step.zero_()

    def advance(self, progress: Progress) -> None:
        """Go to the step after the one that `progress` precedes; call it in `Method.after_step`."""
        self.step.fill_(self._nominal(progress.step + 1, progress))

    def at(self, progress: Progress | None) -> Tensor:
        """The nominal step () of a progress, infinite for None, the end of the training; for `Method.segment`."""
        value = math.inf if progress is None else self._nominal(progress.step, progress)
        return torch.full_like(self.step, value)

    def _nominal(self, step: int, progress: Progress) -> float:
        return step * self.nominal_steps / progress.steps
