"""What GENESIS and GENESIS-V2 have in common: one Adam at a constant rate, and a KL divergence that GECO weighs."""

from __future__ import annotations

from typing import Protocol

from torch import Tensor
from torch.optim import Optimizer

from objbench.methods.base import LearningRate, Losses, Method, Progress, Stage
from objbench.methods.parts.geco import Constraint, MultiplicativeGECO
from objbench.methods.parts.one_adam import one_adam
from objbench.methods.parts.schedule import ConstantRate
from objbench.spec.explain import refusal


class TrainingSettings(Protocol):
    """What this training reads of the settings of a method, whose class orders its blocks."""

    @property
    def loss(self) -> Constraint: ...

    @property
    def optimizer(self) -> ConstantRate: ...


class GenesisTraining(Method):
    """A method that has at least two slots, and a prior of each after the first.

    Attributes:
        geco: The weight of the KL divergence.
    """

    settings: TrainingSettings  # type: ignore[assignment]  # beside those of any method
    any_slots = True
    geco: MultiplicativeGECO

    def __init__(self, image_shape: tuple[int, int, int], slots: int, settings: Method.Settings) -> None:
        super().__init__(image_shape, slots, settings)
        if slots < 2:
            raise refusal("slots", "at least 2 (the prior is of each slot after the first)", slots)

    def setup(self, images: Tensor, stage: Stage) -> None:
        """Warns of a goal that no reconstruction reaches."""
        self.settings.loss.warn()

    def optimizers(self, stage: Stage) -> list[tuple[Optimizer, LearningRate]]:
        """One Adam at a constant rate."""
        return one_adam(self.parameters(), self.settings.optimizer)

    def capture_key(self, progress: Progress) -> tuple[()]:
        """Every step does the same work; GECO's weight is a tensor."""
        return ()

    def after_step(self, progress: Progress, losses: Losses, optimizers: list[Optimizer]) -> None:
        """Change the weight of the KL divergence."""
        self.geco.update(losses.parts["reconstruction"], progress)
