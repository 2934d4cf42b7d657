"""What GENESIS and GENESIS-V2 have in common: one Adam at a constant rate, and a KL divergence that GECO weighs."""

from __future__ import annotations

from typing import Any

from pydantic import Field
from torch import Tensor
from torch.optim import Adam, Optimizer

from objbench.methods.base import LearningRate, Losses, Method, Progress, Stage
from objbench.methods.parts.geco import MultiplicativeGECO
from objbench.spec.settings import Group, PositiveOrZero


class Optimization(Group):
    """Adam."""

    learning_rate: PositiveOrZero = Field(description="learning rate, the same throughout the training")


class GenesisTraining(Method):
    """A method whose settings have `loss`, a Constraint, and `optimizer`, an Optimization.

    Attributes:
        geco: The weight of the KL divergence.
    """

    settings: Any  # those of the method: its blocks keep their order there
    any_slots = True
    geco: MultiplicativeGECO

    def setup(self, images: Tensor, stage: Stage) -> None:
        """Warns of a goal that no reconstruction reaches."""
        self.settings.loss.warn()

    def optimizers(self, stage: Stage) -> list[tuple[Optimizer, LearningRate]]:
        """One Adam at a constant rate."""
        rate = self.settings.optimizer.learning_rate
        return [(Adam(self.parameters(), rate, fused=True), lambda progress: rate)]

    def capture_key(self, progress: Progress) -> tuple[()]:
        """Every step does the same work; GECO's weight is a tensor."""
        return ()

    def after_step(self, progress: Progress, losses: Losses, optimizers: list[Optimizer]) -> None:
        """Change the weight of the KL divergence."""
        self.geco.update(losses.parts["reconstruction"], progress)
