"""Iterative refinement of latents by a network that is shown the gradients of the loss they lead to.

Marino, Yue and Mandt, "Iterative Amortized Inference", 2018; here as IODINE and EfficientMORL use it. What a method
decodes, what else its network is shown and what the network remembers is the method's own business.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol, TypeVar

import torch
from torch import Tensor, nn


class Attempt(Protocol):
    """What latents lead to. `watched` are tensors in the graph of `loss`: the latents and what was decoded, say."""

    @property
    def loss(self) -> Tensor:
        """Of each image, (B,)."""

    @property
    def watched(self) -> Sequence[Tensor]:
        """The refiner sees the gradients of `loss` with respect to these."""


AnyAttempt = TypeVar("AnyAttempt", bound=Attempt)
Gradients = tuple[Tensor, ...]


def refine(
    latents: Tensor,
    steps: int,
    attempt: Callable[[Tensor, int], AnyAttempt],
    update: Callable[[AnyAttempt, Gradients], Tensor],
) -> tuple[list[Tensor], AnyAttempt]:
    """Attempt and update in turn, `steps` updates between steps + 1 attempts: the losses of all, and the last attempt.

    attempt  of latents (B,...) and the number of updates behind them
    update   the next latents, from an attempt and the gradients of its watched tensors

    Gradients are those of each image's own loss: the size of a batch plays no part. They are constants, without a
    graph of their own, so that no second derivatives arise. Where gradients are enabled, losses can be
    differentiated through all updates, and all attempts are held until that is done. Where they are not, they are
    enabled for the attempts alone, each forgets how its latents came about, and nothing of it outlives its update.
    """
    training = torch.is_grad_enabled()
    losses: list[Tensor] = []
    for step in range(steps):
        with torch.enable_grad():
            if not (training and latents.requires_grad):
                latents = latents.detach().requires_grad_()
            found = attempt(latents, step)
            gradients = torch.autograd.grad(found.loss.sum(), found.watched, retain_graph=training)
        losses.append(found.loss if training else found.loss.detach())
        latents = update(found, gradients)
        del found, gradients  # while the next attempt is made, memory should not hold two
    last = attempt(latents, steps)
    return [*losses, last.loss], last


class DetachedNorm(nn.LayerNorm):
    """Layer normalisation, in float32, of an input of a refiner through which no gradient may flow."""

    def forward(self, x: Tensor) -> Tensor:
        """As LayerNorm, of a constant."""
        return super().forward(x.detach().float())
