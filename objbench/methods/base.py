"""The method contract: what a model and its training recipe must offer, with a do-nothing default for the rest."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from typing import Annotated, Any

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.optim import Optimizer

from objbench.errors import ObjbenchError
from objbench.methods import hooks
from objbench.methods.contract import (
    LearningRate,
    Losses,
    Precision,
    Progress,
    Segmentation,
    Stage,
    Stepper,
    TrainingScenes,
)
from objbench.metrics.contingency import MAX_PLANES
from objbench.random import normal
from objbench.ranks.share import Share
from objbench.spec.settings import Group, Recipe

__all__ = [
    "LearningRate",
    "Losses",
    "Method",
    "Precision",
    "Progress",
    "Segmentation",
    "Stage",
    "Stepper",
    "TrainingScenes",
]
_TO_LEARN = "write training_loss and optimizers, or let stages() return []"


class Method(nn.Module):
    """Base class of every method. A method must write `segment`, and to learn `training_loss` and `optimizers`.

    The class `Settings` declares every key of the method's block in benchmarks.yaml with its type, range and meaning;
    the values are in the yaml alone. The base class has the recipe that all methods share, which is enough for a
    method without keys of its own. A method with keys declares a subclass of the same name; the annotation tells type
    checkers:

        class Settings(Method.Settings):
            model: Model

        settings: Settings

    All mutable state is in parameters, buffers or get_extra_state, which have their names and shapes from `__init__` on, so
    that what is saved can be loaded; `setup` may change values. Random numbers come from torch's default generators,
    which the trainer reseeds before each step, and in `segment` from `self.normal`.

    A run can be shared by several processes (torchrun), each with a part of every batch. Then a loss and each of its
    parts has to be a mean over images; random numbers of an image come from `self.normal` or `self.drawn`, and what
    `training_loss` keeps in buffers goes through `self.over_batch`. What is drawn otherwise is the same in all processes.
    Batch norms and dropout are shared by the trainer; other kinds of dropout (nn.Dropout2d, that within
    nn.MultiheadAttention) are refused there.

    Args:
        image_shape: (3,H,W).
        slots: K, the number of slots, equal to `settings.slots`; a method may have another number of planes.
        settings: the hyper-parameters for the dataset, as in `settings.model.width`.

    Attributes:
        frozen: names of the parameters that never receive a gradient.
        any_slots: whether a trained model can segment with another number of slots than it was trained with. Its state
            has the same names and shapes for every K, and `segment` gives `self.slots` planes.
    """

    class Settings(Group):
        """The hyper-parameters of a method: its block in benchmarks.yaml, and the number of slots."""

        slots: Annotated[int, Field(ge=1, le=MAX_PLANES)] = Field(
            description="K, the number of slots; if nothing sets it, that of the dataset"
        )
        recipe: Recipe

    settings: Settings
    frozen: tuple[str, ...] = ()
    any_slots: bool = False

    def __init_subclass__(cls, **options: Any) -> None:
        """Make the hooks of every method refuse what is no batch of images, and tell when they give something else."""
        super().__init_subclass__(**options)
        for hook, check in hooks.CHECKS.items():
            owner = next(base for base in cls.__mro__ if hook in base.__dict__)
            if owner is cls or not issubclass(owner, Method):  # else it is checked already
                given = getattr(cls, hook)
                setattr(cls, hook, hooks.of_the_method_itself(hook, given, check(given)))

    def __init__(self, image_shape: tuple[int, int, int], slots: int, settings: Settings) -> None:
        super().__init__()
        self.image_shape, self.slots, self.settings = image_shape, slots, settings
        self._image_seeds: Tensor | None = None
        self._draws = 0
        self._share: Share | None = None

    @property
    def recipe(self) -> Recipe:
        """How the method is trained and evaluated."""
        return self.settings.recipe

    def stages(self) -> list[Stage]:
        """The parts of the training, [] if there is nothing to train. Default: one stage, as in the recipe."""
        r = self.recipe
        return [Stage("train", r.steps, r.epochs, r.batch_size, r.clip_norm, r.precision)]

    def setup(self, images: Tensor, stage: Stage) -> None:
        """Called at the start of a stage, under no_grad, with a seeded sample of training images.

        It is not called again when a stage is resumed: state and `requires_grad` of all parameters are restored
        instead.

        Args:
            images: float (n,3,H,W) in [0,1].
            stage: the stage that begins.
        """

    def optimizers(self, stage: Stage) -> list[tuple[Optimizer, LearningRate]]:
        """The optimizers of a stage, each with its learning rate as a function of progress. Called after `setup`.

        They are zeroed, clipped jointly and stepped together. A parameter group may scale the rate by "lr_scale". Their
        tensors are parameters of the method, each in no more than one of them. A learning rate is finite and >= 0.
        """
        raise ObjbenchError(f"{type(self).__name__} has stages but no optimizers: {_TO_LEARN}")

    def training_loss(self, images: Tensor, progress: Progress) -> Losses:
        """The loss of a batch: images float (B,3,H,W) in [0,1]."""
        raise ObjbenchError(f"{type(self).__name__} has stages but no training_loss: {_TO_LEARN}")

    def after_step(self, progress: Progress, losses: Losses, optimizers: list[Optimizer]) -> None:
        """Called after each step: for GECO, temperatures, changes of parameters and optimizer state."""

    def after_evaluation(self, progress: Progress, metrics: Mapping[str, float]) -> None:
        """Called after each evaluation on val: for plateau schedules and restarts."""

    @classmethod
    def follows_val(cls) -> bool:
        """Whether its training depends on its scores on val."""
        return cls.after_evaluation is not Method.after_evaluation

    def segment(self, images: Tensor, progress: Progress | None = None) -> Segmentation:
        """Segment float images (B,3,H,W) in [0,1]; progress None = end of training.

        Called in eval() under no_grad, never inference_mode: a method may enable gradients inside.

        Raises:
            RequestError: `images` is no such batch. The base class checks it for every subclass.
        """
        raise ObjbenchError(f"{type(self).__name__} does not say how to segment: write segment")

    def capture_key(self, progress: Progress) -> Hashable | None:
        """What a captured training step (a CUDA graph) depends on: it is replayed while the key stays the same.

        None: steps cannot be captured. (): all steps do the same work.

        Steps of equal keys do the same work on tensors of the same shapes: every Python number in `training_loss` is a
        function of the key, its random numbers come from the default generator of the device, and nothing in it waits
        for the device. Optimizers must be of a kind with `capturable` (Adam, AdamW, RMSprop). `after_step` may change
        parameters and optimizer state in place, but may not replace their tensors; if it changes options of an optimizer,
        such as the weight decay, the step is captured anew. In bf16 the weights of linear and
        convolution layers are bfloat16 in a captured step: where autocast is off, cast their inputs.
        """
        return None

    def stepper(self, scenes: TrainingScenes, stage: Stage) -> Stepper | None:
        """The method's own training step for this stage.

        None: the captured one if `capture_key` allows it and the scenes are on a CUDA device, else the plain one.
        """
        return None

    def training_flops(self, progress: Progress) -> int | None:
        """The operations of one image in a training step, for the MFU, where they change with progress.

        None: they are counted once, on `training_loss`.
        """
        return None

    def image_seeds(self, batch: int) -> Tensor:
        """A seed for each image, int64 (batch,) on the CPU.

        In `segment` it is a function of the run's seed and the sample key; elsewhere from the default generator.
        """
        if self._image_seeds is None:
            return self.drawn(batch, lambda count: torch.randint(2**62, (count,)))
        if len(self._image_seeds) != batch:
            raise ValueError(f"asked for the seeds of {batch} images in a batch of {len(self._image_seeds)}")
        return self._image_seeds

    def normal(self, images: Tensor, *shape: int) -> Tensor:
        """Standard normal numbers (B,*shape) for a batch of images (B,...), on their device.

        In `segment` they are drawn per image from its (seed, key), so that neither the batch size nor the other images
        change a result; in training from the default generator.
        """
        if self._image_seeds is None:
            return self.drawn(
                len(images),
                lambda count: torch.randn(count, *shape, dtype=torch.float32, device=images.device),
            )
        self._draws += 1
        return normal(self.image_seeds(len(images)).to(images.device), self._draws, shape)

    def drawn(self, count: int, draw: Callable[[int], Tensor]) -> Tensor:
        """The random numbers of `count` rows in training, whose images come first, from a default generator.

        Where several processes share a batch, each draws for all of it and takes its part, so that an image has the
        numbers that it has in one process.

        Args:
            count: number of images, or a multiple of it.
            draw: gives the numbers of so many rows, such as `lambda count: torch.rand(count, 3)`.
        """
        return draw(count) if self._share is None else self._share.drawn(count, draw)

    def over_batch(self, mean: Tensor) -> Tensor:
        """In training, the mean over the whole batch, from the mean over the images that this process has of it.

        It has no gradient, and costs an exchange between the processes; in one process it is `mean` itself.
        """
        return mean if self._share is None else self._share.over_batch(mean)

    def share_batches(self, share: Share | None) -> None:
        """Called by the trainer where several processes share the batches of a stage, in the end with None."""
        self._share = share

    def seed_images(self, seeds: Tensor | None) -> None:
        """Called by the evaluator before `segment` with the seeds int64 (B,) of its images, in the end with None."""
        self._image_seeds, self._draws = seeds, 0
