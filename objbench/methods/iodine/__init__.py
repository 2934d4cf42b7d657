"""IODINE (Greff et al. 2019): a decoder explains the image, and a network refines its latents from the gradients.

The default is the published code, which differs from the paper. The variant `paper` has the paper's likelihood, prior
and learning rate; the variant `clevrtex` has the model of the ClevrTex benchmark, which is also the default on
ClevrTex. Values are in benchmarks.yaml.

Deviations from the published code:
- Constant inputs (a 5 appended to each latent, maps and a number of 0.5 shown to the refiner) are left out: biases do
  nearly the same (at the border, a constant plane differs from the padding).
- Gradients are those of each image's own loss instead of the batch's mean. The layer norms hide the factor where
  gradients are large; small gradients, above all of mask logits, would vanish in the norm's epsilon if divided by the
  size of the batch.
- Strided convolutions have equal padding on all sides.
- With `model.resolution` it works on smaller images. The likelihood counts the pixels of the images all the same;
  otherwise the divergence would weigh more.
Deviations of `clevrtex` from that benchmark's port, whose refiner sees logarithms (`model.refiner_sees`), has one more
ELU and norms per element:
- The refinement of a slot sees its own image. In the port most slots see other images of the batch.
- The refiner sees of a pixel's likelihood without a slot the difference that the slot makes, and one norm serves both
  halves of the latents' gradient, both as published.
- Any number of images can be segmented: no batch size is built in.
"""

from __future__ import annotations

import math
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.optim import Adam, Optimizer

from objbench.methods.base import LearningRate, Losses, Method, Progress, Segmentation, Stage
from objbench.methods.iodine.refiner import Explanation, Likelihood, Memory, Refiner
from objbench.methods.parts.broadcast import Conv, SpatialBroadcastDecoder
from objbench.methods.parts.gaussian import Gaussian, softplus_variance
from objbench.methods.parts.iterative_inference import Gradients, iterative_inference, outside_inference_mode
from objbench.methods.parts.mixture import mix
from objbench.methods.parts.position import coordinate_grid, cosine_grid
from objbench.methods.parts.resolution import Resolution, Side
from objbench.methods.parts.schedule import ExponentialDecay
from objbench.methods.parts.truncated_normal import truncated_normal_
from objbench.spec.explain import refusal
from objbench.spec.settings import Count, CountOrZero, Counts, Group, Positive, PositiveOrZero

BETA2 = 0.999  # of Adam: torch's and TensorFlow's default, which the published code keeps


class Model(Group):
    """The decoder and the refiner."""

    resolution: Side
    latent: Count = Field(description="dimensions of a slot")
    updates: Count = Field(
        description="how often the latents are refined; the last of updates + 1 explanations counts"
    )
    decoder_channels: Counts = Field(
        description="of the broadcast decoder, one per convolution before the last"
    )
    decoder_kernel: Count = Field(description="side of the decoder's kernels")
    decoder_valid: bool = Field(
        description="true: the decoder convolves without padding, from a larger grid, and its last kernel is 1x1"
    )
    rgb: Literal["linear", "sigmoid"] = Field(
        description="linear: colours as the decoder paints them; sigmoid: squashed into [0,1]"
    )
    refiner_channels: Counts = Field(description="of the refiner, one per convolution, all of stride 2")
    refiner_kernel: Count = Field(description="side of the refiner's kernels")
    refiner_hidden: Counts = Field(
        description="hidden units of the refiner, one number per layer after its convolutions"
    )
    memory: CountOrZero = Field(description="width of the refiner's LSTM; 0: none")
    cosines: Literal[0] | Annotated[int, Field(ge=2)] = Field(
        description="frequencies F of the F*F - 1 products of cosines that tell the refiner where a pixel is; "
        "0: two linear coordinates, which the decoder always has"
    )
    refiner_sees: Literal["probabilities", "logarithms"] = Field(
        description="how the refiner sees masks and each slot's share in a pixel; with logarithms, also the gradient is "
        "by the masks' logarithms instead of their logits"
    )
    refiner_elu_last: bool = Field(
        description="true: an ELU follows the last of the refiner's hidden layers too"
    )
    norm_affine: Literal["channel", "element"] = Field(
        description="scale and shift of the refiner's layer norms: one per channel, or per channel and place"
    )
    xavier_gain: Positive | None = Field(
        description="gain of the Xavier initialisation of all weights but the LSTM's, and first latents of mean 0 and "
        "variance softplus(1); null: first weights as published, normal with a deviation of 1/sqrt(inputs), cut at "
        "two deviations, and a bias of 1 for the LSTM's forget gates"
    )


class Loss(Group):
    """The evidence lower bound, and how the explanations are weighed."""

    distribution: Literal["logistic", "gaussian"] = Field(description="density of a pixel in a component")
    scale: Positive = Field(description="width of the distribution, in image units")
    mixing: Literal["pixel", "channel"] = Field(
        description="pixel: one mixture for the three channels together; channel: one for each"
    )
    prior_variance: Positive = Field(description="variance of the latents' prior")
    first_weight: PositiveOrZero = Field(
        description="weight of the first explanation's loss; they rise evenly to 1, that of the last"
    )


class Optimization(Group):
    """Adam."""

    beta1: Annotated[float, Field(ge=0, lt=1)] = Field(description="decay of Adam's average of gradients")


class IODINE(Method):
    """Iterative Object Decomposition Inference Network."""

    class Settings(Method.Settings):
        """The keys of its block in benchmarks.yaml."""

        model: Model
        loss: Loss
        optimizer: Optimization
        schedule: ExponentialDecay

    settings: Settings
    any_slots = True

    def __init__(self, image_shape: tuple[int, int, int], slots: int, settings: Settings) -> None:
        super().__init__(image_shape, slots, settings)
        if slots < 2:
            raise refusal("slots", "at least 2 (the refiner is shown what a slot adds to the others)", slots)
        model, loss = settings.model, settings.loss
        self.likelihood = Likelihood(loss.distribution, loss.scale, loss.mixing)
        self.resolution = Resolution(image_shape, model.resolution)
        latent, size, kernel, valid = (
            model.latent,
            self.resolution.size,
            model.decoder_kernel,
            model.decoder_valid,
        )
        layers = [Conv(channels, kernel, padding=0 if valid else None) for channels in model.decoder_channels]
        layers.append(Conv(4, 1 if valid else kernel))
        self.decoder = SpatialBroadcastDecoder(
            latent, size, layers, planes=coordinate_grid, activation=nn.ELU
        )
        self.refiner = Refiner(
            latent,
            cosine_grid(*size, model.cosines) if model.cosines else coordinate_grid(*size),
            model.refiner_channels,
            model.refiner_kernel,
            model.refiner_hidden,
            model.memory,
            self.likelihood,
            elu_last=model.refiner_elu_last,
            logarithms=model.refiner_sees == "logarithms",
            per_element=model.norm_affine == "element",
        )
        self.first_latents = nn.Parameter(torch.cat((torch.zeros(latent), torch.ones(latent))))
        self._initialise(model.xavier_gain)

    def _initialise(self, gain: float | None) -> None:
        for module in self.modules():
            if isinstance(module, nn.Linear | nn.Conv2d):
                if gain is None:
                    truncated_normal_(module.weight, 1 / module.weight[0].numel())
                else:
                    nn.init.xavier_normal_(module.weight, gain)
                assert module.bias is not None
                nn.init.zeros_(module.bias)
        if gain is None:
            bound = math.sqrt(3 / len(self.first_latents))  # Glorot's, with as many outputs as inputs
            nn.init.uniform_(self.first_latents, -bound, bound)
            if self.refiner.lstm is not None:
                _initialise_lstm(self.refiner.lstm)

    def optimizers(self, stage: Stage) -> list[tuple[Optimizer, LearningRate]]:
        """One Adam on everything."""
        schedule, betas = self.settings.schedule, (self.settings.optimizer.beta1, BETA2)
        return [(Adam(self.parameters(), schedule.learning_rate, betas, fused=True), schedule)]

    def capture_key(self, progress: Progress) -> tuple[()]:
        """Every step is the same."""
        return ()

    def training_loss(self, images: Tensor, progress: Progress) -> Losses:
        """The evidence lower bounds of all explanations; later ones weigh more."""
        losses, last = self._explain(self.resolution.downsample(images))
        first, updates = self.settings.loss.first_weight, len(losses) - 1
        weights = [first + (1 - first) * step / updates for step in range(updates + 1)]
        total = sum((w * loss.mean() for w, loss in zip(weights, losses, strict=True)), images.new_zeros(()))
        return Losses(total, {"reconstruction": last.error.mean(), "kl": last.divergence.mean()})

    def segment(self, images: Tensor, progress: Progress | None = None) -> Segmentation:
        """The last explanation; the latents of each image are sampled with its own noise."""
        with outside_inference_mode():
            _, last = self._explain(self.resolution.downsample(images.clone()))
        means, _ = last.latents.chunk(2, dim=-1)
        return self.resolution.segmentation(last.log_masks, last.components, slots=means)

    def _explain(self, images: Tensor) -> tuple[list[Tensor], Explanation]:
        memory: Memory = None

        def attempt(latents: Tensor, step: int) -> Explanation:
            return self._decode(images, latents)

        def update(found: Explanation, gradients: Gradients) -> Tensor:
            nonlocal memory
            latents: Tensor
            latents, memory = self.refiner(images, found, gradients, memory)
            return latents

        first = self.first_latents.expand(len(images), self.slots, -1)
        return iterative_inference(first, self.settings.model.updates, attempt, update)

    def _decode(self, images: Tensor, latents: Tensor) -> Explanation:
        posterior = Gaussian.of(latents, softplus_variance)
        sample = posterior.sample(self.normal(images, *posterior.mean.shape[1:]))
        maps = self.decoder(sample.flatten(0, 1)).float().unflatten(0, latents.shape[:2])  # (B,K,4,H,W)
        logits, components = maps.split([1, 3], dim=2)
        if self.settings.model.rgb == "sigmoid":
            components = components.sigmoid()
        log_masks = logits.log_softmax(1)
        densities = self.likelihood.densities(images, components)
        likelihood = mix(densities, log_masks).sum(1, keepdim=True) * self.resolution.pixels
        width = math.sqrt(self.settings.loss.prior_variance)
        scaled = Gaussian(posterior.mean / width, posterior.deviation / width)
        divergence = scaled.kl_to_standard().sum(1)
        varied = log_masks if self.refiner.logarithms else logits
        return Explanation(latents, components, logits, log_masks, varied, densities, likelihood, divergence)


def _initialise_lstm(lstm: nn.LSTMCell) -> None:
    for weight in (lstm.weight_ih, lstm.weight_hh):
        truncated_normal_(weight, 1 / (lstm.input_size + lstm.hidden_size))
    for bias in (lstm.bias_ih, lstm.bias_hh):
        nn.init.zeros_(bias)
    nn.init.ones_(lstm.bias_ih.chunk(4)[1])  # torch's gates: input, forget, cell, output
