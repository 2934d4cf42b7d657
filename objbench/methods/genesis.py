"""GENESIS (Engelcke et al., ICLR 2020): an LSTM draws the latents of masks one after another, a VAE models each masked part.

The masks come first: a gated encoder sees the image once, an LSTM samples a latent for each slot, one decoder paints the
logits of all slots, and stick-breaking makes masks of them. Each component has a latent of its own, whose posterior sees
the image beside the log-mask and whose prior sees the latent of the mask. GECO keeps the reconstruction at a goal.

Networks, loss and optimizer are those of the published code. Choices and deviations; values are in benchmarks.yaml:
- The published code has images of 32, 64, 128 or 256 pixels a side, and Tetrominoes at 32x32. Here they stay 35x35: the
  convolutions that halve a side round up (35, 18, 9), the convolution that makes a vector of the last map is as large as
  that map, and the decoder of the masks paints 36x36, of which the last row and column are cropped.
- Each halving and doubling works for any size in this way; `model.strides` are the published ones for the size.
- Convolutions before a batch norm have no bias, which the norm would take away again.
- The mixture is computed with logsumexp: the same numbers without underflow for a small sigma.
- The abort at an error above 1e8 is left out.
- With `model.resolution` it works on smaller images: its input is the means of rectangles, its output is enlarged
  again (the variant `demo`).
- Latents are random at test time as in the published code, for each image by itself. A slot is the latent of its mask
  followed by that of its component.
"""

from __future__ import annotations

import math
from functools import partial
from itertools import pairwise
from typing import Annotated, NamedTuple

import torch
from pydantic import Field
from torch import Tensor, nn

from objbench.methods.base import Losses, Method, Progress, Segmentation
from objbench.methods.parts.autoregressive import AutoregressivePrior
from objbench.methods.parts.component_vae import ComponentVAE
from objbench.methods.parts.gaussian import Gaussian, softplus_deviation, squashed
from objbench.methods.parts.geco import Constraint
from objbench.methods.parts.genesis_training import GenesisTraining
from objbench.methods.parts.mixture import per_channel
from objbench.methods.parts.resolution import Resolution, Side
from objbench.methods.parts.schedule import ConstantRate
from objbench.methods.parts.stick_breaking import stick_breaking
from objbench.spec.explain import refusal
from objbench.spec.settings import Count, Counts, Group, Positive

KERNEL = 5
Strides = Annotated[list[Annotated[int, Field(ge=1, le=KERNEL)]], Field(min_length=1)]


class Model(Group):
    """The masks with their posterior and prior, the components with theirs."""

    resolution: Side
    encoder_channels: Counts = Field(description="of the image's encoder, one per gated 5x5 convolution")
    strides: Strides = Field(
        description="of the encoder's convolutions, one each; the decoder of the masks has them in reverse"
    )
    features: Count = Field(description="dimensions of what the encoder says of the whole image")
    mask_latent: Count = Field(description="dimensions of the latent of a mask")
    posterior_width: Count = Field(description="width of the LSTM that samples the latents of the masks")
    prior_width: Count = Field(description="width of the LSTM of their prior")
    mask_channels: Counts = Field(
        description="of the decoder of the masks: of its first map, then one per gated 5x5 transposed convolution"
    )
    latent: Count = Field(description="dimensions of the latent of a component")
    component_channels: Counts = Field(
        description="of the encoder of a component, one per 3x3 convolution of stride 2"
    )
    component_hidden: Count = Field(
        description="hidden units of that encoder after its convolutions, and of both hidden layers of the components' prior"
    )
    decoder_channels: Counts = Field(
        description="of the broadcast decoder of a component, one per 3x3 convolution before the last, which is 1x1"
    )


class Loss(Constraint):
    """The likelihood, and GECO with the bounds of its weight."""

    beta_least: Positive = Field(description="smallest weight of the KL divergence")
    beta_most: Positive = Field(description="largest weight of the KL divergence")


class MaskPosterior(nn.Module):
    """q(z_1|x) q(z_2|z_1,x) ... q(z_K|z_<K,x) of the masks; an LSTM that begins with zeros carries what was drawn."""

    def __init__(self, features: int, latent: int, width: int) -> None:
        super().__init__()
        self.first = nn.Linear(features, 2 * latent)
        self.cell = nn.LSTMCell(features + latent, width)
        self.later = nn.Linear(width, 2 * latent)

    def forward(self, features: Tensor, noise: Tensor) -> tuple[Gaussian, Tensor]:
        """The posterior (B,K,Z) given features (B,F), and the sample that standard normal `noise` (B,K,Z) makes."""
        laws = [Gaussian.of(self.first(features), softplus_deviation)]
        samples = [laws[0].sample(noise[:, 0])]
        state = None
        for step in range(1, noise.shape[1]):
            with torch.autocast(features.device.type, enabled=False):
                state = self.cell(torch.cat([features.float(), samples[-1]], dim=1), state)
            laws.append(Gaussian.of(self.later(state[0]), softplus_deviation))
            samples.append(laws[-1].sample(noise[:, step]))
        return Gaussian.stack(laws), torch.stack(samples, dim=1)


class Decomposition(NamedTuple):
    """The output of the networks for a batch of images; all float32."""

    log_masks: Tensor  # (B,K,1,H,W)
    components: Tensor  # (B,K,3,H,W), in [0,1]
    mask_latents: Tensor  # (B,K,Z_mask)
    latents: Tensor  # (B,K,Z)
    mask_kl: Tensor  # (B,), of one sample: log q - log p, summed over slots
    kl: Tensor  # (B,), of the components, likewise


class Genesis(GenesisTraining):
    """Masks from latents that an LSTM draws one after another, a VAE for the components, GECO."""

    class Settings(Method.Settings):
        """The keys of its block in benchmarks.yaml."""

        model: Model
        loss: Loss
        optimizer: ConstantRate

    settings: Settings

    def __init__(self, image_shape: tuple[int, int, int], slots: int, settings: Settings) -> None:
        super().__init__(image_shape, slots, settings)
        model, loss = settings.model, settings.loss
        _demand_strides("model.encoder_channels", model.encoder_channels, model.strides, 0)
        _demand_strides("model.mask_channels", model.mask_channels, model.strides, 1)
        if loss.beta_least > loss.beta_most:
            raise refusal("loss.beta_least", f"at most loss.beta_most, {loss.beta_most}", loss.beta_least)
        self.resolution = Resolution(image_shape, model.resolution)
        size = self.resolution.size
        self.encoder = image_encoder(size, model)
        self.posterior = MaskPosterior(model.features, model.mask_latent, model.posterior_width)
        self.prior = AutoregressivePrior(model.mask_latent, model.prior_width)
        self.mask_decoder = mask_decoder(size, model)
        self.vae = ComponentVAE(
            size,
            model.mask_latent,
            model.latent,
            encoder_channels=model.component_channels,
            encoder_hidden=[model.component_hidden],
            prior_hidden=model.component_hidden,
            decoder_channels=model.decoder_channels,
            posterior=partial(Gaussian.of, deviation=softplus_deviation),
            prior=squashed,
        )
        self.geco = loss.geco(math.prod(size), least=loss.beta_least, most=loss.beta_most)

    def training_loss(self, images: Tensor, progress: Progress) -> Losses:
        """Negative log-likelihood and one-sample estimates of both KL divergences, weighed by GECO."""
        images = self.resolution.downsample(images)
        found = self._decompose(images)
        sigma = self.settings.loss.sigma
        error = -per_channel(images, found.components, found.log_masks, sigma, normalised=True).mean()
        mask_kl, kl = found.mask_kl.mean(), found.kl.mean()
        parts = {"reconstruction": error, "mask_kl": mask_kl, "kl": kl, "beta": self.geco.beta.clone()}
        return Losses(self.geco.loss(error, mask_kl + kl), parts)

    def segment(self, images: Tensor, progress: Progress | None = None) -> Segmentation:
        """The masks, and the components that they compose."""
        found = self._decompose(self.resolution.downsample(images))
        slots = torch.cat([found.mask_latents, found.latents], dim=2)
        return self.resolution.segmentation(found.log_masks, found.components, slots=slots)

    def _decompose(self, images: Tensor) -> Decomposition:
        model = self.settings.model
        noise = self.normal(images, self.slots, model.mask_latent)
        posterior, mask_latents = self.posterior(self.encoder(images), noise)
        mask_kl = posterior.kl_estimate(self.prior(mask_latents), mask_latents).sum(1)
        log_masks = self._masks(mask_latents)
        posterior = self.vae.encode(images, log_masks)
        latents = posterior.sample(self.normal(images, self.slots, model.latent))
        kl = posterior.kl_estimate(self.vae.prior_of(mask_latents), latents).sum(1)
        return Decomposition(log_masks, self.vae.decode(latents), mask_latents, latents, mask_kl, kl)

    def _masks(self, latents: Tensor) -> Tensor:
        """Log-masks (B,K,1,H,W) of latents (B,K,Z). The last slot has what is left: nothing but norms sees its logits."""
        height, width = self.resolution.size
        logits = self.mask_decoder(latents.flatten(0, 1))[:, :, :height, :width]
        shares = iter(logits.unflatten(0, latents.shape[:2]).unbind(1))
        everything = torch.zeros_like(logits[: len(latents)])
        return stick_breaking(lambda _: next(shares), everything, self.slots)


def image_encoder(size: tuple[int, int], model: Model) -> nn.Sequential:
    """Images (B,3,H,W) to one vector of features (B,F): gated convolutions, the last as large as the map it sees."""
    layers: list[nn.Module] = []
    channels = [3, *model.encoder_channels]
    for (before, after), stride in zip(pairwise(channels), model.strides, strict=True):
        layers += _gated(nn.Conv2d(before, 2 * after, KERNEL, stride, KERNEL // 2, bias=False), after)
    whole = nn.Conv2d(channels[-1], 2 * model.features, coarsest(size, model.strides))
    return nn.Sequential(*layers, whole, nn.GLU(dim=1), nn.Flatten())


def mask_decoder(size: tuple[int, int], model: Model) -> nn.Sequential:
    """Latents (N,Z) of masks to logits (N,1,H',W') of at least the image's size: the encoder of the image in reverse."""
    first = model.mask_channels[0]
    layers: list[nn.Module] = [
        nn.Unflatten(1, (model.mask_latent, 1, 1)),
        nn.ConvTranspose2d(model.mask_latent, 2 * first, coarsest(size, model.strides)),
        nn.GLU(dim=1),
    ]
    for (before, after), stride in zip(pairwise(model.mask_channels), reversed(model.strides), strict=True):
        layer = nn.ConvTranspose2d(
            before, 2 * after, KERNEL, stride, KERNEL // 2, output_padding=stride - 1, bias=False
        )
        layers += _gated(layer, after)
    return nn.Sequential(*layers, nn.Conv2d(model.mask_channels[-1], 1, 1))


def coarsest(size: tuple[int, int], strides: list[int]) -> tuple[int, int]:
    """Height and width of the map that `strides` leave of an image of `size`; each rounds up."""
    height, width = size
    for stride in strides:
        height, width = -(-height // stride), -(-width // stride)
    return height, width


def _gated(layer: nn.Module, channels: int) -> list[nn.Module]:
    """A layer of twice as many channels: each half with its batch norm, the first times the sigmoid of the second."""
    return [layer, nn.BatchNorm2d(2 * channels), nn.GLU(dim=1)]


def _demand_strides(key: str, channels: list[int], strides: list[int], more: int) -> None:
    if len(channels) != len(strides) + more:
        expected = (
            f"{len(strides) + more} numbers, {'one more than' if more else 'as many as'} model.strides has"
        )
        raise refusal(key, expected, channels)
