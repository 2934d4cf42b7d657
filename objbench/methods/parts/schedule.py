"""Learning rates as functions of the training step."""

from __future__ import annotations

import math
from dataclasses import dataclass

from objbench.errors import RequestError
from objbench.methods.base import Progress


@dataclass(frozen=True)
class ExponentialDecay:
    """Linear warm-up from 0 times a decay that starts with it and has no jumps (Slot Attention's schedule).

    rate(step) = learning_rate * min(1, step / warmup_steps) * decay_factor ** (step / decay_steps), steps 0-based.
    warmup_steps 0: no warm-up;  decay_factor 1: no decay.
    """

    learning_rate: float  # highest, without decay
    warmup_steps: int
    decay_factor: float
    decay_steps: int

    def __post_init__(self) -> None:
        if not 0 <= self.learning_rate < math.inf:
            raise RequestError(
                f"learning_rate={self.learning_rate}: expected a finite number that is not negative"
            )
        if self.warmup_steps < 0:
            raise RequestError(f"warmup_steps={self.warmup_steps}: expected 0 or more")
        if not 0 < self.decay_factor <= 1:
            raise RequestError(f"decay_factor={self.decay_factor}: expected more than 0 and at most 1")
        if self.decay_steps < 1:
            raise RequestError(f"decay_steps={self.decay_steps}: expected at least 1")

    def __call__(self, progress: Progress) -> float:
        """The rate of the step that is about to be taken."""
        warmth = min(1.0, progress.step / self.warmup_steps) if self.warmup_steps else 1.0
        return self.learning_rate * warmth * math.pow(self.decay_factor, progress.step / self.decay_steps)
