"""Iterative amortized inference: a network refines latents from the gradients of the loss they lead to.

Marino, Yue and Mandt, "Iterative Amortized Inference", 2018; here as IODINE and EfficientMORL use it. What is decoded,
what else the network sees and what it remembers is up to the method.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Protocol, TypeVar

import torch
from torch import Tensor, nn


class Attempt(Protocol):
    """What latents lead to: a loss, and tensors in its graph, such as the latents and what was decoded from them."""

    @property
    def loss(self) -> Tensor:
        """Of each image, (B,)."""

    @property
    def watched(self) -> Sequence[Tensor]:
        """The refiner sees the gradients of `loss` with respect to these."""


AnyAttempt = TypeVar("AnyAttempt", bound=Attempt)
Gradients = tuple[Tensor, ...]


def iterative_inference(
    latents: Tensor,
    steps: int,
    attempt: Callable[[Tensor, int], AnyAttempt],
    update: Callable[[AnyAttempt, Gradients], Tensor],
) -> tuple[list[Tensor], AnyAttempt]:
    """Alternate attempts and updates: `steps` updates between steps + 1 attempts.

    The gradients are those of each image's own loss, whatever the size of the batch. They are constants, without a
    graph of their own, so that there are no second derivatives. Where gradients are enabled, the losses can be
    differentiated through all updates, and all attempts are held until that is done. Where they are not, they are
    enabled for the attempts alone, each attempt starts from detached latents, and none outlives its update.

    Args:
        latents: (B,...), the first ones.
        steps: number of updates.
        attempt: called with latents and the number of updates before them.
        update: gives the next latents, from an attempt and the gradients of its watched tensors.

    Returns:
        The losses (B,) of all attempts, and the last attempt.
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
        del found, gradients  # before the next attempt is made: memory holds one of them
    last = attempt(latents, steps)
    return [*losses, last.loss], last


@contextmanager
def outside_inference_mode() -> Iterator[None]:
    """Leave torch.inference_mode, which no gradient works in; whether gradients are enabled stays as it is.

    A tensor that was made in the mode must be cloned before it has a part in `iterative_inference`.
    """
    enabled = torch.is_grad_enabled()
    with torch.inference_mode(False), torch.set_grad_enabled(enabled):  # the former alone enables them
        yield


class DetachedNorm(nn.LayerNorm):
    """Layer normalisation, in float32, of an input through which no gradient flows."""

    def forward(self, x: Tensor) -> Tensor:
        """The normalised x, differentiable in scale and shift alone."""
        return super().forward(x.detach().float())
