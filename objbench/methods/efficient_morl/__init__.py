"""EfficientMORL (Emami et al., Efficient Iterative Amortized Inference for Learning Symmetric and Disentangled
Multi-Object Representations, ICML 2021).

A hierarchical VAE infers latents by slot attention, and a network that sees their gradients refines the uppermost ones
a few times: few, because the first guess is already good, and fewer as the training goes on. Where a target is set,
GECO weighs likelihood against KL divergence.

Model and recipe are those of the published code where it differs from the paper: the weights of the losses, the N(0,1)
of the DualGRU. The prior is the "reversed prior++": refined latents are compared with p(z_1|z_2). Notes on the values:
- The likelihood leaves out log(2 pi)/2, and so do the targets of GECO.
- The target for Tetrominoes, -1.224 per pixel and channel, is below the error of a perfect image, ln 0.3 = -1.204. It
  can never be met: the weight of the likelihood grows through the whole training, as in the original.
- A Gaussian around the composed image (Tetrominoes, multi-dSprites) leaves the background spread over the slots; the
  mixture (CLEVR6, ClevrTex) gathers it in one.

Deviations:
- CLEVR6 is 128x128 here; its recipe is the one for 96x96, with the same target per pixel and channel.
- The switches to fewer refinements, at step 100,000 of 300,000 in the original, are at parts of the training, so that a
  shorter training has them too.
- The refiner sees the gradient of each image's own loss, not of the batch's mean. The layer norm hides the factor where
  the gradient is large; at the start of the training 1/B of it would be as small as the norm's epsilon.
- softplus is not cut off at 80.
- Variant clevrtex, the model behind the first numbers in the ClevrTex paper: it switches to one refinement at the
  original's step 100,000.
"""

from __future__ import annotations

import math
import sys
from dataclasses import dataclass
from typing import Literal

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn
from torch.optim import Optimizer

from objbench.methods.base import LearningRate, Losses, Method, Progress, Segmentation, Stage
from objbench.methods.efficient_morl.hierarchy import BottomUp, TopDown, diagonal, divergence
from objbench.methods.parts.broadcast import Conv, SpatialBroadcastDecoder, grid_size
from objbench.methods.parts.encoder import Encoder, Strides
from objbench.methods.parts.gaussian import Gaussian
from objbench.methods.parts.geco import AdditiveGECO
from objbench.methods.parts.iterative_inference import (
    DetachedNorm,
    Gradients,
    iterative_inference,
    outside_inference_mode,
)
from objbench.methods.parts.mixture import composed, per_channel
from objbench.methods.parts.one_adam import one_adam
from objbench.methods.parts.resolution import Resolution, Side
from objbench.methods.parts.schedule import LateDecay
from objbench.spec.explain import refusal
from objbench.spec.settings import Count, CountOrZero, Counts, Group, Positive, PositiveOrZero

LIKELIHOODS = {"mixture": per_channel, "composed": composed}
ACTIVATIONS = {"elu": nn.ELU, "relu": nn.ReLU}
ENDED = Progress("train", step=sys.maxsize, steps=sys.maxsize, epoch=0, nominal_epochs=1)


class Decoder(Group):
    """The broadcast decoder; a 3x3 convolution to 4 channels comes last."""

    channels: Count = Field(
        description="of the decoder's convolutions before the last, which is 3x3 to 4 channels"
    )
    kernel: Count = Field(description="side of the decoder's kernels before the last")
    padding: CountOrZero | None = Field(
        description="of the decoder's convolutions of stride 1; null: keeps the size; less makes the grid larger"
    )
    strides: Counts = Field(description="of the decoder's convolutions before the last; at most the kernel")
    activation: Literal["elu", "relu"] = Field(description="between the decoder's convolutions")

    @model_validator(mode="after")
    def _strides_within_kernels(self) -> Decoder:
        if max(self.strides) > self.kernel:
            expected = f"whole numbers up to model.decoder.kernel={self.kernel}"
            raise refusal("model.decoder.strides", expected, self.strides)
        return self


class Model(Group):
    """The encoder, the hierarchy of latents, the refiner and the decoder."""

    resolution: Side
    channels: Count = Field(description="channels of the encoder's 5x5 convolutions")
    encoder_strides: Strides = Field(description="one per convolution of the encoder")
    width: Count = Field(description="latent dimensions of a slot")
    layers: Count = Field(description="layers of the hierarchy of latents")
    hidden: Count = Field(description="hidden units of the prior and of the refiner")
    decoder: Decoder
    xavier_gain: Positive = Field(
        description="gain of the Xavier initialisation of linear layers and convolutions"
    )


class Likelihood(Group):
    """What an image is compared with."""

    kind: Literal["mixture", "composed"] = Field(
        description="mixture: each channel a Gaussian mixture over the slots; composed: one Gaussian"
    )
    sigma: Positive = Field(description="standard deviation of the Gaussians")


class GECO(Group):
    """The weight of the likelihood."""

    target: float | None = Field(
        description="error that GECO aims at, in nats per pixel and channel without log(2 pi)/2; null: no GECO"
    )
    start: CountOrZero = Field(description="step from which on GECO constrains the loss")
    rate: PositiveOrZero = Field(description="speed of GECO's multiplier, per nat and step")
    recovery: Positive = Field(description="factor of GECO's rate while the error is below the target")


@dataclass(frozen=True)
class Explanation:
    """What latents decode to, and its loss: an Attempt of `iterative_inference`."""

    latents: Tensor  # (B,K,2D), raw
    rgb: Tensor  # (B,K,3,H,W) in [0,1]
    log_masks: Tensor  # (B,K,1,H,W)
    error: Tensor  # (B,), negative log-likelihood
    kl: Tensor  # (B,)
    loss: Tensor  # (B,)

    @property
    def watched(self) -> tuple[Tensor]:
        """The refiner sees the gradient with respect to the latents alone."""
        return (self.latents,)


class Refiner(nn.Module):
    """The change of latents, from the gradient of their loss and a recurrent state."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.norm = DetachedNorm(width, elementwise_affine=False)
        self.network = nn.Sequential(nn.Linear(4 * width, hidden), nn.ELU(), nn.Linear(hidden, width))
        self.gru = nn.GRUCell(width, width)
        self.step = nn.Linear(width, 2 * width)

    def forward(self, latents: Tensor, gradient: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """latents (B,K,2D), their gradient and the state (B,K,D) -> the step (B,K,2D) and the next state."""
        halves = [self.norm(half) for half in gradient.chunk(2, dim=-1)]  # means, variances
        inputs: Tensor = self.network(torch.cat([latents, *halves], dim=-1))
        with torch.autocast(inputs.device.type, enabled=False):
            state = self.gru(inputs.float().flatten(0, 1), state.flatten(0, 1)).view_as(state)
        step: Tensor = self.step(state)
        return step, state


class EfficientMORL(Method):
    """Slots from a hierarchical VAE, improved by a few steps of iterative refinement."""

    class Settings(Method.Settings):
        """The keys of its block in benchmarks.yaml."""

        model: Model
        refinements: Counts = Field(
            description="number of refinements in equal parts of the training; the last one holds at test time"
        )
        likelihood: Likelihood
        geco: GECO
        schedule: LateDecay

    settings: Settings
    any_slots = True

    def __init__(self, image_shape: tuple[int, int, int], slots: int, settings: Settings) -> None:
        super().__init__(image_shape, slots, settings)
        model = settings.model
        self.resolution = Resolution(image_shape, model.resolution)
        size, width = self.resolution.size, model.width
        self.encoder = Encoder(size, model.channels, model.encoder_strides)
        self.bottom_up = BottomUp(model.channels, width, model.layers)
        self.top_down = TopDown(width, model.hidden)
        self.refiner = Refiner(width, model.hidden)
        self.decoder = _decoder(width, size, model.decoder)
        self.geco = _geco(image_shape[0] * math.prod(size), settings.geco)
        self._initialise(model.xavier_gain)

    def _initialise(self, gain: float) -> None:
        kept = [self.encoder.position.projection]  # as torch makes it, like the refiner's GRU
        for module in self.modules():
            if isinstance(module, nn.Linear | nn.Conv2d | nn.ConvTranspose2d) and module not in kept:
                nn.init.xavier_normal_(module.weight, gain)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
        for joined in (self.refiner.step, self.top_down.last):  # two maps each, side by side
            for half in joined.weight.chunk(2):
                nn.init.xavier_normal_(half, gain)

    def optimizers(self, stage: Stage) -> list[tuple[Optimizer, LearningRate]]:
        """One Adam on everything."""
        return one_adam(self.parameters(), self.settings.schedule)

    def capture_key(self, progress: Progress) -> tuple[int, bool]:
        """Steps are the same but for the number of refinements and the start of GECO."""
        return self._refinements(progress), self.geco is not None and self.geco.started(progress)

    def training_loss(self, images: Tensor, progress: Progress) -> Losses:
        """The losses before and after each refinement, the early ones weighing more."""
        losses, found, _ = self.infer(self.resolution.downsample(images), progress)
        weights = loss_weights(len(losses) - 1)
        total = torch.stack([weight * loss.mean() for weight, loss in zip(weights, losses, strict=True)])
        return Losses(total.sum(), {"reconstruction": found.error.mean(), "kl": found.kl.mean()})

    def after_step(self, progress: Progress, losses: Losses, optimizers: list[Optimizer]) -> None:
        """Update GECO with the error after the last refinement."""
        if self.geco is not None:
            self.geco.update(losses.parts["reconstruction"], progress)

    def segment(self, images: Tensor, progress: Progress | None = None) -> Segmentation:
        """The masks after the last refinement; each image has its own noise."""
        with outside_inference_mode():
            _, found, attention = self.infer(self.resolution.downsample(images.clone()), progress or ENDED)
        return self.resolution.segmentation(
            found.log_masks,
            found.rgb,
            slots=diagonal(found.latents).mean,
            attention=torch.unflatten(attention.mT, 2, self.encoder.size),  # (B,K,h,w)
        )

    def infer(self, images: Tensor, progress: Progress) -> tuple[list[Tensor], Explanation, Tensor]:
        """Latents by attention, then by refinement.

        Returns:
            The loss (B,) before each refinement and after the last, the last explanation, and the attention (B,N,K) of
            the first stage.
        """
        features = self.encoder(2 * images - 1)
        layers, attention = self.bottom_up(features, self._noise(images, self.bottom_up.layers))
        own_noise = self._noise(images, len(layers) - 1)
        state = images.new_zeros(len(images), self.slots, self.settings.model.width)
        lowest: Gaussian  # p(z_1|z_2), the prior of refined latents

        def explain(latents: Tensor, step: int) -> Explanation:
            nonlocal lowest
            posterior = diagonal(latents)
            if step:
                kl = divergence([posterior], [lowest])
            else:
                posteriors = [*map(diagonal, layers[:-1]), posterior]
                priors = self.top_down(posteriors, own_noise)
                kl, lowest = divergence(posteriors, priors), priors[0]
            return self._explain(images, latents, posterior.sample(self._noise(images)), kl, progress)

        def update(found: Explanation, gradients: Gradients) -> Tensor:
            nonlocal state
            step: Tensor
            step, state = self.refiner(found.latents, *gradients, state)
            return found.latents + step

        losses, last = iterative_inference(layers[-1], self._refinements(progress), explain, update)
        return losses, last, attention

    def _explain(
        self, images: Tensor, latents: Tensor, sample: Tensor, kl: Tensor, progress: Progress
    ) -> Explanation:
        painted = self.decoder(sample.flatten(0, 1)).float().unflatten(0, sample.shape[:2])  # (B,K,4,H,W)
        rgb, log_masks = painted[:, :, :3].sigmoid(), painted[:, :, 3:].log_softmax(1)
        likelihood = self.settings.likelihood
        density = LIKELIHOODS[likelihood.kind]
        error = -density(images, rgb, log_masks, likelihood.sigma, normalised=False)
        loss = error + kl if self.geco is None else self.geco.loss(error, kl, progress)
        return Explanation(latents, rgb, log_masks, error, kl, loss)

    def _noise(self, images: Tensor, *layers: int) -> Tensor:
        return self.normal(images, *layers, self.slots, self.settings.model.width)

    def _refinements(self, progress: Progress) -> int:
        refinements = self.settings.refinements
        parts = len(refinements)
        return refinements[min(progress.step * parts // progress.steps, parts - 1)]


def loss_weights(refinements: int) -> list[float]:
    """The weights of the losses after i = 0 .. I refinements, as in the published code: (I + 3 - i) / (I + 1).

    >>> loss_weights(3)
    [1.5, 1.25, 1.0, 0.75]
    """
    return [(refinements + 3 - step) / (refinements + 1) for step in range(refinements + 1)]


def _decoder(width: int, size: tuple[int, int], decoder: Decoder) -> SpatialBroadcastDecoder:
    padding = decoder.padding
    layers = [
        Conv(decoder.channels, decoder.kernel, stride, padding if stride == 1 else None)
        for stride in decoder.strides
    ]
    layers.append(Conv(4, 3, padding=padding))
    grid = grid_size(size, layers)
    if min(grid) < 1:
        raise refusal(
            "model.decoder.padding", f"less (its layers would begin with a grid of {grid})", padding
        )
    return SpatialBroadcastDecoder(width, size, layers, activation=ACTIVATIONS[decoder.activation])


def _geco(dimensions: int, geco: GECO) -> AdditiveGECO | None:
    if geco.target is None:
        return None
    return AdditiveGECO(geco.target * dimensions, geco.rate, start=geco.start, recovery=geco.recovery)
