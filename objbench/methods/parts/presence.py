"""Presence of an object: a relaxed Bernoulli sample, and its exact divergence from a prior.

The sample is the binary concrete distribution of Maddison, Mnih and Teh, "The Concrete Distribution", ICLR 2017; the
divergence is that of the Bernoulli variables themselves, as in SPAIR, SPACE and GNM. Everything is at least in float32.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from objbench.methods.parts.precision import widened

LOGIT_BOUND = 8.8  # of SPACE and GNM


def bounded_logits(raw: Tensor) -> Tensor:
    """Logits within `LOGIT_BOUND`, 8.8 tanh(raw): a probability of presence is never 0 or 1."""
    return LOGIT_BOUND * raw.tanh()


def relaxed_bernoulli(
    logits: Tensor, noise: Tensor, temperature: float | Tensor, *, hard: bool = False
) -> Tensor:
    """A sample in [0,1]: sigmoid((logits + logistic noise) / temperature), differentiable in the logits.

    Args:
        logits: of being present, any shape.
        noise: standard normal numbers of the same shape, from `Method.normal`, so that at test time they depend on the
            image alone. Their cumulative probability u gives the logistic noise log u - log(1 - u).
        temperature: the lower, the closer to 0 or 1.
        hard: round to 0 or 1; gradients are those of the soft sample (straight-through).
    """
    normal = widened(noise)
    logistic = torch.special.log_ndtr(normal) - torch.special.log_ndtr(-normal)
    soft = torch.sigmoid((widened(logits) + logistic) / temperature)
    return soft + (soft.round() - soft).detach() if hard else soft


def bernoulli_kl(logits: Tensor, prior_logits: Tensor) -> Tensor:
    """KL divergence of Bernoulli(sigmoid(logits)) from Bernoulli(sigmoid(prior_logits)), element by element.

    Finite with finite gradients wherever both logits are finite; `torch.logit` makes logits of probabilities.
    """
    posterior, prior = widened(logits), widened(prior_logits)
    present = torch.sigmoid(posterior) * (logsigmoid(posterior) - logsigmoid(prior))
    absent = torch.sigmoid(-posterior) * (logsigmoid(-posterior) - logsigmoid(-prior))
    return present + absent
