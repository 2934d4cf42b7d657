"""Models whose parameters, images and noise are known, and what training steps leave behind."""

from __future__ import annotations

import gc

import pytest
import torch
from torch import Tensor

from objbench.methods.base import Method, Progress
from objbench.methods.slate import SLATE
from objbench.methods.slot_attention import SlotAttention


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


class KnownNoise:
    """Gives a method the same random numbers each time it is asked for a whole image.

    Attributes:
        drawn: the numbers, in the order in which the method asks for them.
    """

    def __init__(self, method: Method, monkeypatch: pytest.MonkeyPatch) -> None:
        self.drawn: list[Tensor] = []
        self.position = 0
        monkeypatch.setattr(method, "normal", self)

    def __call__(self, images: Tensor, *shape: int) -> Tensor:
        """The next numbers."""
        if self.position == len(self.drawn):
            self.drawn.append(torch.randn(len(images), *shape))
        self.position += 1
        return self.drawn[self.position - 1]

    def rewind(self) -> None:
        """Begin with the first numbers again."""
        self.position = 0


def first_slots(method: SlotAttention | SLATE) -> torch.Tensor:
    """What the slots of 50 batches of 8 images start from, (400,K,D), with a learned mean of 3 and log std of -1."""
    seen: list[torch.Tensor] = []
    method.attention.register_forward_pre_hook(lambda _, args: seen.append(args[1]))
    with torch.no_grad():
        method.slot_mean.fill_(3)
        method.slot_log_std.fill_(-1)
        for _ in range(50):
            method.segment(torch.rand(8, *method.image_shape))
    return torch.cat(seen)


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
