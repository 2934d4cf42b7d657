"""objmae as a method of objbench: its configuration, optimizer, training loss and segmentation."""

from __future__ import annotations

from dataclasses import fields
from typing import Any, TypeVar

import torch
from torch import Tensor
from torch.optim import AdamW, Optimizer

from objbench.errors import RequestError, unknown_name
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
from objmae.losses import object_entropy, pixel_entropy, reconstruction_error
from objmae.model import Autoencoder, ModelConfig, patchify, random_patches, unpatchify
from objmae.schedule import Schedule

Block = TypeVar("Block", ModelConfig, Schedule)


class ObjMAE(Method):
    """Learning Explicit Object-Centric Representations with Vision Transformers (Vikström and Ilin, 2022)."""

    def __init__(self, image_shape: tuple[int, int, int], slots: int, config: dict[str, Any]) -> None:
        super().__init__(image_shape, slots, config)
        self.model = Autoencoder(_read(ModelConfig, "model", config, image_size=image_shape[1:], slots=slots))
        self.schedule = _read(Schedule, "schedule", config)
        if self.schedule.ramp_end > self.recipe.nominal_epochs:
            raise RequestError(
                f"schedule.ramp_end={self.schedule.ramp_end} lies after the last of "
                f"recipe.nominal_epochs={self.recipe.nominal_epochs}"
            )
        patches = self.model.config.patches
        if self.schedule.kept_patches(0, patches) == 0:
            ratio = self.schedule.mask_ratio
            raise RequestError(f"schedule.mask_ratio={ratio} keeps none of an image's {patches} patches")
        if self.schedule.mask_ratio == 0:
            self.frozen = ("model.mask_token",)  # no patch is ever dropped

    def optimizers(self, stage: Stage) -> list[tuple[Optimizer, LearningRate]]:
        """One AdamW; its weight decay spares biases and layer norms, but not the class tokens and the mask token."""
        settings = self.config["optimizer"]
        named = list(self.named_parameters())
        groups = [
            {"params": [p for name, p in named if decays(name)], "weight_decay": settings["weight_decay"]},
            {"params": [p for name, p in named if not decays(name)], "weight_decay": 0.0},
        ]
        betas = (settings["beta1"], settings["beta2"])
        try:
            adamw = AdamW(
                groups, lr=self.schedule.learning_rate, betas=betas, eps=settings["eps"], fused=True
            )
        except ValueError as error:
            raise RequestError(f"optimizer: {error}") from None
        return [(adamw, lambda progress: self.schedule.rate(progress.nominal_epoch))]

    def training_loss(self, images: Tensor, progress: Progress) -> Losses:
        """Reconstruct all patches from a random few; two entropies make the masks decided and few."""
        epoch, patches = progress.nominal_epoch, self._patches(images)  # (B,N,P*P*C)
        B, N, _ = patches.shape
        ids = random_patches(B, N, self.schedule.kept_patches(epoch, N), patches.device)  # (B,n)
        out = self.model(patches, ids, self._token_noise(images, self.schedule.noise(epoch)))

        reconstruction = reconstruction_error(out.reconstruction, patches)
        pixel, objects = pixel_entropy(out.log_masks), object_entropy(out.log_masks)
        pixel_weight, object_weight = self.schedule.entropy_weights(epoch)
        total = reconstruction + pixel_weight * pixel + object_weight * objects
        parts = {"reconstruction": reconstruction, "pixel_entropy": pixel, "object_entropy": objects}
        return Losses(total, parts)

    def segment(self, images: Tensor, progress: Progress | None = None) -> Segmentation:
        """The decoder's masks with all patches seen and no noise, at any stage of the training."""
        patches = self._patches(images)
        B, N, _ = patches.shape
        grid, patch = self.model.config.grid, self.model.config.patch
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
        """On CUDA the fast path: fused kernels in a captured step."""
        if not scenes.images.is_cuda:
            return None
        from objbench.train.cuda_graph import CudaGraphStepper
        from objmae.fast import FastLoss

        return CudaGraphStepper(self, scenes, stage, FastLoss(self.model, self.schedule, self.normal))

    def _patches(self, images: Tensor) -> Tensor:
        if images.shape[1:] != self.image_shape:
            built, found = ("x".join(map(str, shape)) for shape in (self.image_shape, images.shape[1:]))
            raise RequestError(
                f"objmae was built for images of {built} (channels x height x width), got {found}"
            )
        return patchify(2 * images - 1, self.model.config.patch)

    def _token_noise(self, images: Tensor, deviation: float) -> Tensor | None:
        if deviation == 0:
            return None
        return deviation * self.normal(images, *self.model.class_tokens.shape)  # (B,K,D)


def decays(name: str) -> bool:
    """Whether the parameter `name` is subject to weight decay: all but biases and layer norms."""
    return not name.endswith("bias") and "norm" not in name


def _read(kind: type[Block], key: str, config: dict[str, Any], **given: Any) -> Block:
    """The block `key` of the configuration, typed; raises RequestError for a key that it does not have."""
    known = {field.name for field in fields(kind)} - given.keys()
    for name in config[key]:
        if name not in known:
            raise unknown_name(f"key in methods.objmae.config.{key}", name, known)
    return kind(**config[key], **given)
