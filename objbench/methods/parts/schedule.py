"""Learning rates as functions of the training step."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass

from objbench.methods.base import Progress
from objbench.methods.parts.settings import demand_number, demand_whole, refusal


@dataclass(frozen=True)
class ExponentialDecay:
    """Linear warm-up from 0 times a decay that starts with it and has no jumps (Slot Attention's schedule).

    A method's block `schedule` in benchmarks.yaml has these fields.

    rate(step) = learning_rate * min(1, step / warmup_steps) * decay_factor ** (step / decay_steps), steps 0-based.
    warmup_steps 0: no warm-up;  decay_factor 1: no decay.
    """

    learning_rate: float  # highest, without decay
    warmup_steps: int
    decay_factor: float
    decay_steps: int

    def __post_init__(self) -> None:
        block = {"schedule": asdict(self)}
        demand_number(block, "schedule.learning_rate", zero=True)
        demand_whole(block, "schedule.warmup_steps", least=0)
        demand_whole(block, "schedule.decay_steps")
        if self.decay_factor is None or not 0 < self.decay_factor <= 1:
            raise refusal("schedule.decay_factor", self.decay_factor, "more than 0 and at most 1")

    def __call__(self, progress: Progress) -> float:
        """The rate of the step that is about to be taken."""
        warmth = min(1.0, progress.step / self.warmup_steps) if self.warmup_steps else 1.0
        return self.learning_rate * warmth * math.pow(self.decay_factor, progress.step / self.decay_steps)
