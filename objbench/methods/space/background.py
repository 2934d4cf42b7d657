"""SPACE's background: K components with masks, a small GENESIS (Engelcke et al., ICLR 2020).

An LSTM samples the latents of the masks one after another, a sub-pixel decoder paints them, stick-breaking makes masks of
them; a VAE models what each mask shows. The priors are learned: of the masks by a second LSTM, of the components from the
latent of their mask.
"""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

import torch
from pydantic import Field
from torch import Tensor, nn

from objbench.methods.parts.background_start import BackgroundStart
from objbench.methods.parts.component_vae import ComponentVAE
from objbench.methods.parts.conv_stack import Layer, conv_stack, demand_side
from objbench.methods.parts.gaussian import Gaussian, plain_softplus
from objbench.methods.parts.halvings import halvings, places
from objbench.methods.parts.stick_breaking import stick_breaking
from objbench.methods.space.layers import Upscalings, upscalings
from objbench.spec.explain import refusal
from objbench.spec.settings import Count, Counts, Group

MASK_EPS = 1e-5  # added to masks before their logarithm
DEVIATION_FLOOR = 1e-4
State = tuple[Tensor, Tensor]  # of an LSTM cell, each (B,hidden)


class BackgroundModel(Group):
    """The background: its components and their masks."""

    components: Count = Field(description="K, at least 2")
    mask_latent: Count = Field(description="dimensions of the latent of a mask")
    latent: Count = Field(description="dimensions of the latent of a component")
    hidden: Count = Field(description="width of the features, of both LSTMs and of the components' prior")
    image_channels: Counts = Field(description="of the encoder of the image, one per halving")
    mask_decoder: Upscalings
    encoder_channels: Counts = Field(description="of the encoder of a component, one per halving")
    decoder_channels: Counts = Field(
        description="of the broadcast decoder of a component, one per 3x3 convolution before the last, which is 1x1"
    )
    start: BackgroundStart


class Backdrop(NamedTuple):
    """A sample of the background of a batch of images."""

    log_masks: Tensor  # (B,K,1,H,W), log(mask + 1e-5)
    components: Tensor  # (B,K,3,H,W), in [0,1]
    kl: Tensor  # (B,), of masks and components

    @property
    def picture(self) -> Tensor:
        """The components under their masks, (B,3,H,W)."""
        return (self.log_masks.exp() * self.components).sum(1)


class Background(nn.Module):
    """The posterior of masks and components, a sample, its divergence from the learned priors, and the picture.

    Args:
        size: (H,W) of the images.
        model: the settings.
    """

    def __init__(self, size: tuple[int, int], model: BackgroundModel) -> None:
        super().__init__()
        if model.components < 2:
            raise refusal("model.background.components", "a whole number >= 2", model.components)
        demand_side("model.background.mask_decoder.upscales", model.mask_decoder.upscales, size)
        self.model, hidden = model, model.hidden
        flat = places(size, len(model.image_channels)) * model.image_channels[-1]
        self.encoder = nn.Sequential(
            *halvings(3, model.image_channels, nn.ELU, nn.BatchNorm2d), nn.Linear(flat, hidden), nn.ELU()
        )
        self.posterior = Recurrence(hidden + model.mask_latent, hidden, model.mask_latent)
        self.prior = Recurrence(model.mask_latent, hidden, model.mask_latent)
        self.before_first = nn.Parameter(torch.zeros(model.mask_latent))
        painted = [
            *upscalings("model.background.mask_decoder", model.mask_decoder),
            Layer(model.mask_decoder.channels[-1], groups=model.mask_decoder.groups[-1]),
            Layer(1),
        ]
        self.mask_decoder = conv_stack(model.mask_latent, painted, linear_output=True)
        self.vae = ComponentVAE(
            size,
            model.mask_latent,
            model.latent,
            encoder_channels=model.encoder_channels,
            encoder_hidden=[],
            prior_hidden=hidden,
            decoder_channels=model.decoder_channels,
            posterior=law,
            prior=law,
            norm=nn.BatchNorm2d,
        )

    def forward(self, images: Tensor, mask_noise: Tensor, noise: Tensor) -> Backdrop:
        """The background of images (B,3,H,W); `mask_noise` (B,K,Z_mask) and `noise` (B,K,Z), standard normal."""
        latents, mask_kl = self._masks(self.encoder(images).float(), mask_noise)
        paint = self.mask_decoder(latents[:, :-1].flatten(0, 1)[:, :, None, None])
        shares = iter(paint.unflatten(0, (len(images), -1)).unbind(1))  # the last mask is what is left
        everything = torch.zeros_like(images[:, :1])
        log_masks = stick_breaking(lambda _: next(shares), everything, self.model.components)
        log_masks = (log_masks.exp() + MASK_EPS).log()
        posterior, prior = self.vae.encode(images, log_masks), self.vae.prior_of(latents)
        components = self.vae.decode(posterior.sample(noise))
        return Backdrop(log_masks, components, mask_kl + posterior.kl_to(prior).sum(1))

    def _masks(self, features: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
        """Latents of the masks (B,K,Z) of features (B,F), and the divergence (B,) of their posterior."""
        state, before = (lstm.start(len(features)) for lstm in (self.posterior, self.prior))
        sample = self.before_first.expand(len(features), -1)
        latents, kl = [], torch.zeros(len(features), dtype=torch.float32, device=features.device)
        for step in range(self.model.components):
            state = self.posterior(torch.cat([features, sample], dim=1), state)
            found = self.posterior.read(state)
            sample = found.sample(noise[:, step])
            latents.append(sample)
            kl = kl + found.kl_to(self.prior.read(before))
            before = self.prior(sample, before)
        return torch.stack(latents, dim=1), kl


class Recurrence(nn.Module):
    """An LSTM cell with a learned first state, and the Gaussian that a state stands for."""

    def __init__(self, inputs: int, hidden: int, latent: int) -> None:
        super().__init__()
        self.cell = nn.LSTMCell(inputs, hidden)
        self.first = nn.Parameter(torch.zeros(2, hidden))
        self.head = nn.Linear(hidden, 2 * latent)

    def start(self, batch: int) -> State:
        """The first state."""
        hidden, memory = self.first[:, None].expand(-1, batch, -1)
        return hidden, memory

    def forward(self, inputs: Tensor, state: State) -> State:
        """The state after an input (B,I); always float32."""
        with torch.autocast(inputs.device.type, enabled=False):
            hidden, memory = self.cell(inputs.float(), state)
        return hidden, memory

    def read(self, state: State) -> Gaussian:
        """(B,Z)."""
        return law(self.head(state[0]))


def law(raw: Tensor) -> Gaussian:
    """Every Gaussian of the background, (...,Z) of the outputs (...,2Z) of a network."""
    return Gaussian.of(raw, partial(plain_softplus, floor=DEVIATION_FLOOR))
