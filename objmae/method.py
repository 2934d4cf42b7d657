"""objmae as a method of objbench: its configuration, optimizer, training loss and segmentation."""

from __future__ import annotations

from typing import Annotated

import torch
from pydantic import Field, model_validator
from torch import Tensor
from torch.optim import AdamW, Optimizer

from objbench.errors import RequestError
from objbench.methods.base import (
    LearningRate,
    Losses,
    Method,
    Progress,
    Segmentation,
    Stage,
    Stepper,
    TrainingScenes,
)
from objbench.spec.explain import refusal
from objbench.spec.settings import Group, PositiveOrZero
from objmae.flops import training_flops
from objmae.losses import object_entropy, pixel_entropy, reconstruction_error
from objmae.model import Autoencoder, Model, patchify, random_patches, unpatchify
from objmae.schedule import Schedule

Decay = Annotated[float, Field(ge=0, lt=1)]


class Optimization(Group):
    """AdamW."""

    beta1: Decay = Field(description="decay of AdamW's average of gradients")
    beta2: Decay = Field(description="decay of AdamW's average of squared gradients")
    eps: PositiveOrZero = Field(description="added to the root of the average of squared gradients")
    weight_decay: PositiveOrZero = Field(
        description="weight decay of all parameters but biases and layer norms"
    )


class ObjMAE(Method):
    """Learning Explicit Object-Centric Representations with Vision Transformers (Vikström and Ilin, 2022)."""

    class Settings(Method.Settings):
        """The keys of its block in benchmarks.yaml."""

        model: Model
        optimizer: Optimization
        schedule: Schedule

        @model_validator(mode="after")
        def _ramp_within_the_training(self) -> ObjMAE.Settings:
            if self.schedule.ramp_end > self.recipe.nominal_epochs:
                expected = f"at most recipe.nominal_epochs={self.recipe.nominal_epochs}"
                raise refusal("schedule.ramp_end", expected, self.schedule.ramp_end)
            return self

    settings: Settings

    def __init__(self, image_shape: tuple[int, int, int], slots: int, settings: Settings) -> None:
        super().__init__(image_shape, slots, settings)
        self.model = Autoencoder(settings.model, image_shape[1:], slots)
        schedule, patches = settings.schedule, self.model.patches
        if schedule.kept_patches(0, patches) == 0:
            expected = f"a share that keeps one of an image's {patches} patches"
            raise refusal("schedule.mask_ratio", expected, schedule.mask_ratio)
        if schedule.mask_ratio == 0:
            self.frozen = ("model.mask_token",)  # no patch is ever dropped

    def optimizers(self, stage: Stage) -> list[tuple[Optimizer, LearningRate]]:
        """One AdamW, with weight decay on all parameters but biases and layer norms."""
        adamw, schedule = self.settings.optimizer, self.settings.schedule
        named = list(self.named_parameters())
        groups = [
            {"params": [p for name, p in named if decays(name)], "weight_decay": adamw.weight_decay},
            {"params": [p for name, p in named if not decays(name)], "weight_decay": 0.0},
        ]
        betas, rate = (adamw.beta1, adamw.beta2), schedule.learning_rate
        optimizer = AdamW(groups, lr=rate, betas=betas, eps=adamw.eps, fused=True)
        return [(optimizer, lambda progress: schedule.rate(progress.nominal_epoch))]

    def training_loss(self, images: Tensor, progress: Progress) -> Losses:
        """Reconstruct all patches from a random few; two entropies make the masks decided and few."""
        epoch, schedule = progress.nominal_epoch, self.settings.schedule
        patches = self._patches(images)  # (B,N,P*P*C)
        B, N, _ = patches.shape
        kept = schedule.kept_patches(epoch, N)
        ids = self.drawn(B, lambda count: random_patches(count, N, kept, patches.device))  # (B,n)
        out = self.model(patches, ids, self._token_noise(images, schedule.noise(epoch)))

        reconstruction = reconstruction_error(out.reconstruction, patches)
        pixel, objects = pixel_entropy(out.log_masks), object_entropy(out.log_masks)
        pixel_weight, object_weight = schedule.entropy_weights(epoch)
        total = reconstruction + pixel_weight * pixel + object_weight * objects
        parts = {"reconstruction": reconstruction, "pixel_entropy": pixel, "object_entropy": objects}
        return Losses(total, parts)

    def training_flops(self, progress: Progress) -> int:
        """They grow with the patches that the encoder sees."""
        kept = self.settings.schedule.kept_patches(progress.nominal_epoch, self.model.patches)
        return training_flops(self.model, kept)

    def segment(self, images: Tensor, progress: Progress | None = None) -> Segmentation:
        """The decoder's masks with all patches seen and no noise, at any stage of the training."""
        patches = self._patches(images)
        B, N, _ = patches.shape
        grid, patch = self.model.grid, self.settings.model.patch
        out = self.model(patches, torch.arange(N, device=patches.device).expand(B, N))

        def image(values: Tensor) -> Tensor:  # (...,N,P*P*C) in [-1,1] -> (...,C,H,W) in [0,1]
            return (unpatchify(values, grid, patch) + 1) / 2

        return Segmentation(
            masks=unpatchify(out.log_masks.exp(), grid, patch).squeeze(2),  # (B,K,H,W)
            reconstruction=image(out.reconstruction),
            components=image(out.rgb.flatten(3)),
            slots=out.slots,
            attention=out.log_attention.exp().mT.unflatten(2, grid),  # (B,K,rows,columns)
        )

    def stepper(self, scenes: TrainingScenes, stage: Stage) -> Stepper | None:
        """The fast path: on CUDA fused kernels in a captured step; on the CPU in bfloat16, which autocast slows down."""
        if not scenes.images.is_cuda and stage.precision != "bf16":
            return None
        from objbench.train.cuda_graph import CudaGraphStepper
        from objmae.fast import FastLoss

        return CudaGraphStepper(
            self, scenes, stage, FastLoss(self.model, self.settings.schedule, self.normal)
        )

    def _patches(self, images: Tensor) -> Tensor:
        if images.shape[1:] != self.image_shape:
            built, found = ("x".join(map(str, shape)) for shape in (self.image_shape, images.shape[1:]))
            raise RequestError(
                f"objmae was built for images of {built} (channels x height x width), got {found}"
            )
        return patchify(2 * images - 1, self.settings.model.patch)

    def _token_noise(self, images: Tensor, deviation: float) -> Tensor | None:
        if deviation == 0:
            return None
        return deviation * self.normal(images, *self.model.class_tokens.shape)  # (B,K,D)


def decays(name: str) -> bool:
    """Whether the parameter `name` is subject to weight decay: all but biases and layer norms."""
    return not name.endswith("bias") and "norm" not in name
