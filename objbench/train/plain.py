"""The training step in eager mode, which defines what every other stepper must compute."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from objbench.methods.base import Losses, Method, Stage, TrainingScenes
from objbench.ranks.share import Share
from objbench.train.batches import unit_range
from objbench.train.shared_step import shared_batch, sum_gradients


class PlainStepper:
    """Takes one step after another: seed, batch, loss, joint clipping, all optimizers, after_step.

    With a `share` the scenes give a part of each batch, and gradients and losses are summed over the processes.
    """

    def __init__(
        self, method: Method, scenes: TrainingScenes, stage: Stage, share: Share | None = None
    ) -> None:
        self.method, self.scenes, self.stage, self.share = method, scenes, stage, share
        self.step = 0
        self._pairs = method.optimizers(stage)
        self._optimizers = [optimizer for optimizer, _ in self._pairs]
        groups = [group for optimizer in self._optimizers for group in optimizer.param_groups]
        self._parameters = [parameter for group in groups for parameter in group["params"]]
        self._losses: Losses | None = None

    def advance(self, steps: int) -> None:
        """Take `steps` training steps."""
        for _ in range(steps):
            self._losses = self._train_step(self.step)
            self.step += 1

    def _train_step(self, step: int) -> Losses:
        progress = self.scenes.progress(step)
        self.scenes.reseed(step)
        images = unit_range(self.scenes.images[self.scenes.batch(step)])
        for optimizer, learning_rate in self._pairs:
            rate = learning_rate(progress)
            for group in optimizer.param_groups:
                group["lr"] = rate * group.get("lr_scale", 1.0)
            optimizer.zero_grad(set_to_none=True)
        with shared_batch(self.share):
            with torch.autocast(images.device.type, torch.bfloat16, enabled=self.stage.precision == "bf16"):
                losses = self.method.training_loss(images, progress)
            total = losses.total if self.share is None else losses.total * self.share.weight
            total.backward()  # type: ignore[no-untyped-call]
        losses = Losses(losses.total.detach(), {name: part.detach() for name, part in losses.parts.items()})
        if self.share is not None:
            losses = sum_gradients(self.share, self._parameters, losses)
        if self.stage.clip_norm is not None:
            torch.nn.utils.clip_grad_norm_(self._parameters, self.stage.clip_norm, self.stage.clip_order)
        for optimizer in self._optimizers:
            optimizer.step()
        self.method.after_step(progress, losses, self._optimizers)
        return losses

    def losses(self) -> dict[str, float]:
        """The losses of the last step."""
        if self._losses is None:
            return {}
        parts: dict[str, Tensor] = {"total": self._losses.total, **self._losses.parts}
        return {name: float(value) for name, value in parts.items()}

    def state_dict(self) -> dict[str, Any]:
        """Position and optimizer states."""
        return {"step": self.step, "optimizers": [optimizer.state_dict() for optimizer in self._optimizers]}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore a `state_dict`."""
        self.step = state["step"]
        for optimizer, saved in zip(self._optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(saved)
