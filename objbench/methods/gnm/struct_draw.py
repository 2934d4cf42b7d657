"""GNM's global latent: StructDRAW, which draws a map of features in a few steps, each with a latent vector of its own.

Jiang and Ahn, "Generative Neurosymbolic Machines", NeurIPS 2020, section 3.2. All steps share their networks.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor, nn

from objbench.methods.parts.gaussian import Gaussian, plain_softplus


def normed_perceptron(*widths: int, linear: bool = True) -> nn.Sequential:
    """Linear layers with CELU and layer norm, in this order, after each; `linear`: not after the last."""
    layers: list[nn.Module] = []
    for inputs, outputs in pairwise(widths):
        layers += [nn.Linear(inputs, outputs), nn.CELU(), nn.LayerNorm(outputs)]
    return nn.Sequential(*(layers[:-2] if linear else layers))


class ConvLSTM(nn.Module):
    """An LSTM cell at each place of a map, the same at all: its convolution is 1x1.

    States are float32, whatever the dtype of the convolution. They begin with learned maps, which differ from place to
    place and start at 0.

    Args:
        inputs: channels of the input.
        width: D, channels of the states.
        size: (h,w) of the maps.
    """

    def __init__(self, inputs: int, width: int, size: tuple[int, int]) -> None:
        super().__init__()
        self.gates = nn.Conv2d(inputs + width, 4 * width, 1)
        self.first = nn.Parameter(torch.zeros(2, 1, width, *size))  # output, memory

    def begin(self, batch: int) -> tuple[Tensor, Tensor]:
        """The first output and memory, both (B,D,h,w)."""
        output, memory = self.first.expand(-1, batch, -1, -1, -1)
        return output, memory

    def forward(self, inputs: Tensor, state: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        """inputs (B,C,h,w) and a state of two maps (B,D,h,w) -> the next state."""
        output, memory = state
        gates = self.gates(torch.cat([inputs, output], dim=1)).float()
        keep, write, show, candidate = gates.chunk(4, dim=1)
        memory = keep.sigmoid() * memory + write.sigmoid() * candidate.tanh()
        return show.sigmoid() * memory.tanh(), memory


class Drawing(NamedTuple):
    """What StructDRAW makes of a batch of images."""

    canvas: Tensor  # (B,C,h,w), the map after the last step
    latents: Tensor  # (B,T,Z), samples of the posterior
    posterior: Gaussian  # (B,T,Z)
    prior: Gaussian  # (B,T,Z), of each latent given those before it


class StructDRAW(nn.Module):
    """A map of features, drawn in T steps on an empty canvas.

    In each step the prior of the latent g_t comes from the decoder's state, that is from the steps before; the posterior
    also sees the features of the image and what the canvas lacks of them.

    Args:
        channels: C, of features, canvas and all states.
        size: (h,w) of the maps.
        latent: Z, dimensions of each g_t.
        steps: T.
        hidden: widths of the networks of prior and posterior.
        decoder_hidden: widths of the network from g_t to a map.
    """

    def __init__(
        self,
        channels: int,
        size: tuple[int, int],
        latent: int,
        steps: int,
        *,
        hidden: Sequence[int],
        decoder_hidden: Sequence[int],
    ) -> None:
        super().__init__()
        flat = channels * math.prod(size)
        self.steps, self.latent = steps, latent
        self.encoder = ConvLSTM(3 * channels, channels, size)
        self.decoder = ConvLSTM(2 * channels, channels, size)
        self.prior = normed_perceptron(flat, *hidden, 2 * latent)
        self.posterior = normed_perceptron(flat, *hidden, 2 * latent)
        self.expand = nn.Sequential(
            normed_perceptron(latent, *decoder_hidden, flat, linear=False), nn.Unflatten(1, (channels, *size))
        )
        self.draw = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, features: Tensor, noise: Tensor) -> Drawing:
        """features (B,C,h,w) and standard normal noise (B,T,Z) -> the drawing; all float32."""
        encoder, decoder = self.encoder.begin(len(features)), self.decoder.begin(len(features))
        features = features.float()
        canvas = torch.zeros_like(features)
        latents, posteriors, priors = [], [], []
        for step in range(self.steps):
            priors.append(Gaussian.of(self.prior(decoder[0].flatten(1)), plain_softplus))
            seen = torch.cat([features, features - canvas, decoder[0]], dim=1)
            encoder = self.encoder(seen, encoder)
            posteriors.append(Gaussian.of(self.posterior(encoder[0].flatten(1)), plain_softplus))
            latents.append(posteriors[-1].sample(noise[:, step]))
            unfolded = self.expand(latents[-1]).float()
            decoder = self.decoder(torch.cat([unfolded, canvas], dim=1), decoder)
            canvas = canvas + self.draw(decoder[0]).float()
        return Drawing(
            canvas, torch.stack(latents, dim=1), Gaussian.stack(posteriors), Gaussian.stack(priors)
        )
