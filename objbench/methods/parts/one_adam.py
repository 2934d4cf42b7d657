"""The optimizer of most methods: one Adam on everything."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from torch import Tensor
from torch.optim import Adam, Optimizer

from objbench.methods.base import LearningRate, Progress


class Schedule(Protocol):
    """A learning rate as a function of progress, such as those of `parts.schedule`."""

    @property
    def learning_rate(self) -> float: ...

    def __call__(self, progress: Progress) -> float: ...


def one_adam(parameters: Iterable[Tensor], schedule: Schedule) -> list[tuple[Optimizer, LearningRate]]:
    """The answer of `Method.optimizers`: an Adam on the parameters, with torch's betas and epsilon."""
    return [(Adam(parameters, schedule.learning_rate, fused=True), schedule)]
