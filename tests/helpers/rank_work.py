"""What the processes of `helpers.ranks.work` do: functions of the ranks, whose results are printed as JSON."""

from __future__ import annotations

import json
import sys
import tempfile
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import deepcopy
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, distributed, nn

from objbench.errors import RequestError
from objbench.methods.create import create
from objbench.ranks import group
from objbench.ranks.functions import SharedFunctions
from objbench.ranks.group import ALONE, DisbandedError, Ranks, join
from objbench.ranks.share import Share, share_of
from objbench.testing import random_scenes
from objbench.train.log import read_log
from objbench.train.loop import Training

RECIPE = {"recipe.steps": 4, "recipe.batch_size": 5, "recipe.log_steps": 1, "recipe.evaluations": 0}


def in_double_precision() -> None:
    """Make parameters, random numbers and what methods compute `.float()` float64."""
    torch.set_default_dtype(torch.float64)
    torch.Tensor.float = torch.Tensor.double  # type: ignore[method-assign]
    torch.float32 = torch.float64


def trained(
    ranks: Ranks, name: str, overrides: dict[str, Any], count: int
) -> tuple[dict[str, Any], list[Any]]:
    """The state of a method after a few steps on `count` random scenes, and the log of the first process."""
    torch.manual_seed(0)
    method = create(name, "tetrominoes", **(RECIPE | overrides)).double()
    images = random_scenes(count, method.image_shape)
    with tempfile.TemporaryDirectory() as folder:
        Training(method, images, 0, Path(folder), ranks=ranks).run()
        return method.state_dict(), read_log(Path(folder)) if ranks.first else []


def gaps(ranks: Ranks, methods: dict[str, Any], count: int = 11) -> dict[str, float]:
    """How far, relatively, the method that all processes trained is from the one that this process trained alone."""
    in_double_precision()
    found = {}
    for label, (name, overrides) in methods.items():
        (together, log), (alone, own_log) = (trained(who, name, overrides, count) for who in (ranks, ALONE))
        gap = max(_gap(together[key], alone[key]) for key in alone)
        if ranks.first:
            gap = max(gap, *map(_log_gap, log, own_log))
            assert len(log) == len(own_log) > 0
        moved = any(_gap(alone[key], value) for key, value in _untrained(name, overrides).items())
        found[label] = gap if moved else float("inf")
    return found


def _untrained(name: str, overrides: dict[str, Any]) -> dict[str, Any]:
    torch.manual_seed(0)
    return create(name, "tetrominoes", **(RECIPE | overrides)).double().state_dict()


def _gap(one: Any, other: Any) -> float:
    if not isinstance(one, Tensor):
        return 0.0 if one == other else float("inf")
    if not one.numel():
        return 0.0
    one, other = one.double(), other.double()
    return float((one - other).abs().max() / other.abs().max().clamp(min=1))


def _log_gap(one: dict[str, Any], other: dict[str, Any]) -> float:
    return max(
        abs(value - other["losses"][name]) / max(1, abs(value)) for name, value in one["losses"].items()
    )


def conversation(ranks: Ranks) -> dict[str, Any]:
    """What each call of Ranks gives where every process has another value."""
    rank, values, held = ranks.rank, torch.tensor([ranks.rank, 10.0 * ranks.rank + 1]), []

    @contextmanager
    def holding() -> Iterator[None]:
        held.append("in")
        yield
        held.append("out")

    def broken() -> None:
        if rank == 1:
            raise ValueError("broken")

    def refused() -> None:
        raise RequestError("no")

    ranks.sum(values)
    with ranks.held_by_first(holding()):
        pass
    found = {
        "gathered": ranks.gather(10 * rank),
        "sum": values.tolist(),
        "most": ranks.most([float(rank), -float(rank)]),
        "first": ranks.on_first(lambda: rank),
        "refused on first": _said(lambda: ranks.on_first(refused)),
        "held": held,
        "failed in one": _said(lambda: ranks.all_do(broken)),
        "different": _said(lambda: ranks.refuse_difference({"a": {"b": rank, "c": 1}})),
        "speaks": ranks.speaks(),
        "failed together": _said(lambda: ranks.refuse_alone(ValueError(), "why")) or "goes on",
    }
    group.TOGETHER = timedelta(seconds=1)
    found["failed alone"] = _said(lambda: ranks.refuse_alone(ValueError(), "why")) if rank == 1 else ""
    ranks.gather(None)
    return found


def place(ranks: Ranks) -> int:
    """The number of the process among those that see the same GPUs."""
    return ranks.local


def leaving(ranks: Ranks) -> bool:
    """Whether nothing holds the group once a process that has trained left, nor in the first one the error that the others left."""
    in_double_precision()
    trained(ranks, "slot_attention", {"model.channels": 4, "model.slot_width": 6, "model.mlp_width": 8}, 5)
    joined, errors = weakref.ref(distributed.group.WORLD), []
    if ranks.first:
        try:
            ranks.gather(None)
        except DisbandedError as error:
            errors.append(error)
    ranks.leave()
    return joined() is None and bool(errors) == ranks.first


def norms(ranks: Ranks) -> dict[str, float]:
    """How far batch norms and dropout of a share are from those of the whole batch: values, gradients, statistics."""
    in_double_precision()
    share = share_of(ranks, 7)
    assert share is not None
    torch.manual_seed(0)
    whole = torch.randn(7, 4, 3, 2)
    targets = torch.randn(7, 4, 3, 2)
    found = {}
    layers = {
        "norm": nn.BatchNorm2d(4),
        "plain norm": nn.BatchNorm2d(4, affine=False, track_running_stats=False),
        "counted norm": nn.BatchNorm2d(4, momentum=None),
        "dropout": nn.Dropout(0.3),
    }
    for name, layer in layers.items():
        other, part = deepcopy(layer), slice(share.start, share.stop)
        one, two = whole.clone().requires_grad_(), whole[part].clone().requires_grad_()
        torch.manual_seed(1)
        expected = layer(one)
        (expected * targets).sum().backward()
        torch.manual_seed(1)
        with SharedFunctions(share):
            result = other(two)
            (result * targets[part]).sum().backward()
        gaps = [(result - expected[part]).abs().max(), (two.grad - one.grad[part]).abs().max()]
        for mine, its in zip(other.parameters(), layer.parameters(), strict=True):
            ranks.sum(mine.grad)
            gaps.append((mine.grad - its.grad).abs().max())
        gaps += [(a - b).abs().max() for a, b in zip(other.buffers(), layer.buffers(), strict=True)]
        found[name] = float(max(gaps))
    found["attention"] = _attention_gap(share, causal=False)
    found["causal attention"] = _attention_gap(share, causal=True)
    return found


def _attention_gap(share: Share, *, causal: bool) -> float:
    torch.manual_seed(2)
    whole = torch.randn(3, 7, 2, 5, 4)
    torch.manual_seed(3)
    expected = nn.functional.scaled_dot_product_attention(*whole, dropout_p=0.4, is_causal=causal)
    torch.manual_seed(3)
    with SharedFunctions(share):
        result = nn.functional.scaled_dot_product_attention(
            *whole[:, share.start : share.stop], dropout_p=0.4, is_causal=causal
        )
    return float((result - expected[share.start : share.stop]).abs().max())


def _said(call: Callable[[], object]) -> str:
    try:
        call()
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return ""


if __name__ == "__main__":
    ranks = join()
    print(json.dumps(globals()[sys.argv[1]](ranks, **json.loads(sys.argv[2]))))
    ranks.leave()
