"""Diagonal Gaussians over latent vectors: how networks parameterise them, samples, densities, divergences.

A network gives a mean and an unconstrained number per dimension; methods differ in how that number becomes a standard
deviation. Everything is computed in float32, whatever the dtype of the input.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import softplus

from objbench.methods.parts.mixture import gaussian

Deviation = Callable[[Tensor], Tensor]  # unconstrained numbers -> standard deviations


def exp_deviation(raw: Tensor) -> Tensor:
    """sigma = exp(raw): MONet in the ClevrTex benchmark."""
    return raw.float().exp()


def softplus_variance(raw: Tensor, floor: float = 0.0) -> Tensor:
    """sigma^2 = softplus(raw) + floor: IODINE, and EfficientMORL with a floor of 1e-5."""
    return (softplus(raw.float()) + floor).sqrt()


def softplus_deviation(raw: Tensor) -> Tensor:
    """sigma = softplus(raw + 0.5) + 1e-8: posteriors of GENESIS and GENESIS-V2."""
    return softplus(raw.float() + 0.5) + 1e-8


def plain_softplus(raw: Tensor, floor: float = 1e-5) -> Tensor:
    """sigma = softplus(raw) + floor: SPAIR*, SPACE, GNM. With the floor, sigma^2 is never 0 in float32."""
    return softplus(raw.float()) + floor


def sigmoid_deviation(raw: Tensor) -> Tensor:
    """sigma = sigmoid(raw + 4) + 1e-4: the priors of GENESIS and GENESIS-V2, near 1 at first."""
    return torch.sigmoid(raw.float() + 4) + 1e-4


@dataclass(frozen=True)
class Gaussian:
    """Independent normal distributions over the last axis: `mean` and standard `deviation`, both (...,Z)."""

    mean: Tensor
    deviation: Tensor

    @classmethod
    def of(cls, raw: Tensor, deviation: Deviation) -> Gaussian:
        """From the outputs (...,2Z) of a network: Z means, then Z numbers that `deviation` turns into sigmas."""
        mean, unconstrained = raw.float().chunk(2, dim=-1)
        return cls(mean, deviation(unconstrained))

    @classmethod
    def stack(cls, laws: Sequence[Gaussian]) -> Gaussian:
        """Laws of (B,Z), one after another, as one (B,K,Z)."""
        mean = torch.stack([law.mean for law in laws], dim=1)
        return cls(mean, torch.stack([law.deviation for law in laws], dim=1))

    def sample(self, noise: Tensor) -> Tensor:
        """A sample (...,Z) from standard normal `noise`, differentiable in mean and deviation.

        Draw the noise with Method.normal, so that at test time it depends on the image alone.
        """
        return self.mean + self.deviation * noise

    def log_density(self, values: Tensor) -> Tensor:
        """Log-density (...) of values (...,Z)."""
        return gaussian(values, self.mean, self.deviation, normalised=True).sum(-1)

    def kl_estimate(self, other: Gaussian, sample: Tensor) -> Tensor:
        """One-sample estimate (...) of the KL divergence of this distribution from `other`; `sample` (...,Z) is of this one."""
        return self.log_density(sample) - other.log_density(sample)

    def kl_to_standard(self) -> Tensor:
        """KL divergence (...) to N(0,1) in every dimension."""
        variance = self.deviation.square()
        return 0.5 * (variance + self.mean.square() - 1 - variance.log()).sum(-1)

    def kl_to(self, other: Gaussian) -> Tensor:
        """KL divergence (...) of this distribution from `other`."""
        ratio = (self.deviation / other.deviation).square()
        distance = ((self.mean - other.mean) / other.deviation).square()
        return 0.5 * (ratio + distance - 1 - ratio.log()).sum(-1)


def squashed(raw: Tensor) -> Gaussian:
    """The law (...,Z) of outputs (...,2Z): means in (-1,1), deviations in (1e-4,1.0001); priors of GENESIS and GENESIS-V2.

    A prior that is learned without these bounds lets trainings diverge.
    """
    law = Gaussian.of(raw, sigmoid_deviation)
    return Gaussian(law.mean.tanh(), law.deviation)
