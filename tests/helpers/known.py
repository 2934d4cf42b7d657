"""Models whose parameters, images and noise are known, and what training steps leave behind."""

from __future__ import annotations

import gc

import torch

from objbench.methods.base import Method, Progress


def known_loss(method: Method, progress: Progress) -> dict[str, float]:
    """The loss and its parts for parameters of a tenth of a sine and images that are a ramp of greys; seed 0."""
    with torch.no_grad():
        for parameter in method.parameters():
            parameter.copy_(0.1 * torch.arange(1.0, 1 + parameter.numel()).sin().view(parameter.shape))
        shape = (2, *method.image_shape)
        images = torch.linspace(0, 1, torch.Size(shape).numel()).view(shape)
        torch.manual_seed(0)
        losses = method.training_loss(images, progress)
    return {"total": losses.total.item()} | {name: value.item() for name, value in losses.parts.items()}


def tensors_alive(method: Method, progress: Progress, steps: int) -> int:
    """How many tensors there are after so many steps."""
    images = torch.rand(2, *method.image_shape)
    for _ in range(steps):
        losses = method.training_loss(images, progress)
        losses.total.backward()  # type: ignore[no-untyped-call]
        method.zero_grad()
        del losses
    gc.collect()
    return sum(issubclass(type(thing), torch.Tensor) for thing in gc.get_objects())
