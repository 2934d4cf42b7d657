"""Sprites that are hardly used begin anew as copies of the most used one, with what Adam knows of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

MOMENTS = ("exp_avg", "exp_avg_sq")  # of Adam; a count of steps is shared by all sprites


class Renewal(NamedTuple):
    """What becomes of K sprites.

    Attributes:
        source: int64 (K,), the sprite that each is a copy of: itself or the most used one.
        noisy: bool (K,), those that get noise: the renewed ones, and the most used one if there are any.
    """

    source: Tensor
    noisy: Tensor


def renewal(usage: Tensor, threshold: float, *, has_empty: bool) -> Renewal:
    """Which sprites are renewed, from how often each was chosen.

    A share below `threshold` / K is too small. With an empty sprite the shares are those of the most used sprite. No number
    is read from the device.

    Args:
        usage: (K+1,), not negative: the number of times that each sprite was chosen for a layer, in the end the empty one.
        threshold: see above.
        has_empty: whether there is an empty sprite.
    """
    counts = usage[:-1]
    whole = counts.amax() if has_empty else counts.sum()
    unused = counts < threshold / len(counts) * whole  # nobody if nothing was chosen
    best, own = counts.argmax(), torch.arange(len(counts), device=usage.device)
    return Renewal(torch.where(unused, best, own), unused | (own == best) & unused.any())


@torch.no_grad()
def renew(parameter: nn.Parameter, source: Tensor, axis: int, optimizers: Sequence[Optimizer]) -> None:
    """Copy a parameter between sprites, and its moments, in place: no two sprites share a tensor afterwards.

    Args:
        parameter: with the sprites along `axis`.
        source: as of `Renewal`.
        axis: of the sprites.
        optimizers: all optimizers of the training.
    """
    states = [optimizer.state[parameter] for optimizer in optimizers if parameter in optimizer.state]
    for values in (parameter, *(state[name] for state in states for name in MOMENTS if name in state)):
        values.copy_(values.index_select(axis, source))


@torch.no_grad()
def renew_colours(colours: nn.Parameter, found: Renewal, deviation: float) -> None:
    """Copy the colours (K,...) of sprites, and add normal noise of `deviation`; their moments stay."""
    noisy = found.noisy.view(-1, *[1] * (colours.ndim - 1))
    noise = deviation * torch.randn_like(colours) * noisy
    colours.copy_(colours.index_select(0, found.source) + noise)
