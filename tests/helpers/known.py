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


def tensors_kept(method: Method, progress: Progress) -> int:
    """How many more tensors there are after five whole training steps than after the first one."""
    images = torch.rand(2, *method.image_shape)
    (stage,) = [stage for stage in method.stages() if stage.name == progress.stage]
    optimizers = [optimizer for optimizer, _ in method.optimizers(stage)]

    def tensors_after(steps: int) -> int:
        for _ in range(steps):
            losses = method.training_loss(images, progress)
            method.zero_grad()
            losses.total.backward()  # type: ignore[no-untyped-call]
            for optimizer in optimizers:
                optimizer.step()
            method.after_step(progress, losses, optimizers)
            del losses
        gc.collect()
        return sum(issubclass(type(thing), torch.Tensor) for thing in gc.get_objects())

    before = tensors_after(1)
    return tensors_after(4) - before
