"""What the processes of a run exchange in a training step: the gradients and the losses, in one sum."""

from __future__ import annotations

import math
from collections.abc import Iterable
from contextlib import AbstractContextManager, nullcontext
from functools import reduce

import torch
from torch import Tensor

from objbench.errors import ObjbenchError, first_few
from objbench.methods.base import Losses, Method
from objbench.ranks.functions import SharedFunctions
from objbench.ranks.group import Ranks
from objbench.ranks.share import Share


def shared_batch(share: Share | None) -> AbstractContextManager[object]:
    """The block in which a loss of this process's images is computed and differentiated."""
    return nullcontext() if share is None else SharedFunctions(share)


def sum_gradients(share: Share, parameters: Iterable[Tensor], losses: Losses) -> Losses:
    """Give the parameters the gradients of the whole batch, and return its losses.

    It takes one all-reduce of one flat tensor, so that it does not matter how the gradients came about. A parameter that
    has no gradient in any process keeps none.

    Args:
        share: What this process has of the batch.
        parameters: Of all optimizers, with the gradients of the loss times the share's weight.
        losses: Means over this process's images, without gradients.
    """
    found = list({id(parameter): parameter for parameter in parameters}.values())
    values = [losses.total, *losses.parts.values()]
    dtype = reduce(torch.promote_types, {parameter.dtype for parameter in found}, torch.float32)
    gradients = [torch.zeros_like(p) if p.grad is None else p.grad for p in found]
    has_one = [float(parameter.grad is not None) for parameter in found]
    pieces = [
        *(gradient.reshape(-1).to(dtype) for gradient in gradients),
        torch.tensor(has_one, dtype=dtype).to(values[0].device, non_blocking=True),
        torch.stack([value.to(values[0].device, dtype) for value in values]) * share.weight,
    ]
    flat = torch.cat(pieces)
    share.ranks.sum(flat)
    *summed, count, means = torch.split(flat, [len(piece) for piece in pieces])
    used = has_one if all(has_one) else count.tolist()
    for parameter, gradient, there in zip(found, summed, used, strict=True):
        parameter.grad = gradient.view_as(parameter).to(parameter.dtype) if there else None
    total, *parts = (mean.to(value.dtype) for mean, value in zip(means, values, strict=True))
    return Losses(total, dict(zip(losses.parts, parts, strict=True)))


def begin_alike(ranks: Ranks, method: Method) -> None:
    """Give the method of every process the state that it has in the first one."""
    if not ranks.several:
        return

    def state() -> dict[str, object]:
        return {
            name: value.cpu() if isinstance(value, Tensor) else value
            for name, value in method.state_dict().items()
        }

    method.load_state_dict(ranks.on_first(state))


def refuse_drift(ranks: Ranks, method: Method) -> None:
    """Raise ObjbenchError, in all processes, if the methods of the processes are not the same any more."""
    if not ranks.several:
        return
    named = {name: value for name, value in method.state_dict().items() if isinstance(value, Tensor)}
    sums = torch.stack([value.sum(dtype=torch.float64) for value in named.values()]).tolist() if named else []
    everyone = ranks.gather(sums)
    for rank, found in enumerate(everyone):
        differ = [
            name
            for name, one, other in zip(named, everyone[0], found, strict=True)
            if one != other and not (math.isnan(one) and math.isnan(other))
        ]
        if differ:
            raise ObjbenchError(
                f"{first_few(differ)}: not the same in process {rank} as in process 0, so that their steps no longer are "
                "those of one training. Either training_loss changes a buffer without over_batch, or the processes "
                "compute on different devices"
            )
