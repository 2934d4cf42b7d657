"""IODINE (Greff et al. 2019): a decoder explains the image, a network refines its latents by looking at the gradients.

The default is the published code, which differs from the paper; the variant `paper` has the paper's likelihood, prior
and learning rate, the variant `clevrtex` the model of the ClevrTex benchmark, which is also the default on ClevrTex.
Numbers are in benchmarks.yaml.

Deviations from the published code:
- Constant inputs (a 5 appended to each latent, maps and a number of 0.5 shown to the refiner) are left out: biases do
  what they did.
- Gradients are those of each image's own loss instead of the batch's mean. The layer norms hide the factor where
  gradients are large; small ones, of mask logits above all, would drown in the norm's epsilon if divided by the batch.
- The scale and shift of layer norms are of every element by itself, as in the ClevrTex benchmark.
- Strided convolutions pad alike on all sides. Weights start as torch makes them, the learned first latents at mean 0
  and variance softplus(1).
Deviations of `clevrtex` from that benchmark's port:
- The image is shown to the refinement of its own slots. The port shows most slots those of other images of the batch.
- What is shown of a pixel's likelihood without a slot is the difference that the slot makes, and one norm serves both
  halves of the latents' gradient, both as published.
- Any number of images can be segmented: no batch size is built in.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import adaptive_avg_pool2d
from torch.optim import Adam, Optimizer

from objbench.methods.base import LearningRate, Losses, Method, Progress, Segmentation, Stage
from objbench.methods.parts.broadcast import Conv, SpatialBroadcastDecoder
from objbench.methods.parts.gaussian import Gaussian, softplus_variance
from objbench.methods.parts.iterative_inference import DetachedNorm, Gradients, refine
from objbench.methods.parts.leave_one_out import slot_differences
from objbench.methods.parts.mixture import gaussian, logistic, mix
from objbench.methods.parts.position import coordinate_grid, cosine_grid
from objbench.methods.parts.resolution import Resolution
from objbench.methods.parts.schedule import ExponentialDecay
from objbench.methods.parts.settings import (
    demand_known,
    demand_list,
    demand_number,
    demand_slots,
    demand_whole,
    refusal,
)

Memory = tuple[Tensor, Tensor] | None  # of an LSTM; None before the first update


@dataclass(frozen=True)
class Likelihood:
    """log p(x | slots), up to a constant: which density a component has, and where the components are mixed.

    distribution  logistic or gaussian, of width `scale` in image units
    mixing        pixel: one mixture for the three channels together;  channel: one for each
    """

    distribution: str
    scale: float
    mixing: str

    def densities(self, images: Tensor, means: Tensor) -> Tensor:
        """Log-densities (B,K,C,H,W) of the components: C is 1 where whole pixels are mixed, else 3."""
        if self.distribution == "logistic":
            found = logistic(images[:, None], means, self.scale)
        else:
            found = gaussian(images[:, None], means, self.scale, normalised=False)
        return found.sum(2, keepdim=True) if self.mixing == "pixel" else found


class Explanation(NamedTuple):
    """What latents say about images: an attempt to refine."""

    latents: Tensor  # (B,K,2Z): means and unconstrained variances
    components: Tensor  # (B,K,3,H,W)
    logits: Tensor  # (B,K,1,H,W) of the masks
    log_masks: Tensor  # (B,K,1,H,W)
    densities: Tensor  # (B,K,C,H,W), of the pixels in each component
    likelihood: Tensor  # (B,1,H,W), log, of each pixel, or of the pixels of the images that it stands for
    divergence: Tensor  # (B,), KL of the latents

    @property
    def error(self) -> Tensor:
        """Negative log-likelihood (B,) of the images."""
        return -self.likelihood.flatten(1).sum(1)

    @property
    def loss(self) -> Tensor:
        """The negative evidence lower bound (B,)."""
        return self.error + self.divergence

    @property
    def watched(self) -> tuple[Tensor, Tensor, Tensor]:
        """The refiner sees the gradients with respect to latents, components and mask logits."""
        return self.latents, self.components, self.logits


class IODINE(Method):
    """Iterative Object Decomposition Inference Network. Keys of benchmarks.yaml:

    model.resolution      side of the squares that the model works at; null: the images' own size. The likelihood counts
                          the pixels of the images all the same, or the divergence would weigh more
    model.updates         of the latents; the last of updates + 1 explanations counts
    model.decoder_valid   convolutions without padding over a larger grid, the last one 1x1
    model.rgb             linear: as the decoder paints it;  sigmoid: squashed into [0,1]
    model.memory          width of the refiner's LSTM, 0: none
    model.cosines         frequencies F of the F*F - 1 products of cosines that tell the refiner where a pixel is; 0: two
                          linear coordinates, which the decoder always has
    model.xavier_gain     of the first weights; null: as torch makes them
    loss.first_weight     weight of the first loss; they rise evenly to 1, that of the last
    """

    def __init__(self, image_shape: tuple[int, int, int], slots: int, config: dict[str, Any]) -> None:
        super().__init__(image_shape, slots, config)
        _check(config, slots)
        model, loss = config["model"], config["loss"]
        self.schedule = ExponentialDecay(**config["schedule"])
        self.likelihood = Likelihood(loss["distribution"], loss["scale"], loss["mixing"])
        self.resolution = Resolution(image_shape, model["resolution"])
        latent, size, valid = model["latent"], self.resolution.size, model["decoder_valid"]
        layers = [
            Conv(c, model["decoder_kernel"], padding=0 if valid else None) for c in model["decoder_channels"]
        ]
        self.decoder = SpatialBroadcastDecoder(
            latent,
            size,
            [*layers, Conv(4, 1 if valid else model["decoder_kernel"])],
            planes=coordinate_grid,
            activation=nn.ELU,
        )
        self.refiner = Refiner(
            latent,
            cosine_grid(*size, model["cosines"]) if model["cosines"] else coordinate_grid(*size),
            model["refiner_channels"],
            model["refiner_kernel"],
            model["refiner_hidden"],
            model["memory"],
        )
        self.first_latents = nn.Parameter(torch.cat((torch.zeros(latent), torch.ones(latent))))
        if model["xavier_gain"] is not None:
            self._initialise(model["xavier_gain"])

    def _initialise(self, gain: float) -> None:
        for module in self.modules():
            if isinstance(module, nn.Linear | nn.Conv2d):
                nn.init.xavier_normal_(module.weight, gain)
                assert module.bias is not None
                nn.init.zeros_(module.bias)

    def optimizers(self, stage: Stage) -> list[tuple[Optimizer, LearningRate]]:
        """One Adam on everything."""
        betas = (self.config["optimizer"]["beta1"], 0.999)
        return [(Adam(self.parameters(), self.schedule.learning_rate, betas, fused=True), self.schedule)]

    def capture_key(self, progress: Progress) -> tuple[()]:
        """Every step is the same."""
        return ()

    def training_loss(self, images: Tensor, progress: Progress) -> Losses:
        """The evidence lower bounds of all explanations, the later the more they weigh."""
        losses, last = self._explain(self.resolution.shrink(images))
        first, updates = self.config["loss"]["first_weight"], len(losses) - 1
        weights = [first + (1 - first) * step / updates for step in range(updates + 1)]
        total = sum((w * loss.mean() for w, loss in zip(weights, losses, strict=True)), images.new_zeros(()))
        return Losses(total, {"reconstruction": last.error.mean(), "kl": last.divergence.mean()})

    def segment(self, images: Tensor, progress: Progress | None = None) -> Segmentation:
        """The last explanation; each image's latents are sampled with its own noise."""
        _, last = self._explain(self.resolution.shrink(images))
        masks = self.resolution.enlarge(last.log_masks.exp())
        components = self.resolution.enlarge(last.components)
        return Segmentation(
            masks=masks.squeeze(2),
            reconstruction=(masks * components).sum(1),
            components=components,
            slots=last.latents.chunk(2, dim=-1)[0],
        )

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
        return refine(first, self.config["model"]["updates"], attempt, update)

    def _decode(self, images: Tensor, latents: Tensor) -> Explanation:
        posterior = Gaussian.of(latents, softplus_variance)
        sample = posterior.sample(self.normal(images, *posterior.mean.shape[1:]))
        maps = self.decoder(sample.flatten(0, 1)).float().unflatten(0, latents.shape[:2])  # (B,K,4,H,W)
        logits, components = maps.split([1, 3], dim=2)
        if self.config["model"]["rgb"] == "sigmoid":
            components = components.sigmoid()
        log_masks = logits.log_softmax(1)
        densities = self.likelihood.densities(images, components)
        likelihood = mix(densities, log_masks).sum(1, keepdim=True) * self.resolution.pixels
        width = math.sqrt(self.config["loss"]["prior_variance"])
        scaled = Gaussian(posterior.mean / width, posterior.deviation / width)
        divergence = scaled.kl_to_standard().sum(1)
        return Explanation(latents, components, logits, log_masks, densities, likelihood, divergence)


class Refiner(nn.Module):
    """Sees everything about an explanation, slot by slot, and changes its latents."""

    def __init__(
        self,
        latent: int,
        coordinates: Tensor,
        channels: list[int],
        kernel: int,
        hidden: list[int],
        memory: int,
    ) -> None:
        super().__init__()
        self.coordinates: Tensor  # (P,H,W)
        self.register_buffer("coordinates", coordinates, persistent=False)
        size = coordinates.shape[1:]
        self.latent_norm = DetachedNorm(2 * latent)
        self.component_norm = DetachedNorm((3, *size))
        self.logit_norm, self.likelihood_norm, self.difference_norm = (
            DetachedNorm((1, *size)) for _ in range(3)
        )
        self.convolutions = nn.Sequential()
        width = 15 + len(coordinates)
        for outputs in channels:
            self.convolutions.append(nn.Conv2d(width, outputs, kernel, stride=2, padding=kernel // 2))
            self.convolutions.append(nn.ELU())
            width = outputs
        self.mlp = nn.Sequential()
        for outputs in hidden:
            self.mlp.append(nn.Linear(width, outputs))
            self.mlp.append(nn.ELU())
            width = outputs
        width += 4 * latent
        self.lstm = nn.LSTMCell(width, memory) if memory else None
        self.change = nn.Linear(memory or width, 2 * latent)

    def forward(
        self, images: Tensor, found: Explanation, gradients: Gradients, memory: Memory
    ) -> tuple[Tensor, Memory]:
        """The next latents (B,K,2Z) of images (B,3,H,W), and what the LSTM remembers of the slots, (B*K,D) each."""
        latents = found.latents
        maps = torch.cat(self._maps(images, found, gradients), dim=2)
        pooled = adaptive_avg_pool2d(self.convolutions(maps.flatten(0, 1)), 1).flatten(1)
        flat = torch.cat((latents, self.latent_norm(gradients[0])), dim=2).flatten(0, 1)
        features = torch.cat((self.mlp(pooled), flat), dim=1)
        if self.lstm is not None:
            with torch.autocast(features.device.type, enabled=False):
                memory = self.lstm(features.float(), memory)
            features = memory[0]
        change: Tensor = self.change(features)
        return latents + change.view_as(latents), memory

    def _maps(self, images: Tensor, found: Explanation, gradients: Gradients) -> list[Tensor]:
        """All there is to see of each pixel, of shapes (B,K,*,H,W)."""
        slots = found.logits.shape[1]
        difference = slot_differences(found.densities, found.log_masks)

        def of_all(shared: Tensor) -> Tensor:  # (B or nothing,C,H,W): the same for all slots of an image
            return shared.expand(len(images), *shared.shape[-3:])[:, None].expand(-1, slots, -1, -1, -1)

        return [
            of_all(images),
            found.components,
            found.logits,
            found.log_masks.exp(),
            found.densities.sum(2, keepdim=True).softmax(1),  # whose the pixel is, if the masks are not asked
            self.component_norm(gradients[1]),
            self.logit_norm(gradients[2]),
            of_all(self.likelihood_norm(found.likelihood)),
            self.difference_norm(difference),
            of_all(self.coordinates),
        ]


def _check(config: dict[str, Any], slots: int) -> None:
    demand_slots(slots, 2, "the refiner is shown what a slot adds to the others")
    demand_whole(config, "model.latent", "model.updates", "model.decoder_kernel", "model.refiner_kernel")
    demand_whole(config, "model.memory", "model.cosines", least=0)
    demand_list(config, "model.decoder_channels", "model.refiner_channels", "model.refiner_hidden")
    demand_known(config, "model.rgb", ("linear", "sigmoid"))
    demand_known(config, "loss.distribution", ("logistic", "gaussian"))
    demand_known(config, "loss.mixing", ("pixel", "channel"))
    demand_number(config, "loss.scale", "loss.prior_variance", zero=False)
    demand_number(config, "loss.first_weight", "optimizer.beta1", zero=True)
    if config["model"]["cosines"] == 1:
        raise refusal("model.cosines", 1, "0, or from 2 up: the only product of one frequency is constant")
    if config["model"]["xavier_gain"] is not None:
        demand_number(config, "model.xavier_gain", zero=False)
    if config["optimizer"]["beta1"] >= 1:
        raise refusal("optimizer.beta1", config["optimizer"]["beta1"], "a number below 1")
