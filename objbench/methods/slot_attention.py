"""Slot Attention (Locatello et al., Object-Centric Learning with Slot Attention, NeurIPS 2020).

An autoencoder: convolutions, slots that compete for the places of their output, a spatial broadcast decoder for each
slot by itself, and a softmax over the slots that mixes their images. It is trained by one mean squared error.

Model, initial values (Glorot, orthogonal GRU), LayerNorm's eps and optimizer are those of the published code.
Deviations:
- Layers of the decoder with stride 1 are convolutions, not transposed ones: the same functions with flipped kernels.
- Where the decoder's strides do not divide the image size (the variant demo), its output is cropped at the bottom and
  on the right.
- The padding of strided transposed convolutions is 2 and 1 where TensorFlow crops 1 and 2: a mirror image of the model.
- Adam adds its epsilon after the correction of the second moment, Keras before it, so that the original's first updates
  are smaller where gradients are; the learning rate is still in its warm-up then.
- Variant clevrtex, the model behind the numbers in the ClevrTex paper: the layer norm of that port has one weight per
  pixel and channel (2.1 million, normalised over the whole image), which is a defect; here each place has its own norm,
  as in the original. Parameters start as in the original, and the loss is a mean instead of a sum over pixels, which
  makes no difference to Adam but for its epsilon.
"""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.optim import Optimizer

from objbench.methods.base import LearningRate, Losses, Method, Progress, Segmentation, Stage
from objbench.methods.parts.attention import SlotAttentionCore
from objbench.methods.parts.broadcast import Conv, SpatialBroadcastDecoder
from objbench.methods.parts.encoder import KERNEL, Encoder, Strides
from objbench.methods.parts.one_adam import one_adam
from objbench.methods.parts.schedule import ExponentialDecay
from objbench.spec.settings import Count, Group

NORM_EPS = 1e-3  # Keras' default, as in the published code


class Model(Group):
    """Encoder, attention and decoder."""

    channels: Count = Field(description="channels of all convolutions and of the encoder's features")
    encoder_strides: Strides = Field(
        description="one per 5x5 convolution of the encoder; its output is 1 / product of the image's size"
    )
    decoder_strides: Strides = Field(
        description="one per 5x5 convolution of the decoder; its grid is 1 / product of the image's size"
    )
    slot_width: Count = Field(description="dimensions of a slot")
    mlp_width: Count = Field(description="hidden units of the MLP after each round of attention")
    iterations: Count = Field(description="rounds of attention")
    attention_bias: bool = Field(description="whether the maps to queries, keys and values have a bias")
    image_range: Literal["symmetric", "unit"] = Field(
        description="symmetric: the model sees and paints images in [-1,1]; unit: in [0,1]"
    )


class SlotAttention(Method):
    """Slots compete for the places of the encoder's output, and each is decoded by itself."""

    class Settings(Method.Settings):
        """The keys of its block in benchmarks.yaml."""

        model: Model
        schedule: ExponentialDecay

    settings: Settings
    any_slots = True

    def __init__(self, image_shape: tuple[int, int, int], slots: int, settings: Settings) -> None:
        super().__init__(image_shape, slots, settings)
        model = settings.model
        size, channels, width = image_shape[1:], model.channels, model.slot_width
        self.encoder = Encoder(size, channels, model.encoder_strides, NORM_EPS)
        self.attention = SlotAttentionCore(
            channels, width, model.mlp_width, model.iterations, bias=model.attention_bias, norm_eps=NORM_EPS
        )
        layers = [Conv(channels, KERNEL, stride) for stride in model.decoder_strides]
        self.decoder = SpatialBroadcastDecoder(width, size, [*layers, Conv(4, 3)])
        self.slot_mean = nn.Parameter(torch.empty(1, width))
        self.slot_log_std = nn.Parameter(torch.empty(1, width))
        self._initialise()

    def _initialise(self) -> None:
        for module in self.modules():
            if isinstance(module, nn.Linear | nn.Conv2d | nn.ConvTranspose2d):
                nn.init.xavier_uniform_(module.weight)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
        self.attention.start_gru()
        nn.init.xavier_uniform_(self.slot_mean)
        nn.init.xavier_uniform_(self.slot_log_std)

    def optimizers(self, stage: Stage) -> list[tuple[Optimizer, LearningRate]]:
        """One Adam on everything."""
        return one_adam(self.parameters(), self.settings.schedule)

    def capture_key(self, progress: Progress) -> tuple[()]:
        """Every step is the same."""
        return ()

    def training_loss(self, images: Tensor, progress: Progress) -> Losses:
        """Mean squared error of the mixture, in the model's own range of colours."""
        slots, _ = self.encode(images)
        rgb, masks = self.decode(slots)
        return Losses(((masks * rgb).sum(1) - self._to_model(images)).square().mean())

    def segment(self, images: Tensor, progress: Progress | None = None) -> Segmentation:
        """The decoder's masks; each image starts its slots from its own noise."""
        slots, attention = self.encode(images)
        rgb, masks = self.decode(slots)
        return Segmentation(
            masks=masks.squeeze(2),
            reconstruction=self._from_model((masks * rgb).sum(1)),
            components=self._from_model(rgb),
            slots=slots,
            attention=torch.unflatten(attention.mT, 2, self.encoder.size),  # (B,K,h,w)
        )

    def encode(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Slots (B,K,D) and their attention (B,N,K) at the places of the encoder's output."""
        features = self.encoder(self._to_model(images))
        noise = self.normal(images, self.slots, self.slot_mean.shape[1])
        slots, attention = self.attention(features, self.slot_mean + self.slot_log_std.exp() * noise)
        return slots, attention

    def decode(self, slots: Tensor) -> tuple[Tensor, Tensor]:
        """rgb (B,K,3,H,W) and masks (B,K,1,H,W), both float32; slots do not see each other."""
        painted = self.decoder(slots.flatten(0, 1)).float().unflatten(0, slots.shape[:2])  # (B,K,4,H,W)
        return painted[:, :, :3], painted[:, :, 3:].softmax(1)

    def _to_model(self, images: Tensor) -> Tensor:
        return 2 * images - 1 if self.settings.model.image_range == "symmetric" else images

    def _from_model(self, images: Tensor) -> Tensor:
        return (images + 1) / 2 if self.settings.model.image_range == "symmetric" else images
