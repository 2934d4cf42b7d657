"""A learning rate that falls when a validation score stops to improve."""

from __future__ import annotations

from typing import Annotated, Any

import torch
from pydantic import Field
from torch import Tensor, nn

from objbench.methods.base import Progress
from objbench.spec.settings import CountOrZero, Group, PositiveOrZero

THRESHOLD = 1e-4  # an improvement by a smaller part of the best score is none


class PlateauRule(Group):
    """Learning rates are multiplied by `factor` after more than `patience` evaluations without a better score."""

    factor: Annotated[float, Field(gt=0, lt=1)] = Field(
        description="factor of all learning rates at a plateau of the score on val"
    )
    patience: CountOrZero = Field(
        description="evaluations on val without an improvement that are waited for; the next one is a plateau"
    )


class PlateauDecay(PlateauRule):
    """One rate under this rule."""

    learning_rate: PositiveOrZero = Field(description="learning rate at first")
    lowest: PositiveOrZero = Field(description="lowest learning rate")


class Plateau(nn.Module):
    """The state of a PlateauDecay, in the semantics of torch's ReduceLROnPlateau (mode `min`, relative threshold).

    Its state is in buffers; the rate itself is a Python number, so that no training step waits for the device.
    """

    def __init__(self, settings: PlateauDecay) -> None:
        super().__init__()
        self.settings = settings
        self.best: Tensor
        self.waited: Tensor
        self.drops: Tensor
        self.register_buffer("best", torch.tensor(torch.finfo(torch.float32).max))
        self.register_buffer("waited", torch.tensor(0))
        self.register_buffer("drops", torch.tensor(0))
        self._rate = settings.learning_rate
        self.register_load_state_dict_post_hook(_set_rate)  # type: ignore[no-untyped-call]

    def learning_rate(self, progress: Progress) -> float:
        """The rate of the step that is about to be taken."""
        return self._rate

    @torch.no_grad()
    def observe(self, score: float) -> None:
        """Take the score of an evaluation, the lower the better; call it in `Method.after_evaluation`."""
        if score < float(self.best) * (1 - THRESHOLD):
            self.best.fill_(score)
            self.waited.zero_()
            return
        self.waited.add_(1)
        if int(self.waited) > self.settings.patience:
            self.waited.zero_()
            self.drops.add_(1)
            _set_rate(self)


def _set_rate(plateau: Plateau, incompatible_keys: Any = None) -> None:
    rate = plateau.settings.learning_rate
    for _ in range(int(plateau.drops)):
        rate = max(rate * plateau.settings.factor, plateau.settings.lowest)
    plateau._rate = rate
