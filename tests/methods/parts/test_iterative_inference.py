"""The refinement loop: the right gradients at the right time, and nothing kept that should go."""

from __future__ import annotations

import gc
import weakref
from typing import NamedTuple

import pytest
import torch
from torch import Tensor, nn

from objbench.methods.parts.iterative_inference import (
    DetachedNorm,
    iterative_inference,
    outside_inference_mode,
)

TARGET = torch.tensor([[1.0, -2.0], [3.0, 0.5]])


class Attempt(NamedTuple):
    loss: Tensor
    watched: tuple[Tensor, ...]


def quadratic(latents, step):
    """Half the squared distance to TARGET; its gradient is latents - TARGET."""
    return Attempt(0.5 * (latents - TARGET).square().sum(1), (latents,))


def descend(found, gradients):
    return found.watched[0] - 0.5 * gradients[0]


def test_losses_and_last_attempt_follow_gradient_descent():
    losses, last = iterative_inference(torch.zeros(2, 2), 3, quadratic, descend)
    first = 0.5 * TARGET.square().sum(1)
    torch.testing.assert_close(torch.stack(losses), first * torch.tensor([[1], [0.25], [0.0625], [0.015625]]))
    assert last.loss is losses[-1]


def test_an_attempt_learns_how_many_updates_are_behind_it():
    seen = []

    def attempt(latents, step):
        seen.append(step)
        return quadratic(latents, step)

    iterative_inference(torch.zeros(2, 2), 2, attempt, descend)
    assert seen == [0, 1, 2]


def test_no_updates_is_one_attempt():
    losses, last = iterative_inference(torch.zeros(2, 2), 0, quadratic, descend)
    assert [loss is last.loss for loss in losses] == [True]


def test_gradients_of_an_image_do_not_depend_on_the_batch():
    def trajectory(rows):
        found = []

        def attempt(latents, step):
            return Attempt(0.5 * (latents - TARGET[rows]).square().sum(1), (latents,))

        def update(attempt, gradients):
            found.append(gradients[0])
            return descend(attempt, gradients)

        iterative_inference(torch.zeros_like(TARGET[rows]), 2, attempt, update)
        return torch.stack(found)

    torch.testing.assert_close(trajectory(slice(1)), trajectory(slice(2))[:, :1], rtol=0, atol=0)


def test_all_watched_tensors_get_their_gradients():
    found = []

    def attempt(latents, step):
        decoded = latents.square()
        return Attempt(decoded.sum(1), (latents, decoded))

    def update(attempt, gradients):
        found.extend(gradients)
        return attempt.watched[0]

    iterative_inference(TARGET, 1, attempt, update)
    torch.testing.assert_close(found, [2 * TARGET, torch.ones(2, 2)])


def test_refines_under_no_grad_and_in_eval():
    with torch.no_grad():
        losses, last = iterative_inference(torch.zeros(2, 2), 3, quadratic, descend)
    assert float(losses[-1].sum()) < float(losses[0].sum())
    assert not any(loss.requires_grad for loss in losses)
    assert not last.watched[0].requires_grad


@pytest.mark.parametrize("mode", [torch.inference_mode, torch.no_grad, torch.enable_grad])
def test_an_inference_mode_is_left_and_gradients_stay_as_they_are(mode):
    with mode():
        before = torch.is_grad_enabled(), torch.is_inference_mode_enabled()
        with outside_inference_mode():
            assert (torch.is_grad_enabled(), torch.is_inference_mode_enabled()) == (before[0], False)
        assert (torch.is_grad_enabled(), torch.is_inference_mode_enabled()) == before


def test_training_and_test_give_the_same():
    start, rate = torch.zeros(2, 2), nn.Parameter(torch.tensor(0.5))

    def update(found, gradients):
        return found.watched[0] - rate * gradients[0]

    losses, _ = iterative_inference(start, 3, quadratic, update)
    with torch.no_grad():
        again, _ = iterative_inference(start, 3, quadratic, update)
    torch.testing.assert_close(losses, again, rtol=0, atol=0)


def test_losses_are_differentiated_through_all_updates_but_not_through_their_gradients():
    rate = nn.Parameter(torch.tensor(0.5))
    shown = []

    def update(found, gradients):
        shown.append(gradients[0])
        return found.watched[0] - rate * gradients[0]

    start = nn.Parameter(torch.zeros(2, 2))
    losses, last = iterative_inference(start, 2, quadratic, update)
    assert not any(gradients.requires_grad for gradients in shown)
    last.loss.sum().backward()
    # z2 = z0 - rate (g0 + g1) with g0, g1 constants, and dL/dz2 = z2 - TARGET = -TARGET / 4
    torch.testing.assert_close(rate.grad, (TARGET / 4 * (shown[0] + shown[1])).sum())
    torch.testing.assert_close(start.grad, -TARGET / 4)
    assert len(losses) == 3


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("steps", [1, 6])
def test_nothing_outlives_the_loop(training, steps):
    """In training all attempts live until backward, at test only the one being made; no reference cycle keeps any."""
    network, made, alive = nn.Linear(2, 2), [], []

    def attempt(latents, step):
        decoded = network(latents)
        made.append(weakref.ref(decoded))
        alive.append(sum(ref() is not None for ref in made))
        return Attempt(decoded.square().sum(1), (latents, decoded))  # backward needs `decoded`

    def update(found, gradients):
        return found.watched[0] - 0.1 * gradients[0] - network(gradients[1])

    gc.disable()
    try:
        with torch.set_grad_enabled(training):
            losses, last = iterative_inference(torch.zeros(2, 2), steps, attempt, update)
        if training:
            torch.stack(losses).sum().backward()
        del losses, last
        assert [ref() for ref in made] == [None] * (steps + 1)
    finally:
        gc.enable()
    assert max(alive) == (steps + 1 if training else 1)


def test_detached_norm_normalises_and_stops_gradients():
    norm = DetachedNorm((2, 3))
    x = torch.arange(12.0).reshape(2, 2, 3).requires_grad_()
    y = norm(x)
    torch.testing.assert_close(y.mean((1, 2)), torch.zeros(2), atol=1e-6, rtol=0)
    torch.testing.assert_close(y.square().mean((1, 2)), torch.ones(2), atol=1e-4, rtol=0)
    y.square().sum().backward()
    assert x.grad is None
    assert norm.weight.grad is not None


def test_detached_norm_works_in_float32():
    assert (
        DetachedNorm(4, elementwise_affine=False)(torch.ones(2, 4, dtype=torch.bfloat16)).dtype
        == torch.float32
    )
