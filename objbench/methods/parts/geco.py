"""GECO: the weight between reconstruction and KL divergence adapts until the reconstruction error reaches a goal.

Rezende and Viola, "Taming VAEs", 2018, in two forms that cannot replace each other: EfficientMORL weighs the
constraint and adds to its multiplier, GENESIS and GENESIS-V2 weigh the KL divergence and multiply its weight. A goal is an
error: a negative log-likelihood, summed over an image and averaged over a batch, so that its value depends on whether
log(2 pi)/2 is counted in it. The state is in buffers that are changed in place, without waiting for the device.
"""

from __future__ import annotations

import logging
import math

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn.functional import softplus

from objbench.methods.base import Progress
from objbench.methods.parts.mixture import HALF_LOG_TWO_PI
from objbench.spec.settings import Group, Positive, PositiveOrZero

log = logging.getLogger("objbench")

# All are those of the published codes.
MOMENTUM = 0.99  # of the averages that the weights follow
RECOVERY = 10.0  # of GENESIS: how much faster beta changes while the error is below the goal
LEAST, MOST = 1e-10, 1e10  # of GENESIS: bounds of beta where none are given
LEAST_MULTIPLIER = 0.55  # of EfficientMORL: softplus gives about 1


def likelihood_floor(sigma: float, *, normalised: bool) -> float:
    """The smallest error per pixel and channel under Gaussians of deviation `sigma`: that of a perfect reconstruction.

    It is ln sigma + ln(2 pi) / 2, without the second term if not `normalised`; a mixture has the same one.
    """
    return math.log(sigma) + (HALF_LOG_TWO_PI if normalised else 0.0)


class MultiplicativeGECO(nn.Module):
    """The form of GENESIS and GENESIS-V2: loss = error + beta * KL (Engelcke et al. 2020 and 2021).

    After each step beta *= exp(rate * (goal - average)): beta shrinks while the error is above the goal; below the goal
    it grows `RECOVERY` times as fast. It stays within [least, most]. The average over the errors begins with the first one.

    Args:
        goal: of the error, in nats per image.
        rate: of the change of beta, per nat and step.
        beta: the first value.
        least: bound of beta.
        most: bound of beta.
    """

    def __init__(
        self,
        goal: float,
        rate: float,
        *,
        beta: float,
        least: float = LEAST,
        most: float = MOST,
    ) -> None:
        super().__init__()
        self.goal, self.rate, self.least, self.most = goal, rate, least, most
        self.beta: Tensor
        self.average: Tensor
        self.register_buffer("beta", torch.tensor(float(beta)))
        self.register_buffer("average", torch.zeros(()))

    def loss(self, error: Tensor, kl: Tensor) -> Tensor:
        """The scalar to minimise, from the batch's mean error and mean KL divergence."""
        return error + self.beta * kl

    @torch.no_grad()
    def update(self, error: Tensor, progress: Progress) -> None:
        """After the step that `progress` precedes, with its batch's mean error."""
        _follow(self.average, error, first=progress.step == 0)
        slack = self.goal - self.average
        rate = self.rate * torch.where(slack > 0, RECOVERY, 1.0)
        self.beta.mul_(torch.exp(rate * slack)).clamp_(self.least, self.most)


class Constraint(Group):
    """The likelihood, and GECO."""

    sigma: Positive = Field(description="standard deviation of a pixel")
    goal: float = Field(
        description="error that GECO aims at, in nats per pixel and channel, constants counted"
    )
    rate: PositiveOrZero = Field(
        description="speed of GECO for images of 64x64; for others inverse to the number of pixels"
    )
    beta: PositiveOrZero = Field(description="weight of the KL divergence at first")

    def geco(self, pixels: int, *, least: float = LEAST, most: float = MOST) -> MultiplicativeGECO:
        """The constraint on images of so many pixels, with beta within [least, most]."""
        rate = self.rate * 64**2 / pixels
        return MultiplicativeGECO(self.goal * 3 * pixels, rate, beta=self.beta, least=least, most=most)

    def warn(self) -> None:
        """Log a warning of a goal that no reconstruction reaches."""
        floor = likelihood_floor(self.sigma, normalised=True)
        if self.goal <= floor:
            log.warning(
                "loss.goal=%s is out of reach: with loss.sigma=%s a perfect reconstruction has an error of %.4f per pixel "
                "and channel. GECO lowers the weight of the KL divergence all the time, until it counts for nothing",
                self.goal,
                self.sigma,
                floor,
            )


class AdditiveGECO(nn.Module):
    """EfficientMORL's form, a Lagrangian: loss = KL - softplus(multiplier) * (goal - error) (Emami et al. 2021).

    Before step `start` the loss is error + KL. From there on its value uses the average slack (goal - error) and its
    gradient the slack of the batch; after each step later than `start`, multiplier -= rate * average slack: the
    multiplier grows while the error is above the goal. Below the goal the rate is `recovery` times as large. The multiplier
    starts at `LEAST_MULTIPLIER` and never falls below. The average over the slacks begins with that of the step `start`.

    Args:
        goal: of the error, in nats per image; EfficientMORL counts it without log(2 pi)/2.
        rate: of the change of the multiplier, per nat and step.
        start: first step that is constrained.
        recovery: factor of the rate below the goal.
    """

    def __init__(self, goal: float, rate: float, *, start: int, recovery: float = 1.0) -> None:
        super().__init__()
        self.goal, self.rate, self.start, self.recovery = goal, rate, start, recovery
        self.multiplier: Tensor
        self.average: Tensor
        self.register_buffer("multiplier", torch.tensor(LEAST_MULTIPLIER))
        self.register_buffer("average", torch.zeros(()))

    def started(self, progress: Progress) -> bool:
        """Whether the step after `progress` is constrained; must be part of the method's `capture_key`."""
        return progress.step >= self.start

    def loss(self, error: Tensor, kl: Tensor, progress: Progress) -> Tensor:
        """The scalar to minimise, from a batch's mean error and mean KL divergence; any number of times per step."""
        if not self.started(progress):
            return error + kl
        slack = self.goal - error
        value = slack + (self.average - slack).detach()
        return kl - softplus(self.multiplier) * value

    @torch.no_grad()
    def update(self, error: Tensor, progress: Progress) -> None:
        """After the step that `progress` precedes, with the mean error of its batch after the last refinement."""
        _follow(self.average, self.goal - error, first=progress.step <= self.start)
        if progress.step > self.start:
            rate = self.rate * torch.where(self.average > 0, self.recovery, 1.0)
            self.multiplier.sub_(rate * self.average).clamp_(min=LEAST_MULTIPLIER)


def _follow(average: Tensor, value: Tensor, *, first: bool) -> None:
    """Move an exponential moving average in place; `first` puts it where `value` is."""
    average.lerp_(value.to(average), 1.0 if first else 1 - MOMENTUM)
