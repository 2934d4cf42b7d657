"""The training step as a CUDA graph: one launch per step instead of hundreds, and no waiting for the host.

It works for every method whose step does the same work on tensors of the same shapes while its `capture_key` is the
same. The first step of each key runs in eager mode (which initialises libraries, kernels and optimizer states), the
second is captured, all others are replays. Random numbers are those of the plain stepper: a graph reads the seed of the
default generator, which is set before each replay.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from objbench.methods.base import Losses, Method, Progress, Stage, TrainingScenes
from objbench.train.batches import unit_range

_READ_AT_EACH_STEP = ("params", "lr", "lr_scale")  # of the groups of an optimizer
_CAST = (nn.Linear, nn.modules.conv._ConvNd)  # layers that autocast runs in bfloat16


class CapturableLoss(Protocol):
    """A training loss that can be captured."""

    def key(self, progress: Progress) -> Hashable:
        """A key that is equal for steps that can share a graph, or None for a step that cannot be captured.

        Everything that enters the loss, except for tensors, must be a function of the key.
        """

    def prepare(self, progress: Progress) -> None:
        """Write scheduled values into tensors that the loss reads. Called before each step, outside the graph."""

    def loss(self, images: Tensor, progress: Progress) -> Losses:
        """The loss of uint8 images (B,3,H,W)."""


class MethodLoss:
    """The training loss of a method that has a `capture_key`."""

    def __init__(self, method: Method) -> None:
        self.method = method

    def key(self, progress: Progress) -> Hashable:
        return self.method.capture_key(progress)

    def prepare(self, progress: Progress) -> None:
        pass

    def loss(self, images: Tensor, progress: Progress) -> Losses:
        return self.method.training_loss(unit_range(images), progress)


class CudaGraphStepper:
    """Takes the steps of `PlainStepper` by a CUDA graph, if the images are on a CUDA device.

    On other devices the same work is done without a graph. In bfloat16 the weights of linear and convolution layers
    are cast together, once per step, instead of one by one in each layer.
    """

    def __init__(
        self, method: Method, scenes: TrainingScenes, stage: Stage, loss: CapturableLoss | None = None
    ) -> None:
        self.method, self.scenes, self.stage = method, scenes, stage
        self.loss = loss or MethodLoss(method)
        self.step = 0
        self._pairs = method.optimizers(stage)
        self._optimizers = [optimizer for optimizer, _ in self._pairs]
        self._rates = [_LearningRates(optimizer) for optimizer in self._optimizers]
        groups = [group for optimizer in self._optimizers for group in optimizer.param_groups]
        self._parameters = [parameter for group in groups for parameter in group["params"]]
        self._weights = _Weights(method, stage)
        self._indices = scenes.batch(0).clone()
        self._fixed: object = None  # all that a capture fixes: the key, and the options of the optimizers
        self._warm = False  # whether a step with it was taken in eager mode
        self._graph: _Graph | None = None
        self._losses: Losses | None = None
        # Use a separate stream: destroying a graph frees what cuBLAS keeps for the stream of the capture.
        self._stream = torch.cuda.Stream(scenes.images.device) if scenes.images.is_cuda else None  # type: ignore[no-untyped-call]

    def advance(self, steps: int) -> None:
        """Take `steps` training steps."""
        for _ in range(steps):
            self._train_step(self.scenes.progress(self.step))
            self.step += 1

    def _train_step(self, progress: Progress) -> None:
        for (_, learning_rate), rates in zip(self._pairs, self._rates, strict=True):
            rates.set(learning_rate(progress))
        self.loss.prepare(progress)
        self._indices.copy_(self.scenes.batch(self.step))
        key = self.loss.key(progress)
        fixed = (key, [rates.options() for rates in self._rates])
        if fixed != self._fixed:
            self._drop_graph()
            self._fixed = fixed
        if key is None or not self._warm:
            self.scenes.reseed(self.step)
            self._losses = self._run_eagerly(progress)
            self._warm = True
        else:
            if self._graph is None:
                self._graph = self._capture(progress)
            self.scenes.reseed(self.step)
            self._graph.replay()
            self._losses = self._graph.losses
        assert self._losses is not None
        self.method.after_step(progress, self._losses, self._optimizers)

    def _capture(self, progress: Progress) -> _Graph:
        if self._stream is None:
            return _Rerun(lambda: self._work(progress))
        return _CudaGraph(lambda: self._work(progress), self._stream)

    def _drop_graph(self) -> None:
        """Drop the graph and all tensors in its memory, so that the next graph can use it."""
        self._fixed, self._warm, self._graph, self._losses = None, False, None, None

    def _run_eagerly(self, progress: Progress) -> Losses:
        if self._stream is None:
            return self._work(progress)
        outside = torch.cuda.current_stream(self._stream.device)
        self._stream.wait_stream(outside)
        with torch.cuda.device(self._stream.device), torch.cuda.stream(self._stream):
            losses = self._work(progress)
        outside.wait_stream(self._stream)
        return losses

    def _work(self, progress: Progress) -> Losses:
        """The work of one step on the device."""
        images = self.scenes.images.index_select(0, self._indices)
        bf16 = self.stage.precision == "bf16"
        with torch.autocast(images.device.type, torch.bfloat16, enabled=bf16, cache_enabled=False):
            losses = self._weights.call(self.loss.loss, images, progress)
        self._weights.backward(losses.total)
        if self.stage.clip_norm is not None:
            torch.nn.utils.clip_grad_norm_(self._parameters, self.stage.clip_norm, self.stage.clip_order)
        for optimizer in self._optimizers:
            optimizer.step()
        return Losses(losses.total.detach(), {name: part.detach() for name, part in losses.parts.items()})

    def losses(self) -> dict[str, float]:
        """The losses of the last step."""
        if self._losses is None:
            return {}
        parts = {"total": self._losses.total, **self._losses.parts}
        return {
            name: float(value) for name, value in parts.items()
        }  # each from where it is: a constant from the CPU

    def state_dict(self) -> dict[str, Any]:
        """Position and optimizer states, in the format of PlainStepper: each of the two can load the other's."""
        return {"step": self.step, "optimizers": [rates.state_dict() for rates in self._rates]}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore a `state_dict`."""
        self.step = state["step"]
        for rates, saved in zip(self._rates, state["optimizers"], strict=True):
            rates.load_state_dict(saved)
        self._drop_graph()


class _LearningRates:
    """The learning rates of an optimizer as tensors on the device, which a graph can read."""

    def __init__(self, optimizer: Optimizer) -> None:
        self.optimizer = optimizer
        self._set: list[float] = []
        self._make_capturable()

    def _make_capturable(self) -> None:
        self._set = []
        (device, *_) = (p.device for group in self.optimizer.param_groups for p in group["params"])
        for group in self.optimizer.param_groups:
            if "capturable" not in group:
                raise TypeError(
                    f"{type(self.optimizer).__name__} cannot be captured: use one with `capturable`"
                )
            group["capturable"] = device.type == "cuda"
            group["lr"] = torch.zeros((), device=device)

    def set(self, rate: float) -> None:
        """Set the rates of all groups if one has changed."""
        groups = self.optimizer.param_groups
        rates = [rate * group.get("lr_scale", 1.0) for group in groups]
        if rates != self._set:
            for group, scaled in zip(groups, rates, strict=True):
                group["lr"].fill_(scaled)
            self._set = rates

    def options(self) -> list[dict[str, Any]]:
        """What the groups hold besides parameters and rates, such as the weight decay: a graph has it as it was captured."""
        return [
            {name: value for name, value in group.items() if name not in _READ_AT_EACH_STEP}
            for group in self.optimizer.param_groups
        ]

    def state_dict(self) -> dict[str, Any]:
        state = self.optimizer.state_dict()
        for group in state["param_groups"]:
            group |= {"lr": float(group["lr"]), "capturable": False}
        return state

    def load_state_dict(self, state: dict[str, Any]) -> None:
        here = self.optimizer.param_groups
        groups = [
            {**saved, "capturable": group["capturable"]}
            for saved, group in zip(state["param_groups"], here, strict=True)
        ]
        self.optimizer.load_state_dict(
            {**state, "param_groups": groups}
        )  # moves step counts to the right device
        self._make_capturable()


class _Weights:
    """The trained parameters, their float32 gradients, and the bfloat16 copies with which the loss is computed."""

    def __init__(self, method: Method, stage: Stage) -> None:
        self._module = _Caller(method)
        trained = {name: p for name, p in method.named_parameters() if p.requires_grad}
        names = _cast_by_autocast(method) if stage.precision == "bf16" else set()
        cast = {name: p for name, p in trained.items() if name in names}
        self._masters: list[Tensor] = list(cast.values())
        self._copies = [p.detach().bfloat16().requires_grad_() for p in self._masters]
        self._in_place_of = {f"method.{name}": copy for name, copy in zip(cast, self._copies, strict=True)}
        direct = [p for name, p in trained.items() if name not in names]
        self._leaves = [*self._copies, *direct]
        self._owners = [*self._masters, *direct]
        self._gradients = [torch.zeros_like(p) for p in self._owners]

    def call(self, loss: Callable[[Tensor, Progress], Losses], images: Tensor, progress: Progress) -> Losses:
        """The loss, computed with updated copies."""
        if self._copies:
            with torch.no_grad():
                torch._foreach_copy_(self._copies, self._masters)
        losses: Losses = torch.func.functional_call(self._module, self._in_place_of, (loss, images, progress))
        return losses

    def backward(self, total: Tensor) -> None:
        """Write the gradient of `total` into the `grad` of each parameter, None if the loss does not depend on it.

        Gradients are copied into separate tensors: autograd may give two parameters the same tensor, or an expanded one.
        """
        found = torch.autograd.grad(total, self._leaves, allow_unused=True)
        for owner, gradient, new in zip(self._owners, self._gradients, found, strict=True):
            owner.grad = None if new is None else gradient
        cast = len(self._copies)
        for part in (slice(cast), slice(cast, None)):  # one kernel per dtype
            pairs = [
                (old, new)
                for old, new in zip(self._gradients[part], found[part], strict=True)
                if new is not None
            ]
            if pairs:
                torch._foreach_copy_([old for old, _ in pairs], [new for _, new in pairs])


class _Caller(nn.Module):
    """Calls a loss while parameters of `method` are replaced by copies."""

    def __init__(self, method: Method) -> None:
        super().__init__()
        self.method = method

    def forward(
        self, loss: Callable[[Tensor, Progress], Losses], images: Tensor, progress: Progress
    ) -> Losses:
        return loss(images, progress)


def _cast_by_autocast(method: Method) -> set[str]:
    """The names of the parameters that autocast casts."""
    return {
        f"{prefix}.{name}" if prefix else name
        for prefix, module in method.named_modules()
        if isinstance(module, _CAST)
        for name, _ in module.named_parameters(recurse=False)
    }


class _Graph(Protocol):
    """Work that can be repeated; `losses` are those of the last time."""

    losses: Losses

    def replay(self) -> None:
        """Do the work."""


class _CudaGraph:
    """The work as a captured CUDA graph. Capturing it does not run it."""

    def __init__(self, work: Callable[[], Losses], stream: torch.cuda.Stream) -> None:
        self._graph = torch.cuda.CUDAGraph()
        with torch.cuda.device(stream.device), torch.cuda.graph(self._graph, stream=stream):
            self.losses = work()

    def replay(self) -> None:
        self._graph.replay()


class _Rerun:
    """The work run again each time, for devices without graphs."""

    def __init__(self, work: Callable[[], Losses]) -> None:
        self._work = work

    def replay(self) -> None:
        self.losses = self._work()
